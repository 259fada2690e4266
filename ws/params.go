package ws

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Deflate is the name of the extension permessage-deflate in
// Sec-WebSocket-Extensions (RFC 7692 7).
const Deflate = "permessage-deflate"

// The names of its parameters (RFC 7692 7.1).
const (
	serverNoTakeover = "server_no_context_takeover"
	clientNoTakeover = "client_no_context_takeover"
	serverBits       = "server_max_window_bits"
	clientBits       = "client_max_window_bits"
)

// The windows that deflate may have, as powers of two.
const (
	minBits = 8
	maxBits = 15
)

// Side says how one side compresses what it sends.
type Side struct {
	// Takeover is true exactly when messages may refer to those before them. Both
	// sides then keep a window of the stream for as long as it lasts.
	Takeover bool

	// Bits is the window's size as a power of two, 8 to 15; 0 means 15.
	Bits int
}

// window returns the window's size in bytes.
func (s Side) window() int {
	if s.Bits == 0 {
		return 1 << maxBits
	}
	return 1 << s.Bits
}

// Params are how both sides compress (RFC 7692 7.1).
type Params struct{ Server, Client Side }

// Check returns an error if a window is not one of deflate's.
func (p Params) Check() error {
	for _, s := range []Side{p.Server, p.Client} {
		if s.Bits != 0 && (s.Bits < minBits || s.Bits > maxBits) {
			return fmt.Errorf("ws: a window of %d bits; it must have %d to %d, or 0 for %d", s.Bits, minBits, maxBits, maxBits)
		}
	}
	return nil
}

// Negotiate chooses among the offers of a client, the values of its
// Sec-WebSocket-Extensions, and returns what both sides keep to, at most what
// the server wants, and the value that tells the client. Only the client's window
// may be larger: not every client can be told. ok is false if there is no offer
// that can be accepted; then nothing is answered and nothing compressed.
func Negotiate(offers string, want Params) (agreed Params, answer string, ok bool) {
	for more := true; more; {
		var offer string
		offer, offers, more = cut(offers, ',')
		if o, valid := parseParams(offer); valid && o.bits[0] != bare {
			agreed, answer = o.accept(want)
			return agreed, answer, true
		}
	}
	return Params{}, "", false
}

// accept accepts an offer.
func (o offered) accept(want Params) (agreed Params, answer string) {
	agreed = Params{
		Server: Side{want.Server.Takeover && !o.noTakeover[0], lesser(want.Server.Bits, o.bits[0])},
		Client: Side{Takeover: want.Client.Takeover && !o.noTakeover[1], Bits: maxBits},
	}
	answer = Deflate
	if !agreed.Server.Takeover {
		answer += "; " + serverNoTakeover
	}
	if !agreed.Client.Takeover {
		answer += "; " + clientNoTakeover
	}
	if agreed.Server.Bits < maxBits || o.bits[0] != 0 { // RFC 7692 7.1.2.1
		answer += "; " + serverBits + "=" + strconv.Itoa(agreed.Server.Bits)
	}
	if o.bits[1] != 0 { // only then the client understands it
		if agreed.Client.Bits = lesser(want.Client.Bits, o.bits[1]); agreed.Client.Bits < maxBits {
			answer += "; " + clientBits + "=" + strconv.Itoa(agreed.Client.Bits)
		}
	}
	return agreed, answer
}

// Offer returns the value of Sec-WebSocket-Extensions with which a client offers
// to compress as p says.
func (p Params) Offer() string {
	offer := Deflate
	if !p.Server.Takeover {
		offer += "; " + serverNoTakeover
	}
	if !p.Client.Takeover {
		offer += "; " + clientNoTakeover
	}
	if bits := lesser(p.Server.Bits, 0); bits < maxBits {
		offer += "; " + serverBits + "=" + strconv.Itoa(bits)
	}
	offer += "; " + clientBits
	if bits := lesser(p.Client.Bits, 0); bits < maxBits {
		offer += "=" + strconv.Itoa(bits)
	}
	return offer
}

