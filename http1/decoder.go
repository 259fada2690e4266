package http1

// Decoder reads the messages of one direction of a connection, one after the
// other: Head until the head is whole, then Body until Done, then Head for the
// next message. The zero value reads requests with the default limits.
//
// It keeps no pointer to the bytes given to it. Between messages it owns no
// memory but itself. It is for one goroutine at a time.
type Decoder struct {
	limits  *Limits // nil means the defaults
	partial *work   // a head that was not whole; nil otherwise
	trailer *trailer
	err     error // what ended the stream

	left  int64 // fixed: bytes to come; chunked: of this chunk; until close: of the limit or -1
	total int64 // chunked: what the limit leaves, -1 without one

	extensions uint16 // bytes of chunk extensions in this body
	digits     uint8  // of the present chunk size
	state      state
	begun      bool // true exactly when a byte of a start line was seen in a head that is not whole
	responses  bool // true exactly when this reads responses
	answers    answers
}

// state is where a Decoder is in a message.
type state uint8

const (
	inHead  state = iota // before or in a head
	inFixed              // left bytes of body follow
	inClose              // the body ends with the connection
	isDone               // the message is complete
	inChunk              // and above: see chunked.go
)

// answers says what is special about the request that a response answers.
type answers uint8

const (
	answersOther answers = iota
	answersHead
	answersConnect
)

// Reset begins a stream of requests. A nil l means the default limits. The
// Decoder refers to l, which must not change while it is used.
func (d *Decoder) Reset(l *Limits) {
	*d = Decoder{limits: l}
}

// ResetResponses begins a stream of responses; otherwise it is like Reset.
func (d *Decoder) ResetResponses(l *Limits) {
	*d = Decoder{limits: l, responses: true}
}

// Answering says which method the request had that the next final response
// answers, since a response to HEAD has no body and one to CONNECT may turn the
// connection into a tunnel (RFC 9112 6.3). It is to be called before Head of
// that response; without it, and for every other method, the usual rules hold.
// Interim responses (1xx) in between do not count.
func (d *Decoder) Answering(method string) {
	switch method {
	case "HEAD":
		d.answers = answersHead
	case "CONNECT":
		d.answers = answersConnect
	default:
		d.answers = answersOther
	}
}

// Done reports whether the message is complete that Head has found; then Head
// may be called for the next one.
func (d *Decoder) Done() bool { return d.state == isDone }

// Started reports whether a message is under way: a byte of its start line has
// been given to Head and its end has not been reached. Empty lines in front of
// a request do not count.
func (d *Decoder) Started() bool {
	return d.begun || d.state != inHead && d.state != isDone
}

// Remaining returns how many bytes of body are to come according to
// Content-Length; -1 if that is not known; 0 before a message and when Done.
func (d *Decoder) Remaining() int64 {
	switch d.state {
	case inHead, isDone:
		return 0
	case inFixed:
		return d.left
	}
	return -1
}

// Trailer returns the trailer fields of a message that is Done (RFC 9112
// 7.1.2); nil if there are none. They lie in memory of the Decoder, valid
// until Head is called for the next message or the Decoder is reset.
func (d *Decoder) Trailer() []Field {
	if d.trailer == nil {
		return nil
	}
	return d.trailer.fields
}

// EOF tells that the peer ended its direction. It returns nil if no message
// was under way, or if this completes it: then Done is true. Otherwise it
// returns an error that wraps io.ErrUnexpectedEOF, or the error that Head or
// Body has returned before.
func (d *Decoder) EOF() error {
	switch {
	case d.err != nil:
		return d.err
	case d.state == inClose:
		d.state = isDone
	case d.Started():
		d.err = errCut
		return d.err
	}
	return nil
}

func (d *Decoder) limit() *Limits {
	if d.limits == nil {
		return &defaultLimits
	}
	return d.limits
}

// fail ends the stream.
func (d *Decoder) fail(e *Error) error {
	d.err = e
	d.partial = nil
	d.trailer = nil
	return e
}
