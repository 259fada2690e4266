package websocket

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/ws"
)

// Opcode says what kind of message it is: Text or Binary.
type Opcode = ws.Opcode

// The kinds of messages.
const (
	Text   = ws.Text   // UTF-8
	Binary = ws.Binary // any bytes
)

// Status is the code of a Close frame (RFC 6455 7.4).
type Status = ws.Status

// The codes that may be sent (RFC 6455 7.4.1), and those that CloseStatus tells
// in addition. Applications have 4000 to 4999 for their own.
const (
	NormalClosure   = ws.NormalClosure
	GoingAway       = ws.GoingAway
	ProtocolError   = ws.ProtocolError
	UnsupportedData = ws.UnsupportedData
	NoStatus        = ws.NoStatus        // the peer gave none
	AbnormalClosure = ws.AbnormalClosure // there was no Close frame
	InvalidPayload  = ws.InvalidPayload
	PolicyViolation = ws.PolicyViolation
	MessageTooBig   = ws.MessageTooBig
	InternalError   = ws.InternalError
	ServiceRestart  = ws.ServiceRestart
	TryAgainLater   = ws.TryAgainLater
)

// Handler is an application's side of a connection. The callbacks of one
// connection run on its event loop, never two at once: OnOpen first, OnClose last
// and exactly once. They must not block. One that panics costs its own connection
// and nothing else.
//
// One Handler usually serves all connections of a Server; what belongs to one is
// kept with Conn.SetContext. A Handler may also be a PartHandler, a PingHandler, a
// PongHandler and a DrainHandler.
type Handler interface {
	// OnOpen is called when the handshake is over.
	OnOpen(c *Conn)

	// OnMessage is called with a whole message. data is the handler's, to be
	// changed as well, until it returns; then its memory is used again. Text is
	// valid UTF-8.
	OnMessage(c *Conn, op Opcode, data []byte)

	// OnClose is called when nothing more will happen on c. err is nil if this
	// side's Close was carried out and the peer answered it, a *CloseError if the
	// peer began, an error that matches io.ErrUnexpectedEOF if the peer ended the
	// connection without a word, a *ws.Error if it did not keep to the protocol,
	// otherwise one of this package's errors or of sluice's. CloseStatus makes a
	// code of it.
	OnClose(c *Conn, err error)
}

// PartHandler is implemented by a Handler that takes messages in parts, as they
// come, so that a long one need not be held: OnPart is called in place of
// OnMessage. Messages that were compressed come whole.
type PartHandler interface {
	// OnPart is called with the next part of a message, which may be empty if
	// it is the last. data is the handler's until it returns. A part of a text
	// may end within a rune; the text as a whole is valid UTF-8 so far.
	OnPart(c *Conn, op Opcode, data []byte, last bool)
}

// PingHandler is implemented by a Handler that wants to know of pings, which are
// answered before.
type PingHandler interface {
	// OnPing is called with a ping's payload, up to 125 bytes, which is the
	// handler's until it returns; also after Close, until the peer has answered that.
	OnPing(c *Conn, payload []byte)
}

// PongHandler is implemented by a Handler that wants to know of pongs.
type PongHandler interface {
	// OnPong is called with a pong's payload, up to 125 bytes, which is the
	// handler's until it returns; also after Close, until the peer has answered that.
	OnPong(c *Conn, payload []byte)
}

// DrainHandler is implemented by a Handler that wants to know when it may go on
// writing.
type DrainHandler interface {
	// OnDrain is called when what waits to be sent, having been above the
	// high-water mark (sluice.Config.HighWater), has fallen to the low-water mark,
	// and when those have left that waited because of what was broadcast (Backlog).
	OnDrain(c *Conn)
}

// Funcs is a Handler made of functions, any of which may be nil.
type Funcs struct {
	Open    func(c *Conn)
	Message func(c *Conn, op Opcode, data []byte)
	Ping    func(c *Conn, payload []byte)
	Pong    func(c *Conn, payload []byte)
	Drain   func(c *Conn)
	Close   func(c *Conn, err error)
}

