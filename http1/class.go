package http1

import (
	"encoding/binary"
	"math/bits"
)

// Classes of bytes, to be or-ed.
const (
	isToken  = 1 << iota // RFC 9110 5.6.2: tchar
	isText               // what a field value or a reason holds: visible, obs-text, space, tab
	isTarget             // what a request target holds
	isHost               // RFC 3986 3.2.2: reg-name, but for percent-encoding
	isAddr               // within the brackets of an IP literal, likewise
	isScheme             // RFC 3986 3.1, after the first byte
	isDigit
	isHex
)

// class tells the classes of every byte.
var class = makeClass()

func makeClass() (t [256]uint8) {
	add := func(bits uint8, bytes string) {
		for i := range len(bytes) {
			t[bytes[i]] |= bits
		}
	}
	const (
		digits  = "0123456789"
		letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	)
	for c := range 256 {
		switch {
		case c >= 0x80:
			// A target in raw UTF-8 is not RFC 3986, but old clients send it and
			// no server takes such a byte for a delimiter.
			t[c] = isText | isTarget
		case c > ' ' && c < 0x7f:
			t[c] = isText | isTarget
		}
	}
	t['#'] &^= isTarget // a fragment is never sent; servers differ in where they cut it
	add(isText, " \t")
	add(isToken|isHost|isAddr|isScheme, digits+letters)
	add(isToken, "!#$%&'*+-.^_`|~")
	add(isHost|isAddr, "-._~!$&'()*+,;=")
	add(isAddr, ":%")
	add(isScheme, "+-.")
	add(isDigit|isHex, digits)
	add(isHex, "abcdefABCDEF")
	return t
}

// all reports whether every byte of s is of the class.
func all[T string | []byte](s T, bits uint8) bool {
	for i := range len(s) {
		if class[s[i]]&bits == 0 {
			return false
		}
	}
	return true
}

// Eight bytes at once: the lowest and the highest bit of each.
const (
	lows  = 0x0101010101010101
	highs = 0x8080808080808080
)

// textLen returns how many bytes at the beginning of s are isText, looking at
// eight at once: values are most of a head.
func textLen(s []byte) int {
	i := 0
	for len(s)-i >= 8 {
		x := binary.LittleEndian.Uint64(s[i:])
		del := x ^ lows*0x7f
		// The highest bit of each byte below a space or equal to DEL; perhaps
		// of others too, but behind such a one.
		hits := ((x-lows*' ')&^x | (del-lows)&^del) & highs
		if hits == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(hits) / 8
		if s[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(s) && class[s[i]]&isText != 0 {
		i++
	}
	return i
}

// allText is all(s, isText).
func allText(s []byte) bool { return textLen(s) == len(s) }

// ValidName reports whether name is a field name: a token (RFC 9110 5.1).
func ValidName(name string) bool {
	return name != "" && all(name, isToken)
}

// ValidValue reports whether value can be sent as a field value: no control
// character but the tab, so no line break and no NUL (RFC 9110 5.5). Spaces
// and tabs around it are allowed, but the recipient removes them.
func ValidValue(value string) bool {
	return all(value, isText)
}

// ValidMethod reports whether method is a token (RFC 9110 9.1).
func ValidMethod(method string) bool {
	return ValidName(method)
}

// lower returns an ASCII letter in lower case, other bytes as they are.
func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// equalFold reports whether a and b are equal but for the case of ASCII
// letters. Unlike bytes.EqualFold it takes no other letter for an ASCII one.
func equalFold[A, B string | []byte](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

// trim removes spaces and tabs from both ends (RFC 9110 5.6.3: OWS).
func trim(s []byte) []byte {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
