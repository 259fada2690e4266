package http1

import "bytes"

// checkTarget checks the form of a target, whose bytes are known to be of a
// target (RFC 9112 3.2).
func (w *work) checkTarget(method, target []byte) *Error {
	switch {
	case string(method) == "CONNECT":
		w.seen |= seenConnect
		i := bytes.LastIndexByte(target, ':')
		if i <= 0 || i == len(target)-1 || !all(target[i+1:], isDigit) || !validHost(target) {
			return errTarget
		}
	case len(target) == 0:
		return errTarget
	case target[0] == '/':
	case string(target) == "*":
		if string(method) != "OPTIONS" {
			return errTarget
		}
	default:
		return w.absoluteForm(target)
	}
	return nil
}

// absoluteForm reads scheme "://" authority path-abempty ["?" query]. User
// information is refused: it has no business in a request (RFC 9110 4.2.4), and
// where it ends has fooled many.
func (w *work) absoluteForm(target []byte) *Error {
	scheme, rest, ok := bytes.Cut(target, []byte("://"))
	if !ok || len(scheme) == 0 || class[scheme[0]]&isScheme == 0 || scheme[0] < 'A' || !all(scheme, isScheme) {
		return errTarget
	}
	authority := rest
	if i := bytes.IndexAny(rest, "/?"); i >= 0 {
		authority = rest[:i]
	}
	if len(authority) == 0 || authority[0] == ':' || !validHost(authority) {
		return errTarget
	}
	w.seen |= seenAbsolute
	w.authority = w.target + uint32(len(target)-len(rest))
	w.authorityTo = w.authority + uint32(len(authority))
	return nil
}

// sameAuthority reports whether a Host field and the authority of a target in
// absolute-form mean the same. Some clients write the scheme's own port into one
// of them only.
func sameAuthority(host, authority, scheme []byte) bool {
	port := ""
	switch {
	case equalFold(scheme, "http"):
		port = ":80"
	case equalFold(scheme, "https"):
		port = ":443"
	}
	return equalFold(bytes.TrimSuffix(host, []byte(port)), bytes.TrimSuffix(authority, []byte(port)))
}

// validHost reports whether s is uri-host [":" port] (RFC 9110 7.2). The host
// may be empty, and so may the port.
func validHost(s []byte) bool {
	i := 0
	if len(s) > 0 && s[0] == '[' {
		i = literalLen(s)
	} else {
		i = regNameLen(s)
	}
	return i == len(s) || i >= 0 && s[i] == ':' && all(s[i+1:], isDigit)
}

// literalLen returns the length of the IP literal that s begins with, -1 if
// there is none. It may be an address, a future form of one, or an address with
// a zone; which of them is for those who resolve it.
func literalLen(s []byte) int {
	i := bytes.IndexByte(s, ']')
	if i < 2 || !all(s[1:i], isAddr) {
		return -1
	}
	return i + 1
}

// regNameLen returns the length of the reg-name that s begins with, -1 if there
// is a percent sign in it that encodes nothing.
func regNameLen(s []byte) int {
	for i := 0; i < len(s); i++ {
		switch {
		case class[s[i]]&isHost != 0:
		case s[i] != '%':
			return i
		case len(s)-i < 3 || !all(s[i+1:i+3], isHex):
			return -1
		default:
			i += 2
		}
	}
	return len(s)
}
