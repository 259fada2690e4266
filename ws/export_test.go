package ws

// Errors are all that this package returns for what a peer sends.
var Errors = []*Error{
	ErrNotUTF8, ErrMessageLimit, ErrCompressed, errReservedBits, errOpcode, errStray, errWithin, errControlFragment,
	errControlLong, errMasked, errNotMasked, errLength, errFrameLimit, errCloseShort, errCloseStatus, errCloseReason,
}
