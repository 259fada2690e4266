// Package http1 reads and writes HTTP/1.x messages (RFC 9110, RFC 9112) without
// doing input or output: bytes in, heads and bodies out, and the reverse.
package http1
