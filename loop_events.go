package sluice

import (
	"io"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// This file is the loop's side of the driver's contract: driver.Events.

var _ driver.Events = (*eventLoop)(nil)

// Received takes bytes, or the end of the stream.
func (l *eventLoop) Received(id driver.ID, b *buffer.Block, p []byte, err error) {
	l.begin()
	if l.secured(id) {
		l.tls.Received(id, p, err)
		return
	}
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	l.received(ch, i, s, b, p, err)
}

// received gives bytes to the handler, or notes the end of the stream, with s
// locked; it unlocks.
func (l *eventLoop) received(ch *chunk, i uint32, s *slot, b *buffer.Block, p []byte, err error) {
	if err != nil {
		l.receiveEnded(ch, i, s, err)
		return
	}
	s.active = l.now
	l.count.bytesIn += int64(len(p))
	if s.state != stateOpen {
		if s.flags&flagDetach != 0 { // taken from the kernel before the driver let go
			a := ch.conn(i).act()
			_, _ = a.in.Write(p)
			a.unread = a.in.Len()
		}
		s.mu.Unlock() // otherwise thrown away: the connection is closing
		return
	}
	s.flags |= flagBusy
	a := ch.part(i)
	view := a.blocking()
	l.mayRun(a)
	s.mu.Unlock()

	in := &l.view
	if a != nil && a.in.Len() > 0 {
		in = &a.in
	}
	if in == &l.view || len(p) > copyMax {
		in.AppendBlock(b, p)
	} else {
		_, _ = in.Write(p)
	}
	l.deliver(ch, i, in, view)
	s.flags &^= flagBusy
	l.settle(ch, i, s)
}

// mayRun has the loop give way to other goroutines before it sleeps, since the
// callback that follows may make one runnable: a job that waited for it. a is
// the connection's active part, with slot.mu held.
func (l *eventLoop) mayRun(a *active) {
	l.yield = l.yield || a != nil && a.jobs.count > 0
}

// deliver gives in to the handler, or to the blocking view if the connection
// has one, and keeps what is left unread. flagBusy is set and s unlocked;
// on return it is locked.
func (l *eventLoop) deliver(ch *chunk, i uint32, in *buffer.LinkBuffer, view *netConn) {
	s, c := &ch.slots[i], ch.conn(i)
	if view != nil {
		view.feed(in)
		l.yield = true
	} else {
		l.callData(l.routes[s.route].h, c, in)
	}
	s.mu.Lock()
	if in == &l.view {
		if in.Len() > 0 {
			c.act().in.AppendBuffer(in)
		}
		in.Close()
	}
	a := ch.part(i)
	if a == nil {
		return
	}
	a.in.Compact() // half a message does not keep the block it came in
	a.unread = a.in.Len()
	if a.unread > l.eng.cfg.ReadLimit {
		c.markAborted(s, ErrReadLimit)
	}
}

// receiveEnded handles the end of what the peer sends, with s locked.
func (l *eventLoop) receiveEnded(ch *chunk, i uint32, s *slot, err error) {
	if err != io.EOF {
		l.broken(ch, i, s, err)
		return
	}
	s.active = l.now
	s.flags |= flagEOF
	view, r := ch.part(i).blocking(), l.routes[s.route]
	if view != nil {
		s.want |= wantWake // which brings what is unread, and then the end
	}
	if s.state != stateOpen || r.eof == nil || view != nil {
		l.settle(ch, i, s)
		return
	}
	s.flags |= flagBusy
	l.mayRun(ch.part(i))
	s.mu.Unlock()
	l.callFunc("OnEOF", ch.conn(i), r.eof.OnEOF)
	l.leave(ch, i)
}

// broken ends a connection that the driver found broken, with s locked.
func (l *eventLoop) broken(ch *chunk, i uint32, s *slot, err error) {
	if s.state == stateOpen || s.state == stateClosing {
		a := ch.conn(i).act()
		if s.state == stateClosing && s.pending > 0 && s.want&wantAbort == 0 {
			a.ended = false // Close promised to deliver and cannot
		}
		a.end(err)
		l.shut(ch, i, s, false)
		return
	}
	if s.flags&flagDetach != 0 {
		ch.conn(i).act().lost = err
	}
	s.mu.Unlock()
}

// Sent takes the answer to an unfinished Send.
func (l *eventLoop) Sent(id driver.ID, n int, err error) {
	l.begin()
	if l.secured(id) {
		l.tls.Sent(id, n, err)
		return
	}
	l.answered(id, n, err)
}

// answered ends a Send.
func (l *eventLoop) answered(id driver.ID, n int, err error) {
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	s.flags &^= flagSending
	l.sent(ch, i, s, n)
	switch {
	case err != nil && s.state == stateOpen:
		ch.conn(i).writeFailed(s, err)
	case err != nil:
		l.broken(ch, i, s, err)
		return
	case s.state == stateClosing && s.pending > 0:
		s.flags |= flagSlow
	}
	l.settle(ch, i, s)
}

// sent accounts for n bytes that have left, with s locked.
func (l *eventLoop) sent(ch *chunk, i uint32, s *slot, n int) {
	if n == 0 {
		return
	}
	l.count.bytesOut += int64(n)
	s.acted(l.now)
	l.unqueue(s, ch.part(i), n)
}

// Closed finishes a connection: its last callback, and its slot is free.
func (l *eventLoop) Closed(id driver.ID) {
	l.begin()
	if l.secured(id) {
		l.tls.Closed(id)
		return
	}
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	l.gone(ch, i, s)
}

// gone notes that the driver has let go of a connection, with s locked; it unlocks.
func (l *eventLoop) gone(ch *chunk, i uint32, s *slot) {
	if s.state != stateShut || s.flags&flagGone != 0 {
		// Going on would end a connection that has nothing to do with it.
		panic("sluice: the driver reported the end of a connection that was not ended: a bug in " + l.eng.sys.Name())
	}
	s.flags |= flagGone
	l.settle(ch, i, s)
}

// finish calls OnClose and frees the slot. The driver has let go and no job
// runs.
func (l *eventLoop) finish(ch *chunk, i uint32) {
	s, c := &ch.slots[i], ch.conn(i)
	a := c.act() // shut made sure that there is one
	for t := a.timers; t != nil; t = a.timers {
		l.timers.drop(t)
	}
	if s.flags&flagOpened != 0 {
		l.callClose(l.routes[s.route].h, c, a.cause)
	}
	if d := a.dial; d != nil {
		d.unwatch()
		l.callDone(d, Conn{}, d.failed(a.cause))
	}
	if a.detach != nil {
		l.handOut(a, int(s.fd))
	}
	l.unbind(s.route)
	l.release(ch, i)
	l.count.conns--
	l.assigned.Add(-1)
}
