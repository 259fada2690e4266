package ws

import (
	"math"
	"unicode/utf8"
)

// Role says whose frames a Decoder reads.
type Role bool

// A client's frames must be masked, a server's must not (RFC 6455 5.1).
const (
	FromClient Role = false
	FromServer Role = true
)

// Limits bound what a peer may send.
type Limits struct {
	Frame   int64 // bytes of payload of one frame; 0 means no limit
	Message int64 // bytes of a message, and a little more of one that is sent compressed; 0 means no limit
}

// Part is what a Decoder found in a piece: a part of a message, or a whole
// control frame.
type Part struct {
	// Opcode is that of the message, also for its later frames, or that of the
	// control frame. It is Continuation if nothing was found.
	Opcode Opcode

	// Data is payload, unmasked. It lies in what Next was given, whose other bytes
	// an append to it does not change, or, of a control frame that came in pieces,
	// in memory of the Decoder that its next control frame uses.
	Data []byte

	First      bool  // true exactly when the message begins with this part
	Last       bool  // true exactly when it ends with this part
	Compressed bool  // true exactly when the message is compressed
	Left       int64 // bytes of the frame that are still to come
}

// Decoder reads the frames of one direction of a connection. It owns no memory
// but itself and, until Reset, what was needed for control frames in pieces. It
// is for one goroutine at a time.
type Decoder struct {
	role    Role
	deflate bool
	limits  Limits
	err     error

	head     [MaxHeader]byte // of a header that came in pieces
	headSize int             // bytes of it

	frame   Header // the one whose payload is being read
	left    int64  // bytes of payload that have not come
	pos     int    // where in the payload the next byte lies, as far as masking goes
	reading bool   // true exactly when left or an empty frame's end is to be reported

	message    Opcode // of the message under way, Continuation between messages
	compressed bool   // true exactly when that is compressed
	begun      bool   // true exactly when a part of it was reported
	size       int64  // bytes of it so far, those announced included
	text       runes
	control    []byte // of a control frame that came in pieces
}

// Reset begins a stream. With deflate, messages may be compressed: the handshake
// has agreed on permessage-deflate.
func (d *Decoder) Reset(role Role, deflate bool, limits Limits) {
	*d = Decoder{role: role, deflate: deflate, limits: limits}
}

// Resting reports whether the stream is between two messages and between two
// frames: then a Decoder that is Reset reads on as this one does.
func (d *Decoder) Resting() bool {
	return d.headSize == 0 && !d.reading && d.message == Continuation && d.err == nil
}

// Next takes the next n bytes of p, up to the end of a part, and unmasks them in
// place. n is 0 only with an error or if p is empty. After an *Error every call
// returns the same.
func (d *Decoder) Next(p []byte) (part Part, n int, err error) {
	if d.err != nil || len(p) == 0 {
		return Part{}, 0, d.err
	}
	if !d.reading {
		if n, d.err = d.header(p); d.err != nil || !d.reading {
			return Part{}, n, d.err
		}
		if d.left > 0 && n == len(p) {
			return Part{}, n, nil
		}
	}
	size := int(min(int64(len(p)-n), d.left))
	data := p[n : n+size : n+size] // what follows is not the part's, to be appended to
	n += size
	if d.frame.Masked {
		Mask(d.frame.Key, d.pos, data)
		d.pos = (d.pos + len(data)) & 3
	}
	d.left -= int64(len(data))
	if d.frame.Opcode.IsControl() {
		part = d.controlPart(data)
	} else {
		part, d.err = d.dataPart(data)
	}
	return part, n, d.err
}

// header reads a frame's header, or what is there of it, and returns how many
// bytes it took.
func (d *Decoder) header(p []byte) (n int, err error) {
	whole := p
	if d.headSize > 0 || len(p) < 2 || len(p) < headerSize(p) {
		for d.headSize < 2 && n < len(p) {
			d.head[d.headSize] = p[n]
			d.headSize++
			n++
		}
		if d.headSize < 2 {
			return n, d.check(d.head[:1])
		}
		size := headerSize(d.head[:])
		k := copy(d.head[d.headSize:size], p[n:])
		d.headSize += k
		n += k
		if whole = d.head[:size]; d.headSize < size {
			return n, d.check(whole[:2]) // these tell most of what can be wrong
		}
		d.headSize = 0
	} else {
		n = headerSize(p)
		whole = p[:n]
	}
	if err := d.check(whole[:2]); err != nil {
		return n, err
	}
	d.frame, err = parseHeader(whole)
	if err != nil {
		return n, err
	}
	return n, d.begin()
}

