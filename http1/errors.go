package http1

import (
	"errors"
	"fmt"
	"io"
)

// Error is why a message is refused. The connection cannot be used for
// another message of that direction after it: where this one ends is unknown.
// All values are declared in this package, so an error can be compared with ==
// and costs nothing.
type Error struct {
	// Status is what a server answers a refused request with. It means
	// nothing for a refused response.
	Status int
	// Reason says what is wrong, in a few words and without bytes of the
	// message.
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return "http1: " + e.Reason }

// Reasons that a user may want to tell apart.
var (
	// ErrLineTooLong means a start line beyond Limits.Line.
	ErrLineTooLong = &Error{414, "start line too long"}
	// ErrHeadTooLarge means a head beyond Limits.Head.
	ErrHeadTooLarge = &Error{431, "header section too large"}
	// ErrTooManyFields means more fields than Limits.Fields, in the head or
	// in the trailer section.
	ErrTooManyFields = &Error{431, "too many fields"}
	// ErrTrailerTooLarge means a trailer section beyond Limits.Trailer.
	ErrTrailerTooLarge = &Error{431, "trailer section too large"}
	// ErrBodyTooLarge means a body beyond Limits.Body.
	ErrBodyTooLarge = &Error{413, "body too large"}
	// ErrVersion means a well-formed version other than HTTP/1.x.
	ErrVersion = &Error{505, "HTTP version is not 1.x"}
	// ErrTransferCoding means a transfer coding other than chunked.
	ErrTransferCoding = &Error{501, "transfer coding other than chunked"}
	// ErrHost means a Host field that is missing, repeated or not a host, or
	// that contradicts the target.
	ErrHost = &Error{400, "Host missing, repeated, malformed or different from the target's"}
	// ErrFraming means that Content-Length and Transfer-Encoding leave doubt
	// where the body ends.
	ErrFraming = &Error{400, "Content-Length or Transfer-Encoding malformed, repeated or contradictory"}
	// ErrChunk means malformed chunked framing.
	ErrChunk = &Error{400, "malformed chunk"}
	// ErrChunkExtensions means more bytes of chunk extensions in one body
	// than the limit of 16 KiB. Nobody uses them but to keep a server busy.
	ErrChunkExtensions = &Error{400, "too many chunk extensions"}
	// ErrTrailerField means a trailer field that would change how the
	// message is framed, routed or handled (RFC 9110 6.5.1).
	ErrTrailerField = &Error{400, "field not allowed in a trailer section"}
)

// The other reasons.
var (
	errLineEnd     = &Error{400, "line does not end with CR LF"}
	errRequestLine = &Error{400, "malformed request line"}
	errMethod      = &Error{400, "malformed method"}
	errTarget      = &Error{400, "malformed request target"}
	errVersionForm = &Error{400, "malformed HTTP version"}
	errStatusLine  = &Error{400, "malformed status line"}
	errFold        = &Error{400, "line begins with a space or a tab"}
	errName        = &Error{400, "malformed field name"}
	errColon       = &Error{400, "field name not followed by a colon"}
	errValue       = &Error{400, "control character in a field value"}
	errConnectBody = &Error{400, "CONNECT with a body"}
)

// errCut is what EOF returns in the middle of a message.
var errCut = fmt.Errorf("http1: the peer ended in the middle of a message: %w", io.ErrUnexpectedEOF)

// Errors of an Encoder: the sender does not keep to what it announced. The
// connection must be closed then, for the peer would take what follows for
// something else.
var (
	// ErrBodyLong is returned for more bytes than Fixed announced.
	ErrBodyLong = errors.New("http1: more bytes than the announced Content-Length")
	// ErrBodyShort is returned for the end before all bytes that Fixed
	// announced.
	ErrBodyShort = errors.New("http1: fewer bytes than the announced Content-Length")
	// ErrBodyNotAllowed is returned for bytes of a body after None or End.
	ErrBodyNotAllowed = errors.New("http1: the message has no body or its body has ended")
	// ErrTrailerNotAllowed is returned for trailer fields of a body that is
	// not chunked, and for such as a Decoder would refuse.
	ErrTrailerNotAllowed = errors.New("http1: trailer fields need a chunked body and a name and value that are allowed there")
)
