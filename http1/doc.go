// Package http1 reads and writes the messages of HTTP/1.0 and HTTP/1.1 (RFC
// 9110, RFC 9112) without doing input or output: bytes in, heads and bodies out,
// and the reverse. It serves servers and clients, on any kind of connection.
//
// # Reading
//
// A [Decoder] reads one direction of a connection. Its caller collects what
// arrives, gives it to Head until that has found a whole [Head], and from then
// on to Body until the message is Done. What these return depends on the bytes
// alone, not on the pieces in which they come:
//
//	n, err := d.Head(p, &h)
//	// err != nil: answer with the status of the *Error, then close
//	// n == 0: wait for more bytes and call it again with all of them
//	for p = p[n:]; !d.Done(); p = p[n:] {
//		var data []byte
//		if data, n, err = d.Body(p); err != nil || n == 0 {
//			break // n == 0: wait for more bytes
//		}
//		use(data)
//	}
//
// Nothing is copied, save trailer fields, and nothing is allocated for a message
// whose head comes in one piece and that has no trailer fields.
//
// # Writing
//
// The Append functions write the lines of a head, an [Encoder] frames the body
// and makes sure that it is as long as the head has promised.
//
// # What is refused, and why
//
// A message that two servers could read differently is an attack as soon as one
// of them stands in front of the other: what the first takes for a body, the second
// takes for a request that nobody has checked. So nothing of that kind is
// repaired or guessed at. It is refused with an [Error], and the connection
// with it.
//
//	refused                                  status  because some
//	bare LF or CR, NUL, control characters   400     end a line there, or replace them by a space
//	a line that begins with a space or tab   400     join it to the one before, others ignore it
//	a space before the colon, an empty or    400     ignore the field, others trim the name
//	  malformed name, no colon
//	other than single spaces in the request  400     split at every space, others at the first and last
//	  line; a missing version; a third empty line before it
//	a version other than HTTP/1.x            505     (HTTP/1.2 and up are read as 1.1; lower case is 400)
//	Content-Length that is not just digits,  400     take the first, the last, or what they can
//	  too large, or repeated, equal or not             parse of it
//	Transfer-Encoding with Content-Length,   400     frame by the one, others by the other
//	  repeated, or on HTTP/1.0
//	chunked not last, twice, with parameters 400     read no body, others chunks
//	another transfer coding                  501     ignore it
//	Host missing on 1.1, repeated, not a     400     route by the first, others by the last or by
//	  host with a port, or not that of a               the target
//	  target in absolute-form
//	a target that is none of the four forms  400     cut it at '#', '@', a space, or repair it
//	  or not of its method, user information
//	CONNECT with a body                      400     take the body for the tunnel's first bytes
//	chunk sizes with a sign, 0x, spaces,     400     parse a part of it, others wrap around
//	  more than 16 digits or 63 bits
//	chunk extensions with spaces, malformed, 400     look for the line's end in them in other ways
//	  or beyond 16 KiB per body
//	trailer fields that frame, route or      400     merge them into the head
//	  authorize
//	more than the Limits                     413, 414, 431
//
// What may look odd but means the same to everybody is accepted: up to two empty
// lines before a request, methods that nobody knows, bytes from 0x80 on in targets and
// values, empty values, zeros before a Content-Length, the scheme's own port in
// only one of target and Host.
//
// The meaning of all other fields is left to the caller, as is what is behind
// the form of a target: percent-encoding, dot segments, queries.
package http1