// verdict is what an opcode means where it comes.
type verdict uint8

const (
	reserved verdict = iota // means nothing
	begins                  // begins a message
	goesOn                  // goes on with the message under way
	within                  // begins a message within another
	stray                   // goes on with a message where there is none
	controls                // is of a control frame
)

// verdicts says what the opcodes mean between messages, and within one whose
// first frame was not its last (RFC 6455 5.4).
var verdicts = [2][16]verdict{
	{Continuation: stray, Text: begins, Binary: begins, Close: controls, Ping: controls, Pong: controls},
	{Continuation: goesOn, Text: within, Binary: within, Close: controls, Ping: controls, Pong: controls},
}

// verdict returns what op means here.
func (d *Decoder) verdict(op Opcode) verdict {
	if d.message != Continuation {
		return verdicts[1][op]
	}
	return verdicts[0][op]
}

// check tells what is wrong with the first byte of a header, or the first two.
func (d *Decoder) check(head []byte) error {
	first := head[0]
	if first&bitsRSV23 != 0 {
		return errReservedBits
	}
	v := d.verdict(Opcode(first & 0x0f))
	switch v {
	case reserved:
		return errOpcode
	case within:
		return errWithin
	case stray:
		return errStray
	case begins:
		if first&bitRSV1 != 0 && !d.deflate {
			return errReservedBits
		}
	default:
		if first&bitRSV1 != 0 { // only a message's first frame may have it (RFC 7692 6)
			return errReservedBits
		}
		if v == controls && first&bitFin == 0 {
			return errControlFragment
		}
	}
	if len(head) < 2 {
		return nil
	}
	switch masked := head[1]&bitMasked != 0; {
	case v == controls && head[1]&^bitMasked > maxControl:
		return errControlLong
	case d.role == FromClient && !masked:
		return errNotMasked
	case d.role == FromServer && masked:
		return errMasked
	}
	return nil
}

// begin begins to read the payload of d.frame.
func (d *Decoder) begin() error {
	f := &d.frame
	d.reading, d.left, d.pos = true, f.Length, 0
	if f.Opcode.IsControl() {
		d.control = d.control[:0]
		return nil
	}
	if f.Opcode != Continuation {
		d.message, d.compressed, d.begun = f.Opcode, f.Compressed, false
		d.size, d.text = 0, runes{}
	}
	if d.limits.Frame > 0 && f.Length > d.limits.Frame {
		return errFrameLimit
	}
	limit := d.limits.Message
	if limit <= 0 {
		limit = math.MaxInt64
	} else if d.compressed && limit < math.MaxInt64/2 {
		limit += limit/64 + 128 // what cannot be compressed becomes longer
	}
	if f.Length > limit-d.size {
		return ErrMessageLimit
	}
	d.size += f.Length
	return nil
}

// controlPart takes payload of a control frame, and returns that when it is whole.
func (d *Decoder) controlPart(data []byte) Part {
	if d.left > 0 || len(d.control) > 0 {
		d.control = append(d.control, data...)
		data = d.control
	}
	if d.left > 0 {
		return Part{}
	}
	d.reading = false
	return Part{Opcode: d.frame.Opcode, Data: data, First: true, Last: true}
}

// dataPart takes payload of a message.
func (d *Decoder) dataPart(data []byte) (Part, error) {
	part := Part{Opcode: d.message, Data: data, First: !d.begun, Compressed: d.compressed, Left: d.left}
	d.begun = true
	if d.left == 0 {
		d.reading = false
		if part.Last = d.frame.Fin; part.Last {
			d.message = Continuation
		}
	}
	if part.Opcode == Text && !d.compressed {
		if part.First && part.Last {
			if !utf8.Valid(data) {
				return Part{}, ErrNotUTF8
			}
			return part, nil
		}
		if !d.text.feed(data) || part.Last && !d.text.whole() {
			return Part{}, ErrNotUTF8
		}
	}
	return part, nil
}
