package websocket

import (
	"io"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/ws"
)

// endpoint is a Conn as its loop sees it: the handler of the connection beneath.
type endpoint Conn

var (
	_ sluice.Handler         = (*endpoint)(nil)
	_ sluice.EOFHandler      = (*endpoint)(nil)
	_ sluice.DrainHandler    = (*endpoint)(nil)
	_ sluice.HangupHandler   = (*endpoint)(nil)
	_ sluice.ReadIdleHandler = (*endpoint)(nil)
)

// OnOpen begins the connection after the handshake.
func (e *endpoint) OnOpen(conn sluice.Conn) {
	c := (*Conn)(e)
	c.bind(conn)
	s := c.of
	count := s.count(conn.Loop())
	count.opened.Add(1)
	count.conns.Add(1)
	s.admitted.Add(-1) // after conns: Shutdown waits until both are zero
	c.note(isOpened)
	s.all.shard(conn.EventLoop()).add(c)
	if s.keepAlive > 0 {
		_ = conn.SetReadIdle(s.keepAlive)
	}
	if s.client { // or it and a server that both send much would wait for each other
		_ = conn.SetBackpressure(false)
	}
	s.h.OnOpen(c)
	if s.leaving.Load() {
		_ = c.Close(GoingAway, "")
	}
}

// OnData takes what has come.
func (e *endpoint) OnData(_ sluice.Conn, in *buffer.LinkBuffer) {
	c := (*Conn)(e)
	if c.is(isPinged) && in.Len() > 0 {
		c.bits.And(^isPinged)
	}
	if !c.is(isDeaf | isPaused) {
		c.receive(in)
	}
	if c.is(isDeaf) {
		_ = in.Skip(in.Len())
	}
	switch {
	case in.Len() > 0: // read is paused
		c.note(isBehind)
	case c.is(isAtEOF):
		c.peerEnded()
	default:
		c.bits.And(^isBehind)
		if c.is(isHeld) {
			c.unhold()
		}
	}
}

// unhold resumes the connection beneath, unless read is paused.
func (c *Conn) unhold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.is(isPaused) {
		c.bits.And(^isHeld)
		_ = c.conn.ResumeRead()
	}
}

// OnEOF takes the peer's end.
func (e *endpoint) OnEOF(sluice.Conn) {
	c := (*Conn)(e)
	if c.is(isBehind) {
		c.note(isAtEOF)
		return
	}
	c.peerEnded()
}

// peerEnded ends a connection whose peer has ended it. Loop only.
func (c *Conn) peerEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.is(isAnswered) {
		c.end(ErrNoClose)
	}
	_ = c.conn.Close()
}

// end notes why the connection ends, with mu held; the first cause counts.
// Nothing more is written.
func (c *Conn) end(cause error) {
	if x := c.extra(); x.cause == nil {
		x.cause = cause
	}
	c.note(isClosing | isDeaf)
	c.drop()
}

// OnDrain sends what waited, and goes on with what is unread because of that.
func (e *endpoint) OnDrain(conn sluice.Conn) {
	c := (*Conn)(e)
	if c.is(isBehind) {
		_ = conn.Wake()
	}
	c.mu.Lock()
	if c.more != nil {
		c.release()
		c.out().wake()
	}
	tell := !c.is(isClosing) && (c.more == nil || !c.more.out.raised) // otherwise OnDrain is to come
	c.mu.Unlock()
	if d := c.of.drain; d != nil && tell {
		d.OnDrain(c)
	}
}

// OnHangup wakes jobs that wait for the peer.
func (e *endpoint) OnHangup(_ sluice.Conn, err error) {
	c := (*Conn)(e)
	c.mu.Lock()
	c.note(isHungUp)
	c.out().wake()
	err = c.ending(err)
	c.mu.Unlock()
	c.view().fail(err)
}

// OnReadIdle pings a peer that is silent, and gives one up that did not answer.
func (e *endpoint) OnReadIdle(conn sluice.Conn) {
	c := (*Conn)(e)
	if c.is(isClosing|isPaused) || c.view().full() {
		return
	}
	switch {
	case conn.AboveHighWater(): // it is not read from, and no ping would reach it
		if c.stalled() {
			c.silent()
		}
	case c.is(isPinged):
		c.silent()
	default:
		c.bits.And(^isStuck)
		c.note(isPinged)
		_ = c.Ping(nil)
	}
}

// stalled notes how much has left and reports whether, since it was noted before,
// nothing has.
func (c *Conn) stalled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	still := !c.progress() && c.is(isStuck)
	c.bits.And(^isPinged) // the answer may be what is not read
	c.note(isStuck)
	return still
}

// progress notes how much of what was queued has left and reports whether that is more
// than was noted before, with mu held.
func (c *Conn) progress() bool {
	x, left := c.extra(), c.queued-uint32(c.conn.PendingWrite())
	moved := int32(left-x.left) > 0 // they wrap around
	x.left = left
	return moved
}

// unanswered ends a connection whose peer has not answered a Close frame, or looks again
// later if meanwhile some of what was queued has left, of which that is the last. Loop only.
func (c *Conn) unanswered(sluice.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.is(isAnswered) || c.cause() != nil: // it ends anyhow
	case c.progress():
		_, _ = c.conn.AfterFunc(c.of.closeTimeout, c.unanswered)
	default:
		c.end(ErrCloseTimeout)
		_ = c.conn.Close()
	}
}

// silent ends the connection because the peer does not answer.
func (c *Conn) silent() {
	c.of.count(c.conn.Loop()).silent.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(ErrSilent)
	_ = c.conn.Abort()
}

// OnClose ends the connection for the Handler.
func (e *endpoint) OnClose(conn sluice.Conn, err error) {
	c := (*Conn)(e)
	c.rx = nil
	c.mu.Lock()
	err = c.ending(err)
	c.end(err)
	c.note(isEnded)
	c.out().wake()
	joins := c.more.joins
	c.mu.Unlock()
	for _, j := range joins {
		j.shard.remove(c)
	}
	c.of.all.shard(conn.EventLoop()).remove(c)
	c.of.count(conn.Loop()).conns.Add(-1)
	c.view().fail(err)
	c.of.h.OnClose(c, err)
}

// ending returns what OnClose is to be given, with mu held.
func (c *Conn) ending(err error) error {
	switch {
	case c.cause() != nil:
		return c.cause()
	case c.is(isAnswered):
		return nil
	case err == nil || err == io.EOF:
		return ErrNoClose
	}
	return err
}

// refuse ends the connection because of what the peer sent. Loop only.
func (c *Conn) refuse(err error) {
	refused, ok := err.(*ws.Error)
	if !ok {
		refused = &ws.Error{Status: InternalError, Reason: err.Error()}
	}
	c.of.count(c.conn.Loop()).broken.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
	if !c.is(isClosing) {
		c.writeClose(refused.Status, refused.Reason)
	}
	c.end(refused)
	_ = c.conn.Close()
}

// peerClosed takes a Close frame. Loop only.
func (c *Conn) peerClosed(payload []byte) {
	status, reason, err := ws.ParseClose(payload)
	if err != nil {
		c.refuse(err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop()
	if !c.is(isClosing) {
		c.extra().cause = &CloseError{status, string(reason)}
		c.writeClose(status, "")
	}
	c.note(isClosing | isDeaf | isAnswered)
	c.out().wake()
	if !c.of.client {
		_ = c.conn.Close()
		return
	}
	// The server is to end the connection beneath (RFC 6455 7.1.1).
	_ = c.conn.SetReadDeadline(time.Now().Add(c.of.closeTimeout))
}
