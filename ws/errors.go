package ws

var (
	// ErrNotUTF8 means text that is not UTF-8 (RFC 6455 8.1). A Decoder finds it
	// in messages that are not compressed; who inflates one has to look.
	ErrNotUTF8 = &Error{InvalidPayload, "text is not UTF-8"}

	// ErrMessageLimit means a message longer than the limit once it is inflated.
	ErrMessageLimit = &Error{MessageTooBig, "message too big"}

	// ErrCompressed means compressed data that is malformed.
	ErrCompressed = &Error{InvalidPayload, "malformed compressed data"}
)

// What a Decoder refuses.
var (
	errReservedBits    = &Error{ProtocolError, "a reserved bit is set"}
	errOpcode          = &Error{ProtocolError, "reserved opcode"}
	errStray           = &Error{ProtocolError, "continuation of no message"}
	errWithin          = &Error{ProtocolError, "message within another"}
	errControlFragment = &Error{ProtocolError, "fragmented control frame"}
	errControlLong     = &Error{ProtocolError, "control frame longer than 125 bytes"}
	errMasked          = &Error{ProtocolError, "masked frame from a server"}
	errNotMasked       = &Error{ProtocolError, "frame from a client without a mask"}
	errLength          = &Error{ProtocolError, "length not in its shortest form"}
	errFrameLimit      = &Error{MessageTooBig, "frame too big"}
	errCloseShort      = &Error{ProtocolError, "Close frame of one byte"}
	errCloseStatus     = &Error{ProtocolError, "Close frame with a status that may not be sent"}
	errCloseReason     = &Error{InvalidPayload, "reason of a Close frame is not UTF-8"}
)
