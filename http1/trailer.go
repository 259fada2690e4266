package http1

import "bytes"

// trailer holds the trailer section of a message. Its bytes are copied: they
// may come long after each other, and few messages have any.
type trailer struct {
	text   []byte
	line   int // where the present line begins
	spans  []span
	fields []Field // nil until the section is complete
}

// notInTrailer are the fields that must not come after the body, in lower
// case: they tell how the message is framed, where it goes, who sent it or how
// it is to be processed, and some recipients would merge them into the head
// (RFC 9110 6.5.1).
var notInTrailer = [...]string{
	"authorization",
	"cache-control",
	"connection",
	"content-encoding",
	"content-length",
	"content-range",
	"content-type",
	"cookie",
	"expect",
	"host",
	"keep-alive",
	"max-forwards",
	"pragma",
	"proxy-authenticate",
	"proxy-authorization",
	"proxy-connection",
	"range",
	"set-cookie",
	"te",
	"trailer",
	"transfer-encoding",
	"upgrade",
	"www-authenticate",
}

// ValidTrailerName reports whether name is a token that may name a trailer field:
// a Decoder refuses others, and so does an Encoder (RFC 9110 6.5.1).
func ValidTrailerName(name string) bool {
	return ValidName(name) && allowedInTrailer([]byte(name))
}

// allowedInTrailer reports whether a field may come after the body. Besides
// the fields above, none that makes a request conditional may.
func allowedInTrailer(name []byte) bool {
	if len(name) >= 3 && equalFold(name[:3], "if-") {
		return false
	}
	for _, n := range notInTrailer {
		if equalFold(name, n) {
			return false
		}
	}
	return true
}

// trailerLine reads what p has of a trailer line and returns how many bytes
// that is.
func (d *Decoder) trailerLine(p []byte) (int, *Error) {
	if d.trailer == nil {
		d.trailer = new(trailer)
	}
	t := d.trailer
	n := len(p)
	i := bytes.IndexByte(p, '\n')
	if i >= 0 {
		n = i + 1
	}
	limits := d.limit()
	if len(t.text)+n > limits.trailer() {
		return 0, ErrTrailerTooLarge
	}
	t.text = append(t.text, p[:n]...)
	if i < 0 {
		return n, nil
	}
	d.state = chunkTrailer
	return n, t.addLine(limits.fields())
}

// addLine reads the line at the end of the text, which is whole.
func (t *trailer) addLine(limit int) *Error {
	to := len(t.text) - 2
	if to < t.line || t.text[to] != '\r' {
		return errLineEnd
	}
	if len(t.spans) == limit {
		return ErrTooManyFields
	}
	s, e := parseField(t.text, uint32(t.line), uint32(to))
	if e != nil {
		return e
	}
	if !allowedInTrailer(t.text[s.name:s.nameEnd]) {
		return ErrTrailerField
	}
	t.spans = append(t.spans, s)
	t.line = len(t.text)
	return nil
}

// finish makes the fields.
func (t *trailer) finish() {
	t.fields = make([]Field, len(t.spans))
	for i := range t.spans {
		t.spans[i].fill(&t.fields[i], t.text)
	}
}
