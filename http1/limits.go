package http1

// Limits bound what a message may take of its recipient. A field that is zero
// or negative means its default.
type Limits struct {
	Line    int   // bytes of the start line without its CR LF, 64 KiB by default; beyond: ErrLineTooLong
	Head    int   // bytes of the head, 1 MiB by default, at most 1 GiB; beyond: ErrHeadTooLarge
	Fields  int   // header fields, and as many trailer fields, 1000 by default; beyond: ErrTooManyFields
	Body    int64 // bytes of the decoded body, unlimited by default; beyond: ErrBodyTooLarge, at the head if it tells
	Trailer int   // bytes of the trailer lines, 64 KiB by default; beyond: ErrTrailerTooLarge
}

// Defaults and bounds of limits.
const (
	defaultLine    = 64 << 10
	defaultHead    = 1 << 20
	defaultFields  = 1000
	defaultTrailer = 64 << 10

	// maxHead keeps offsets into a head within 32 bits.
	maxHead = 1 << 30
	// maxBlankLines is how many empty lines may precede a request line: some
	// clients send one after a body (RFC 9112 2.2), nobody needs many.
	maxBlankLines = 2
	// maxChunkDigits is what an int64 needs. Zeros in front count, for a size
	// line is not a way to keep a server busy.
	maxChunkDigits = 16
	// maxExtensions bounds the bytes of chunk extensions in one body.
	maxExtensions = 16 << 10
)

var defaultLimits Limits

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func (l *Limits) line() int    { return positive(l.Line, defaultLine) }
func (l *Limits) head() int    { return min(positive(l.Head, defaultHead), maxHead) }
func (l *Limits) fields() int  { return positive(l.Fields, defaultFields) }
func (l *Limits) trailer() int { return positive(l.Trailer, defaultTrailer) }

// body returns the limit of a body's bytes; -1 if there is none.
func (l *Limits) body() int64 {
	if l.Body > 0 {
		return l.Body
	}
	return -1
}
