// Package ws reads and writes the frames of WebSocket (RFC 6455) and the
// compressed messages of permessage-deflate (RFC 7692) without doing input or
// output. It serves servers and clients, on any kind of connection.
//
// # Reading
//
// A Decoder reads one direction of a connection, after the handshake. It is
// given the bytes in the pieces in which they come and says what they are:
//
//	for len(p) > 0 {
//		part, n, err := d.Next(p)
//		// err != nil: send a Close frame with the code of the *Error, then close
//		p = p[n:]
//		use(part) // part.Opcode 0: the piece ended before there was anything
//	}
//
// A message comes as one part if its one frame lies in the piece, which is how
// messages mostly come, and otherwise in several, as soon as their bytes are
// there: the decoder collects nothing but the beginnings of frames and the
// frames of control. So what a peer announces costs no memory before it is sent.
//
// # Writing
//
// Header.Append writes what is in front of a payload, Mask masks it, and
// AppendClose writes the payload of a Close frame.
//
// # The handshake
//
// The opening handshake is a message of HTTP/1.1, for which there is package
// http1. AcceptKey and HasToken are what WebSocket adds to it, and Negotiate,
// Params.Offer and Accepted agree on compression.
//
// # What is refused
//
// Everything that RFC 6455 and RFC 7692 tell an endpoint to fail a connection
// for, at the first byte that is wrong, or of a length when its header is whole:
//
//	reserved bits and opcodes, lengths that are not the shortest        1002
//	a mask where there must be none, none where there must be one       1002
//	control frames that are fragmented or longer than 125 bytes         1002
//	a continuation of nothing, a message within another                 1002
//	a Close frame with a code that may not be sent, or of one byte      1002
//	text, or the reason in a Close frame, that is not UTF-8             1007
//	compressed data that is malformed                                   1007
//	more than the limits, compressed or not                             1009
package ws