var errAnswer = errors.New("ws: the server answered with an extension or a parameter that was not offered, or malformed")

// Accepted reads the Sec-WebSocket-Extensions of the answer to p.Offer() and
// returns what both sides keep to. ok is false if it is empty: nothing is
// compressed. With an error the connection is to be failed (RFC 7692 7.1).
func (p Params) Accepted(answer string) (agreed Params, ok bool, err error) {
	if strings.Trim(answer, " \t") == "" {
		return Params{}, false, nil
	}
	o, valid := parseParams(answer)
	server, client := lesser(p.Server.Bits, 0), lesser(p.Client.Bits, 0)
	switch {
	case !valid || o.bits[0] == bare || o.bits[1] == bare:
		return Params{}, false, errAnswer
	case server < maxBits && (o.bits[0] == 0 || o.bits[0] > server): // it did not keep to what was asked (RFC 7692 7.1.2.1)
		return Params{}, false, errAnswer
	case !p.Server.Takeover && !o.noTakeover[0]: // likewise (RFC 7692 7.1.1.1)
		return Params{}, false, errAnswer
	}
	return Params{
		Server: Side{!o.noTakeover[0], lesser(o.bits[0], 0)},
		Client: Side{p.Client.Takeover && !o.noTakeover[1], lesser(client, o.bits[1])},
	}, true, nil
}

// lesser returns the smaller of two windows, of which 0 and bare mean the greatest.
func lesser(a, b int) int {
	least := maxBits
	for _, bits := range []int{a, b} {
		if bits > 0 && bits < least {
			least = bits
		}
	}
	return least
}

// bare is a window that was named without a size.
const bare = -1

// offered are the parameters of an offer or an answer: the server's, then the
// client's. 0 is a window that was not named.
type offered struct {
	noTakeover [2]bool
	bits       [2]int
}

// parseParams reads one element of Sec-WebSocket-Extensions. It is not valid if it
// is another extension, or if a parameter is unknown, repeated or malformed
// (RFC 7692 7.1).
func parseParams(element string) (o offered, valid bool) {
	name, rest, more := cut(element, ';')
	if !isToken(strings.Trim(name, " \t"), Deflate) {
		return o, false
	}
	for more {
		var param string
		param, rest, more = cut(rest, ';')
		name, value, hasValue := strings.Cut(param, "=")
		if !o.set(strings.Trim(name, " \t"), unquote(strings.Trim(value, " \t")), hasValue) {
			return o, false
		}
	}
	return o, true
}

// set takes a parameter and reports whether it is valid.
func (o *offered) set(name, value string, hasValue bool) bool {
	side := 0
	if isToken(name, clientNoTakeover) || isToken(name, clientBits) {
		side = 1
	}
	switch {
	case isToken(name, serverNoTakeover), isToken(name, clientNoTakeover):
		valid := !hasValue && !o.noTakeover[side]
		o.noTakeover[side] = true
		return valid
	case isToken(name, serverBits), isToken(name, clientBits):
		if o.bits[side] != 0 {
			return false
		}
		if o.bits[side] = bare; !hasValue {
			return true
		}
		bits, err := strconv.Atoi(value)
		o.bits[side] = bits
		return err == nil && bits >= minBits && bits <= maxBits && value[0] >= '1' && value[0] <= '9'
	}
	return false
}

// cut cuts s at the first sep that is not in a quoted string.
func cut(s string, sep byte) (before, after string, found bool) {
	quoted := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted:
			i++
		case c == sep && !quoted:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// unquote returns the token that a value is or quotes (RFC 6455 9.1), or "" if it
// is malformed.
func unquote(value string) string {
	quoted, isQuoted := strings.CutPrefix(value, `"`)
	if !isQuoted {
		return value
	}
	token := make([]byte, 0, len(quoted))
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == '"' && i == len(quoted)-1:
			return string(token)
		case c == '"':
			return ""
		case c == '\\':
			if i++; i == len(quoted) {
				return ""
			}
		}
		token = append(token, quoted[i])
	}
	return ""
}
