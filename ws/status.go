package ws

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Status is the code of a Close frame (RFC 6455 7.4).
type Status uint16

// The codes of RFC 6455 7.4.1 and of IANA's registry. Those from 3000 on are for
// libraries and frameworks, those from 4000 on for applications.
const (
	NormalClosure      Status = 1000 // the purpose is fulfilled
	GoingAway          Status = 1001 // a server shuts down, a page is left
	ProtocolError      Status = 1002
	UnsupportedData    Status = 1003 // a kind of message that the endpoint does not take
	NoStatus           Status = 1005 // never sent: the Close frame had no code
	AbnormalClosure    Status = 1006 // never sent: there was no Close frame
	InvalidPayload     Status = 1007 // such as text that is not UTF-8
	PolicyViolation    Status = 1008
	MessageTooBig      Status = 1009
	MandatoryExtension Status = 1010 // a client missed an extension
	InternalError      Status = 1011
	ServiceRestart     Status = 1012
	TryAgainLater      Status = 1013
	BadGateway         Status = 1014
	TLSHandshake       Status = 1015 // never sent: the TLS handshake failed
)

// Sendable reports whether s may be in a Close frame.
func (s Status) Sendable() bool {
	switch {
	case s >= 3000 && s < 5000:
		return true
	case s == NoStatus || s == AbnormalClosure || s == 1004:
		return false
	}
	return s >= NormalClosure && s <= BadGateway
}

// Error says why a peer's bytes are refused, and with which code the connection
// is to be closed.
type Error struct {
	Status Status
	Reason string // at most 123 bytes, fit for a Close frame
}

// Error returns the reason and the code.
func (e *Error) Error() string { return fmt.Sprintf("ws: %s (%d)", e.Reason, e.Status) }

// MaxReason is the greatest length of a Close frame's reason, in bytes.
const MaxReason = maxControl - 2

// AppendClose appends the payload of a Close frame. NoStatus means none; then
// there is no reason either. Of a longer reason it takes as many runes as
// MaxReason has room for, and what is not UTF-8 it replaces. The status must be
// Sendable, which is not checked.
func AppendClose(dst []byte, s Status, reason string) []byte {
	if s == NoStatus {
		return dst
	}
	dst = binary.BigEndian.AppendUint16(dst, uint16(s))
	left := MaxReason
	for _, r := range reason {
		if left -= utf8.RuneLen(r); left < 0 {
			break
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst
}

// ParseClose reads the payload of a Close frame. reason lies in p. The error,
// an *Error, says what is wrong with it.
func ParseClose(p []byte) (s Status, reason []byte, err error) {
	if len(p) == 0 {
		return NoStatus, nil, nil
	}
	if len(p) == 1 {
		return 0, nil, errCloseShort
	}
	s, reason = Status(binary.BigEndian.Uint16(p)), p[2:]
	switch {
	case !s.Sendable():
		return 0, nil, errCloseStatus
	case !utf8.Valid(reason):
		return 0, nil, errCloseReason
	}
	return s, reason, nil
}
