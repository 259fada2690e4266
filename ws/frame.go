package ws

import "encoding/binary"

// Opcode says what a frame carries (RFC 6455 5.2).
type Opcode byte

// The opcodes. Those from 8 on are of control frames.
const (
	Continuation Opcode = 0
	Text         Opcode = 1
	Binary       Opcode = 2
	Close        Opcode = 8
	Ping         Opcode = 9
	Pong         Opcode = 10
)

// IsControl reports whether op is that of a control frame.
func (op Opcode) IsControl() bool { return op&8 != 0 }

// String returns the opcode's name in lower case, such as "text".
func (op Opcode) String() string {
	switch op {
	case Continuation:
		return "continuation"
	case Text:
		return "text"
	case Binary:
		return "binary"
	case Close:
		return "close"
	case Ping:
		return "ping"
	case Pong:
		return "pong"
	}
	return "reserved"
}

// MaxHeader is the greatest length of a frame's header, in bytes.
const MaxHeader = 14

// maxControl is the greatest payload of a control frame (RFC 6455 5.5).
const maxControl = 125

// The bits of a header's first two bytes.
const (
	bitFin    = 0x80
	bitRSV1   = 0x40
	bitsRSV23 = 0x30
	bitMasked = 0x80
	len16     = 126 // two bytes of length follow
	len64     = 127 // eight do
)

// Header is what is in front of a frame's payload (RFC 6455 5.2).
type Header struct {
	Fin        bool // true exactly when it is a message's last frame
	Compressed bool // RSV1 of permessage-deflate, in a message's first frame
	Opcode     Opcode
	Masked     bool
	Key        uint32 // the masking key, its first byte lowest
	Length     int64  // bytes of payload
}

// Append appends the header. Length must not be negative.
func (h *Header) Append(dst []byte) []byte {
	first, masked := byte(h.Opcode), byte(0)
	if h.Fin {
		first |= bitFin
	}
	if h.Compressed {
		first |= bitRSV1
	}
	if h.Masked {
		masked = bitMasked
	}
	switch {
	case h.Length <= maxControl:
		dst = append(dst, first, masked|byte(h.Length))
	case h.Length < 1<<16:
		dst = append(dst, first, masked|len16, byte(h.Length>>8), byte(h.Length))
	default:
		dst = append(dst, first, masked|len64)
		dst = binary.BigEndian.AppendUint64(dst, uint64(h.Length))
	}
	if h.Masked {
		dst = binary.LittleEndian.AppendUint32(dst, h.Key)
	}
	return dst
}

// headerSize returns the length of the header that begins with p, of which two
// bytes are there.
func headerSize(p []byte) int {
	n := 2
	switch p[1] &^ bitMasked {
	case len16:
		n += 2
	case len64:
		n += 8
	}
	if p[1]&bitMasked != 0 {
		n += 4
	}
	return n
}

// parseHeader reads a header, which is whole. It checks the form of the length.
func parseHeader(p []byte) (Header, error) {
	h := Header{
		Fin: p[0]&bitFin != 0, Compressed: p[0]&bitRSV1 != 0, Opcode: Opcode(p[0] & 0x0f),
		Masked: p[1]&bitMasked != 0, Length: int64(p[1] &^ bitMasked),
	}
	switch rest := p[2:]; h.Length {
	case len16:
		h.Length = int64(binary.BigEndian.Uint16(rest))
		if h.Length <= maxControl {
			return h, errLength
		}
	case len64:
		long := binary.BigEndian.Uint64(rest)
		if long < 1<<16 || long >= 1<<63 {
			return h, errLength
		}
		h.Length = int64(long)
	}
	if h.Masked {
		h.Key = binary.LittleEndian.Uint32(p[len(p)-4:])
	}
	return h, nil
}
