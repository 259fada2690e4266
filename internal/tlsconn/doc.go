// Package tlsconn is TLS between an event loop and its driver, over the standard
// crypto/tls as it is.
//
// A tls.Conn wants a net.Conn whose Read blocks; a loop must not block. So a
// handshake, which stops in the middle of functions and may call functions of the
// user that block, runs in a goroutine of its own: from the first whole record to
// its end, no longer. Afterwards the loop itself calls tls.Conn.Read over a
// net.Conn in memory that has nothing but whole records, and says when they are
// used up by an error that is net.Error and Temporary: the one kind of error after
// which a tls.Conn goes on as if nothing had been. (A handshake does not; crypto/tls
// keeps its first error for ever.)
//
// Nothing but keys stays with an idle connection: crypto/tls keeps the largest
// buffers it ever needed, so they are taken from it between reads; see lend.go.
package tlsconn
