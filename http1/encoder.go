package http1

import "strconv"

// Encoder frames the bodies of one direction of a connection (RFC 9112 6). It
// knows what the head has announced and refuses what does not keep to it. For
// every message one of Fixed, Chunked, UntilClose and None says how the body is
// framed; the zero value is like after None. It is for one goroutine at a time.
type Encoder struct {
	left    int64 // fixed: bytes to come
	framing framing
}

// framing is how a body is framed.
type framing uint8

const (
	framedNone framing = iota
	framedFixed
	framedChunked
	framedUntilClose
	framedEnded
)

// framings tells what may be done with a body by its framing.
var framings = [...]struct {
	body    bool // true exactly when bytes are allowed
	counted bool // true exactly when left bounds them
	chunks  bool // true exactly when they are framed in chunks
}{
	framedNone:       {},
	framedFixed:      {body: true, counted: true},
	framedChunked:    {body: true, chunks: true},
	framedUntilClose: {body: true},
	framedEnded:      {},
}

// Fixed begins a body of n bytes, which the head has announced as its
// Content-Length. It panics if n is negative.
func (e *Encoder) Fixed(n int64) {
	if n < 0 {
		panic("http1: negative length")
	}
	*e = Encoder{left: n, framing: framedFixed}
}

// Chunked begins a body in chunks, which the head has announced as its
// Transfer-Encoding.
func (e *Encoder) Chunked() { *e = Encoder{framing: framedChunked} }

// UntilClose begins a body that ends with the connection.
func (e *Encoder) UntilClose() { *e = Encoder{framing: framedUntilClose} }

// None says that the message has no body.
func (e *Encoder) None() { *e = Encoder{} }

// Data appends to dst what must precede n bytes of body: the size line of a
// chunk, or nothing. After those bytes comes what AfterData appends. n == 0
// appends nothing, for an empty chunk would end the body; it panics if n is
// negative. It returns dst as it was with ErrBodyLong for more bytes than were
// announced, with ErrBodyNotAllowed if there is no body or it has ended.
func (e *Encoder) Data(dst []byte, n int) ([]byte, error) {
	f := &framings[e.framing]
	switch {
	case n < 0:
		panic("http1: negative length")
	case n == 0:
		return dst, nil
	case !f.body:
		return dst, ErrBodyNotAllowed
	case f.counted && int64(n) > e.left:
		return dst, ErrBodyLong
	case f.counted:
		e.left -= int64(n)
	case f.chunks:
		dst = strconv.AppendUint(dst, uint64(n), 16)
		dst = append(dst, "\r\n"...)
	}
	return dst, nil
}

// AfterData appends to dst what must follow the bytes that Data has announced,
// of which there was at least one.
func (e *Encoder) AfterData(dst []byte) []byte {
	if framings[e.framing].chunks {
		dst = append(dst, "\r\n"...)
	}
	return dst
}

// End appends to dst what ends the body: the last chunk and the trailer fields,
// or nothing. It returns dst as it was with ErrBodyShort if bytes are missing
// that were announced, with ErrTrailerNotAllowed for trailer fields of a body
// that is not chunked or that are not allowed after one. After it, only an end
// without trailer fields is allowed, and does nothing.
func (e *Encoder) End(dst []byte, trailer []Field) ([]byte, error) {
	f := &framings[e.framing]
	if f.counted && e.left > 0 {
		return dst, ErrBodyShort
	}
	for _, t := range trailer {
		if !f.chunks || len(t.Name) == 0 || !all(t.Name, isToken) || !allText(t.Value) || !allowedInTrailer(t.Name) {
			return dst, ErrTrailerNotAllowed
		}
	}
	if f.chunks {
		dst = append(dst, "0\r\n"...)
		for _, t := range trailer {
			dst = AppendFieldBytes(dst, t.Name, t.Value)
		}
		dst = append(dst, "\r\n"...)
	}
	*e = Encoder{framing: framedEnded}
	return dst, nil
}