// OnOpen calls f.Open.
func (f Funcs) OnOpen(c *Conn) {
	if f.Open != nil {
		f.Open(c)
	}
}

// OnMessage calls f.Message.
func (f Funcs) OnMessage(c *Conn, op Opcode, data []byte) {
	if f.Message != nil {
		f.Message(c, op, data)
	}
}

// OnPing calls f.Ping.
func (f Funcs) OnPing(c *Conn, payload []byte) {
	if f.Ping != nil {
		f.Ping(c, payload)
	}
}

// OnPong calls f.Pong.
func (f Funcs) OnPong(c *Conn, payload []byte) {
	if f.Pong != nil {
		f.Pong(c, payload)
	}
}

// OnDrain calls f.Drain.
func (f Funcs) OnDrain(c *Conn) {
	if f.Drain != nil {
		f.Drain(c)
	}
}

// OnClose calls f.Close.
func (f Funcs) OnClose(c *Conn, err error) {
	if f.Close != nil {
		f.Close(c, err)
	}
}

var (
	// ErrClosed is returned by a write after Close or the peer's, and when the
	// connection has ended. It matches net.ErrClosed.
	ErrClosed = sluice.ErrClosed

	// ErrBacklog is returned by a write when more bytes wait already than
	// Backlog.Bytes allows, and by Broadcast when the loops have too much to
	// deliver. Nothing was queued, and the connection stays open. It matches
	// sluice.ErrWriteLimit.
	ErrBacklog error = backlogError{}

	// ErrSlow is matched by what OnClose is given when the connection was closed because
	// its peer did not keep up with what was broadcast.
	ErrSlow = errors.New("websocket: the peer is too slow (Backlog)")

	// ErrSilent is what OnClose is given when nothing came in time after a ping
	// (KeepAlive).
	ErrSilent = fmt.Errorf("websocket: the peer did not answer a ping (KeepAlive): %w", os.ErrDeadlineExceeded)

	// ErrCloseTimeout is what OnClose is given when the peer did not answer a
	// Close frame in time (CloseTimeout).
	ErrCloseTimeout = fmt.Errorf("websocket: the peer did not answer a Close frame (CloseTimeout): %w", os.ErrDeadlineExceeded)

	// ErrNoClose is what OnClose is given when the peer ended the connection
	// without a Close frame. It matches io.ErrUnexpectedEOF.
	ErrNoClose = fmt.Errorf("websocket: the peer ended the connection without a Close frame: %w", io.ErrUnexpectedEOF)
)

// backlogError is ErrBacklog. What sluice.ErrWriteLimit says to do is not what helps here.
type backlogError struct{}

func (backlogError) Error() string {
	return "websocket: too many bytes wait to be sent; wait for OnDrain, close the connection, or raise Backlog.Bytes"
}

func (backlogError) Unwrap() error { return sluice.ErrWriteLimit }

// slowError is ErrSlow with the status that the peer was told.
type slowError Status

func (e slowError) Error() string { return ErrSlow.Error() }

func (e slowError) Unwrap() error { return ErrSlow }

// CloseError is what a peer gave as its reason to close.
type CloseError struct {
	Status Status // NoStatus if it gave none
	Reason string
}

// Error returns the status and the reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("websocket: closed by the peer with %d %q", e.Status, e.Reason)
}

// CloseStatus returns the code that tells in a log how a connection ended whose
// OnClose was given err, or whose Blocking.Read returned it: NormalClosure if this side
// closed it, whatever Close was given, the peer's code, the one that the peer was
// refused with, or AbnormalClosure.
func CloseStatus(err error) Status {
	var said *CloseError
	var refused *ws.Error
	var slow slowError
	switch {
	case err == nil || err == ErrClosed: // of a Blocking
		return NormalClosure
	case errors.As(err, &said):
		return said.Status
	case errors.As(err, &refused):
		return refused.Status
	case errors.As(err, &slow):
		return Status(slow)
	}
	return AbnormalClosure
}
