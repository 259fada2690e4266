package websocket

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/ws"
)

// Conn is a WebSocket connection. Every method may be called from any goroutine
// at any time; none blocks, and no callback runs inside one. When OnClose has
// returned, none has any effect.
type Conn struct {
	conn sluice.Conn
	of   *service
	rx   *receiver     // loop only: of a message or frame that has come in part, otherwise nil
	bits atomic.Uint32 // facts
	home int32         // loop only: its place among of.all, -1 before and after

	// What the handshake agreed on.
	window   uint8 // bits of the window for what is sent, with isDeflated
	protocol uint8 // its number in of.protocols from 1, 0 means none

	mu     sync.Mutex
	queued uint32 // bytes given to conn so far, with mu held; it wraps around
	ctx    any
	more   *extra // what it mostly does not have; nil until it is needed, then always the same
}

// extra is what most connections do not have. Conn.mu guards it.
type extra struct {
	out   outbound
	cause error     // why it ended, if this package knows; see also isAnswered
	view  *Blocking // with isViewed
	joins []join    // the groups that it is in
	left  uint32    // bytes of queued that had left when progress was called last

	deflater ws.Deflater // with outTakes
	inflater ws.Inflater // with inTakes: the loop's alone
}

// extra returns c.more, with mu held.
func (c *Conn) extra() *extra {
	if c.more == nil {
		c.more = new(extra)
	}
	return c.more
}

// out returns what waits to be written, with mu held; nil if there never was anything.
func (c *Conn) out() *outbound {
	if c.more == nil {
		return nil
	}
	return &c.more.out
}

// cause returns why the connection ended, with mu held.
func (c *Conn) cause() error {
	if c.more == nil {
		return nil
	}
	return c.more.cause
}

// view returns the Blocking that c was turned into, nil if there is none.
func (c *Conn) view() *Blocking {
	if !c.is(isViewed) {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.more.view
}

// Facts about a connection, in Conn.bits.
const (
	isOpened   uint32 = 1 << iota // OnOpen was called
	isClosing                     // a Close frame was queued, or none can be: nothing more is written
	isAnswered                    // both sides have sent a Close frame
	isHungUp                      // nothing can be written, though there are jobs that might
	isDeaf                        // what comes is thrown away
	isPaused                      // PauseRead
	isHeld                        // the connection beneath is paused, because of it
	isPinged                      // a ping was sent, and nothing has come since
	isStuck                       // it was above its high-water mark when a ping was due last
	isEnded                       // OnClose was called
	isBehind                      // the last OnData left bytes unread
	isAtEOF                       // the peer's end has come and waits for what is unread
	isDeflated                    // permessage-deflate was agreed on
	isViewed                      // there is a Blocking
	outTakes                      // messages that are sent may refer to those before
	inTakes                       // those that come may
	isPlain                       // messages are not compressed any more
)

func (c *Conn) is(facts uint32) bool { return c.bits.Load()&facts != 0 }
func (c *Conn) note(facts uint32)    { c.bits.Or(facts) }

// setParams notes what was agreed on about compression. It comes before the
// connection is used.
func (c *Conn) setParams(p ws.Params) {
	out, in := p.Server, p.Client
	if c.of.client {
		out, in = in, out
	}
	c.note(isDeflated)
	c.window = uint8(out.Bits)
	if out.Takeover {
		c.note(outTakes)
		c.extra().deflater = ws.Deflater{Side: out, Level: c.of.compression.Level}
	}
	if in.Takeover {
		c.note(inTakes)
		c.extra().inflater = ws.Inflater{Side: in}
	}
}

// bind says which connection c is about, before anybody else knows of c or once
// more when the loop begins to serve it.
func (c *Conn) bind(conn sluice.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == (sluice.Conn{}) {
		c.conn = conn
	}
}

// Transport returns the connection beneath, for its addresses, timers, Execute and
// statistics. Neither must it be read or written, nor its Context be set.
func (c *Conn) Transport() sluice.Conn { return c.conn }

// RemoteAddr returns the peer's address, as sluice.Conn.RemoteAddr does.
func (c *Conn) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

// LocalAddr returns this side's address, as sluice.Conn.LocalAddr does.
func (c *Conn) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// TLS returns what TLS agreed on, nil without it or when the connection has ended.
func (c *Conn) TLS() *tls.ConnectionState { return c.conn.TLS() }

// Subprotocol returns the subprotocol that was agreed on, "" if there is none.
func (c *Conn) Subprotocol() string {
	if c.protocol == 0 {
		return ""
	}
	return c.of.protocols[c.protocol-1]
}

// Compressed reports whether compression was agreed on.
func (c *Conn) Compressed() bool { return c.is(isDeflated) }

// SetContext attaches v to the connection, for Context to return.
func (c *Conn) SetContext(v any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctx = v
}

// Context returns what SetContext, Server.Accept or Server.Upgrade attached, nil if
// nothing was. It works for ever.
func (c *Conn) Context() any {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ctx
}

// IsOpen reports whether the connection has not begun to close: neither side has
// sent a Close frame.
func (c *Conn) IsOpen() bool { return !c.is(isClosing) && c.conn.IsOpen() }

// Offload runs fn, which may block, on a goroutine of the engine's pool, in the
// order of the calls, as sluice.Conn.Offload does. While more than 64 wait for their
// turn nothing is read. Over httpd the pool is that of its handlers, too.
func (c *Conn) Offload(fn func(c *Conn)) error {
	if fn == nil {
		return c.conn.Offload(nil)
	}
	return c.conn.Offload(func(sluice.Conn) { fn(c) })
}

// AfterFunc has the loop call fn when d has passed, as sluice.Conn.AfterFunc does.
func (c *Conn) AfterFunc(d time.Duration, fn func(c *Conn)) (*sluice.Timer, error) {
	if fn == nil {
		return c.conn.AfterFunc(d, nil)
	}
	return c.conn.AfterFunc(d, func(sluice.Conn) { fn(c) })
}

// PauseRead stops OnMessage after the message that is being handled; what comes
// waits, in the kernel for the most part, and pings wait with it. Called outside the
// callbacks, it takes effect with the loop's next pass.
func (c *Conn) PauseRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.is(isClosing) {
		return ErrClosed
	}
	err := c.conn.PauseRead()
	c.note(isPaused | isHeld) // not before: the loop, which reads nothing then, might go on receiving
	return err
}

