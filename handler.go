package sluice

import (
	"net"

	"github.com/sluice-go/sluice/buffer"
)

// Handler is an application's side of a connection. The callbacks of one
// connection run on its loop, never two at once: OnOpen first, OnClose last
// and exactly once. They must not block, since every other connection of the
// loop waits meanwhile: what may block belongs into Conn.Offload. A callback
// that panics costs its own connection and nothing else.
//
// One Handler usually serves all connections of a listener; what belongs to
// one connection is kept with Conn.SetContext. A Handler may also be a
// DrainHandler, an EOFHandler, a HangupHandler and a ReadIdleHandler; so that a
// misspelt method is noticed, write
//
//	var _ sluice.EOFHandler = myHandler{}
type Handler interface {
	// OnOpen is called when the connection is established.
	OnOpen(c Conn)

	// OnData is called when bytes arrived, with all that are unread. The
	// slices that Peek, Next, Until and Bytes lend are valid until OnData
	// returns; in.Slice moves bytes out of it without a copy. What is left
	// unread is kept and is in front of the next call's bytes, so a protocol
	// reads whole messages and leaves the beginning of one that is not.
	// in itself must not be used after the return.
	OnData(c Conn, in *buffer.LinkBuffer)

	// OnClose is called when the descriptor is closed and nothing more will
	// happen on c. err is nil if this side's Close was carried out, io.EOF
	// if the peer ended the connection in order, otherwise the cause: one of
	// the package's errors, a *PanicError or a system error.
	// Of c's methods Context, LocalAddr, RemoteAddr and PendingRead still
	// work in it.
	OnClose(c Conn, err error)
}

// DrainHandler is implemented by a Handler that wants to know when it may go
// on writing.
type DrainHandler interface {
	// OnDrain is called when the bytes waiting to be sent, having been above
	// the high-water mark, have fallen to the low-water mark.
	OnDrain(c Conn)
}

// EOFHandler is implemented by a Handler of a protocol that uses half-closed
// connections. Without it the peer's FIN closes the connection, as Close
// does, once the jobs offloaded before are done.
type EOFHandler interface {
	// OnEOF is called after the last byte, when the peer has ended its
	// direction. This side may go on writing; CloseWrite or Close ends it.
	OnEOF(c Conn)
}

// HangupHandler is implemented by a Handler whose offloaded jobs may wait for
// the peer. OnClose waits for such a job, so it cannot be what ends the wait.
type HangupHandler interface {
	// OnHangup is called if jobs are unfinished when the connection closes,
	// whatever closes it, or when sending to the peer has failed: once, before
	// OnClose, and like every callback on the loop and beside the jobs. From
	// then on writes fail. err is nil after Close, also after one that a job
	// made, otherwise the cause. It is not called if the connection has a
	// NetConn, whose methods return then.
	//
	// The peer's end of its direction is no such case, because the jobs may
	// still answer: an EOFHandler hears of it.
	OnHangup(c Conn, err error)
}

// ReadIdleHandler is implemented by a Handler of a protocol that asks a silent
// peer whether it is still there, or gives it up, as those with keep-alive pings do.
type ReadIdleHandler interface {
	// OnReadIdle is called when no byte has been received for the time that
	// Conn.SetReadIdle gave, and again after each further such time.
	OnReadIdle(c Conn)
}

// Funcs is a Handler made of functions, any of which may be nil. With a nil
// Data what arrives is thrown away; with a nil EOF the peer's end closes the
// connection, as for a Handler that is no EOFHandler. HandshakeError is that of a
// HandshakeErrorHandler. A struct that embeds Funcs has none of these two. Funcs is no
// ReadIdleHandler; a struct that embeds it and has the method OnReadIdle is one.
type Funcs struct {
	Open   func(c Conn)
	Data   func(c Conn, in *buffer.LinkBuffer)
	Drain  func(c Conn)
	EOF    func(c Conn)
	Hangup func(c Conn, err error)
	Close  func(c Conn, err error)

	HandshakeError func(remote net.Addr, err error) (answer []byte)
}

// eofFunc is an EOFHandler made of a function.
type eofFunc func(c Conn)

// OnEOF calls f.
func (f eofFunc) OnEOF(c Conn) { f(c) }

// handshakeErrorFunc is a HandshakeErrorHandler made of a function.
type handshakeErrorFunc func(remote net.Addr, err error) (answer []byte)

// OnHandshakeError calls f.
func (f handshakeErrorFunc) OnHandshakeError(remote net.Addr, err error) []byte {
	return f(remote, err)
}

// OnOpen calls f.Open.
func (f Funcs) OnOpen(c Conn) {
	if f.Open != nil {
		f.Open(c)
	}
}

// OnData calls f.Data, or throws the bytes away if it is nil.
func (f Funcs) OnData(c Conn, in *buffer.LinkBuffer) {
	if f.Data != nil {
		f.Data(c, in)
		return
	}
	_ = in.Skip(in.Len())
}

// OnDrain calls f.Drain.
func (f Funcs) OnDrain(c Conn) {
	if f.Drain != nil {
		f.Drain(c)
	}
}

// OnHangup calls f.Hangup.
func (f Funcs) OnHangup(c Conn, err error) {
	if f.Hangup != nil {
		f.Hangup(c, err)
	}
}

// OnClose calls f.Close.
func (f Funcs) OnClose(c Conn, err error) {
	if f.Close != nil {
		f.Close(c, err)
	}
}
