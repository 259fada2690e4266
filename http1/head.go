package http1

// Field is one field line of a head or a trailer section (RFC 9112 5). Both
// slices are lent: they lie in the bytes that were given to the Decoder, those
// of a trailer section in the Decoder.
type Field struct {
	Name  []byte // as received, in whatever case
	Value []byte // without the spaces and tabs around it, possibly empty
}

// Head is what a Decoder found in a head. Its slices point into the bytes given
// to Decoder.Head and are valid as long as those. The zero Head is ready to be
// used, for one head after another, of any connection: then it allocates
// nothing.
type Head struct {
	Method []byte // of a request, case-sensitive (RFC 9110 9.1)
	Target []byte // of a request, as received (RFC 9112 3.2)

	Status int    // of a response, 100 to 999
	Reason []byte // of a response, possibly empty

	// Minor is the minor version: 0 for HTTP/1.0, 1 for HTTP/1.1 and for what
	// is higher, which is read like 1.1 (RFC 9110 2.5).
	Minor int

	// Fields are all header fields in order, those with a place of their own
	// here included. The slice is reused by the next head.
	Fields []Field

	Host    []byte // of a request, value of the Host field; nil if there is none
	HostSet bool   // true exactly when a request has a Host field, maybe empty

	// Length is how many bytes of body follow: the Content-Length; 0 when
	// there is no body; -1 when the body is chunked or ends with the
	// connection.
	Length  int64
	Chunked bool // true exactly when the body is chunked

	// Close is true exactly when the connection ends after this message
	// (RFC 9112 9.3): the Connection field says close, or the version is 1.0
	// and it does not say keep-alive, or the body ends with the connection.
	Close bool
	// Upgrade is true exactly when the Connection field says upgrade, but not
	// in a request of HTTP/1.0, where it means nothing (RFC 9110 7.8).
	Upgrade bool

	// Continue is true exactly when a request of HTTP/1.1 expects
	// 100-continue and nothing else (RFC 9110 10.1.1).
	Continue bool
	// Expectation is the value of a request's Expect field; of several the
	// first that is not 100-continue. It is nil if there is none, if it is
	// empty, and for the 100-continue of HTTP/1.0, which is to be ignored. A
	// server answers 417 when it is not nil and Continue is false.
	Expectation []byte

	work work
}

// Get returns the value of the first field of that name, compared without
// regard to case; nil if there is none.
func (h *Head) Get(name string) []byte {
	for i := range h.Fields {
		if equalFold(h.Fields[i].Name, name) {
			return h.Fields[i].Value
		}
	}
	return nil
}

// span is where a field lies in the bytes of a head or of trailer lines.
type span struct {
	name, nameEnd   uint32
	value, valueEnd uint32
}

// fill makes f the field, which lies in p.
func (s *span) fill(f *Field, p []byte) {
	f.Name = p[s.name:s.nameEnd:s.nameEnd]
	f.Value = p[s.value:s.valueEnd:s.valueEnd]
}

// work is a head that is being read. It holds offsets instead of slices, for
// the bytes may move before the rest of the head comes.
type work struct {
	spans  []span
	length int64 // Content-Length

	next uint32 // where the first line that is not yet whole begins
	scan uint32 // before it there is no further line feed
	base uint32 // where the start line begins

	methodEnd              uint32 // from base
	target, targetEnd      uint32
	host, hostEnd          uint32 // the Host field's value
	expect, expectEnd      uint32 // Head.Expectation
	authority, authorityTo uint32 // of a target in absolute-form

	seen   seen
	status uint16
	minor  uint8
	blank  uint8 // empty lines before the start line
}

// seen is a set of what a head has shown so far.
type seen uint16

const (
	seenStart    seen = 1 << iota // the start line
	seenHost                      // a Host field
	seenLength                    // a Content-Length field
	seenCoding                    // a Transfer-Encoding field: chunked
	seenClose                     // Connection: close
	seenKeep                      // Connection: keep-alive
	seenUpgrade                   // Connection: upgrade
	seenContinue                  // Expect: 100-continue
	seenExpect                    // Expect: something else
	seenConnect                   // the method is CONNECT
	seenAbsolute                  // the target is in absolute-form
)

// reset makes w ready for another head and keeps its memory.
func (w *work) reset() {
	*w = work{spans: w.spans[:0]}
}