// ResumeRead ends PauseRead.
func (c *Conn) ResumeRead() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resume()
}

// resume is ResumeRead with mu held. When nothing waits unread any more, OnData resumes
// the connection beneath, and not before: who pauses after every message would let more
// and more wait.
func (c *Conn) resume() error {
	if c.is(isPaused) {
		c.bits.And(^(isPaused | isPinged)) // the peer may have answered meanwhile
	}
	if c.is(isHeld) {
		return c.conn.Wake()
	}
	return c.conn.ResumeRead()
}

// Close closes the connection in order: what was written before is sent, then a
// Close frame with the status and the reason, of which 123 bytes are sent at most;
// OnMessage is not called any more, and PauseRead ends. When the peer has answered,
// or after CloseTimeout, the connection ends and OnClose is called. Close returns
// ErrClosed if a Close frame was sent before, and an error if the status may not be
// sent; NoStatus sends none.
func (c *Conn) Close(status Status, reason string) error {
	if status != NoStatus && !status.Sendable() {
		return fmt.Errorf("websocket: the status %d must not be sent (RFC 6455 7.4); applications have 4000 to 4999", status)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.is(isClosing) {
		return ErrClosed
	}
	if _, err := c.conn.AfterFunc(c.of.closeTimeout, c.unanswered); err != nil {
		return err
	}
	waits := c.conn.PendingWrite() > onTheWay || c.out().busy()
	c.writeClose(status, reason)
	if c.progress(); !waits {
		c.more.left = c.queued // all leaves at once, which is no news later
	}
	if c.is(isPaused) { // the answer comes behind what waits
		_ = c.resume()
	}
	return nil
}

// Abort ends the connection at once and without a Close frame; what waits to be
// sent is thrown away. OnClose is given sluice.ErrAborted.
func (c *Conn) Abort() error {
	c.note(isDeaf)
	return c.conn.Abort()
}
