package sluice

import (
	"io"
	"math"

	"github.com/sluice-go/sluice/internal/driver"
)

// roundsMax bounds the callbacks that settle makes in a row, for a handler
// that wakes itself or fills the queue again in every OnDrain.
const roundsMax = 4

// settle turns what was asked of a connection into calls of its driver, and
// moves it through its states. It is the one place where that happens: after
// every callback, event and request. s is locked on entry and unlocked on
// return.
//
//	dialing -> open -> closing -> shut -> free
//
// open to closing: Close, the peer's end, a deadline. closing to shut: all
// was sent and the peer has ended, too, or the time is up. Any state to shut:
// Abort, a panic, a broken connection. shut to free: the driver reported
// Closed and no job runs.
func (l *eventLoop) settle(ch *chunk, i uint32, s *slot) {
	for round := 0; ; round++ {
		if round == roundsMax && s.state != stateFree {
			l.again(ch, i, s)
			l.keepOrFree(ch, i, s)
			s.mu.Unlock()
			return
		}
		want := s.want
		s.want = 0
		switch s.state {
		case stateFree:
			s.mu.Unlock()
			return
		case stateShut:
			l.settleShut(ch, i, s)
			return
		}
		if want&wantAbort != 0 {
			l.shut(ch, i, s, true)
			return
		}
		if s.state == stateDialing {
			s.mu.Unlock()
			return
		}
		if s.pending > 0 && s.flags&flagSending == 0 && !l.flush(ch, i, s) {
			return // broken, and unlocked
		}
		if l.finishing(ch, i, s, want) {
			return // shut, and unlocked
		}
		if s.state == stateClosing {
			l.tellView(ch, i, s)
		}
		if want&wantJobs != 0 {
			l.batchJobs(ch, i)
		}
		l.applyPause(ch, i, s)
		if (want|s.want)&wantTimer != 0 {
			s.want &^= wantTimer
			l.setDeadline(ch, i, s)
		}
		if s.quiet(want) || !l.callbackDue(ch, i, s, want) {
			l.keepOrFree(ch, i, s)
			s.mu.Unlock()
			return
		}
		s.flags &^= flagBusy
	}
}

// settleShut is settle for a connection that is shut.
func (l *eventLoop) settleShut(ch *chunk, i uint32, s *slot) {
	if l.hangup(ch, i, s) {
		s.flags &^= flagBusy
	}
	if s.flags&(flagShutLate|flagFile) == flagShutLate {
		s.flags &^= flagShutLate
		s.mu.Unlock()
		l.drv.Shut(driver.ID(ch.base+i), true) // a file cut short is no orderly end
		return
	}
	over := s.flags&(flagGone|flagBusy) == flagGone && ch.part(i).jobs.count == 0
	if over {
		s.flags |= flagBusy // once
	}
	s.mu.Unlock()
	if over {
		l.finish(ch, i)
	}
}

// quiet is true only if no callback is due, as after most messages.
func (s *slot) quiet(want request) bool {
	return s.state == stateOpen && s.flags&(flagHigh|flagWriteBroken) == 0 && want&wantWake == 0
}

// callbackDue makes a callback that settle found to be due: OnHangup, OnDrain,
// or the OnData that Wake asked for. It reports whether there was one. s is
// unlocked while the callback runs.
func (l *eventLoop) callbackDue(ch *chunk, i uint32, s *slot, want request) bool {
	if (s.state != stateOpen || s.flags&flagWriteBroken != 0) && l.hangup(ch, i, s) {
		s.want |= want & wantWake
		return true
	}
	if s.state != stateOpen {
		return false
	}
	a, r := ch.part(i), l.routes[s.route]
	if s.flags&flagHigh != 0 && int(s.pending) <= l.water(a).low {
		s.flags &^= flagHigh
		s.want |= want & wantWake
		s.flags |= flagBusy
		view, broken := a.blocking(), s.flags&flagWriteBroken != 0
		l.mayRun(a)
		s.mu.Unlock()
		if view != nil {
			view.drained()
		} else if r.drain != nil && !broken {
			l.callFunc("OnDrain", ch.conn(i), r.drain.OnDrain)
		}
		s.mu.Lock()
		return true
	}
	view := a.blocking()
	if want&wantWake != 0 && (view != nil || s.flags&flagShutdown == 0) {
		s.flags |= flagBusy
		in := &l.view
		if a != nil && a.unread > 0 {
			in = &a.in
		}
		s.mu.Unlock()
		l.deliver(ch, i, in, view)
		if view != nil && s.flags&flagEOF != 0 {
			s.mu.Unlock() // a view's lock comes first
			view.fail(io.EOF)
			s.mu.Lock()
		}
		return true
	}
	return false
}

// hangup calls OnHangup if a job may be waiting for a peer that is as good as
// gone, and reports whether it did. s is locked, and unlocked while the
// callback runs.
func (l *eventLoop) hangup(ch *chunk, i uint32, s *slot) bool {
	a, h := ch.part(i), l.routes[s.route].hangup
	if h == nil || s.flags&flagHungUp != 0 || !a.working() {
		return false
	}
	s.flags |= flagHungUp | flagBusy
	err := a.cause
	s.mu.Unlock()
	l.callHangup(h, ch.conn(i), err)
	l.yield = true
	s.mu.Lock()
	return true
}

// flush sends what waits, with s locked. It reports false if the connection
// proved broken; s is unlocked then.
func (l *eventLoop) flush(ch *chunk, i uint32, s *slot) bool {
	a := ch.part(i)
	bufs := a.out.Buffers(l.iov[:0], iovMax)
	total := 0
	for _, p := range bufs {
		total += len(p)
	}
	n, err := l.stream(s).Send(driver.ID(ch.base+i), bufs)
	clear(bufs)
	l.sent(ch, i, s, n)
	switch {
	case err != nil && s.state == stateOpen:
		ch.conn(i).writeFailed(s, err)
	case err != nil:
		l.broken(ch, i, s, err)
		return false
	case n < total:
		s.flags |= flagSending
	case s.pending > 0: // more pieces than one Send has room for: next pass
		l.again(ch, i, s)
	}
	return true
}

// again has the loop attend to a connection in its next pass, with s locked.
func (l *eventLoop) again(ch *chunk, i uint32, s *slot) {
	if s.flags&flagQueued == 0 {
		s.flags |= flagQueued
		l.attention.Push(ch.base + i)
	}
}

// finishing moves a connection towards its end when what was written is gone,
// with s locked. It reports true if it shut it; s is unlocked then.
func (l *eventLoop) finishing(ch *chunk, i uint32, s *slot, want request) bool {
	if s.state == stateOpen && s.flags&flagWriteBroken != 0 && s.flags&(flagPausedUser|flagPausedJobs) != 0 {
		l.shut(ch, i, s, false) // no last words can be received
		return true
	}
	if s.state == stateOpen && s.flags&(flagEOF|flagShutdown) != 0 && want&wantWake == 0 {
		a := ch.part(i)
		quiet, view := a == nil || a.jobs.count == 0, a.blocking() != nil
		switch {
		case s.flags&flagShutdown != 0 && (quiet || view): // a job may be waiting in the view for just that
			l.beginClose(ch, i, nil)
		case s.flags&flagEOF != 0 && quiet && l.routes[s.route].eof == nil && !view:
			cause := io.EOF
			if s.flags&flagTruncated != 0 {
				cause = ErrTruncated
			}
			l.beginClose(ch, i, cause)
		}
	}
	if s.pending > 0 || s.flags&flagSending != 0 {
		return false
	}
	if s.state == stateOpen && s.flags&(flagDetach|flagWriteBroken) == flagDetach {
		l.letGo(ch, i, s)
		return true
	}
	if s.state == stateOpen && s.flags&flagFinWanted != 0 && s.flags&flagEOF != 0 {
		l.beginClose(ch, i, nil)
	}
	if s.state == stateClosing && s.flags&(flagEOF|flagWriteBroken) != 0 && s.flags&(flagTLS|flagFinGone|flagWriteBroken) != flagTLS {
		l.shut(ch, i, s, false) // the peer gets our FIN from that, but no close_notify
		return true
	}
	if s.flags&(flagFinSent|flagWriteBroken) == 0 && (s.state == stateClosing || s.flags&flagFinWanted != 0) {
		s.flags |= flagFinSent
		l.stream(s).CloseWrite(driver.ID(ch.base + i))
	}
	if s.state == stateClosing && s.readEnd == 0 && s.flags&flagSlow == 0 {
		s.readEnd = l.deadline(finWait)
		s.want |= wantTimer
	}
	return false
}

// beginClose makes an open connection deliver what was written and then end,
// with s locked. Any goroutine may call it.
func (l *eventLoop) beginClose(ch *chunk, i uint32, cause error) {
	s, a := &ch.slots[i], ch.conn(i).act()
	a.end(cause)
	s.state = stateClosing
	a.lastEnd = math.MaxInt64
	if s.writeEnd != 0 && (s.pending > 0 || s.writeEnd > l.time()) {
		a.lastEnd = s.writeEnd
	}
	if s.pending > 0 {
		a.left = int(s.pending) + max(l.drv.Unsent(int(s.fd)), 0)
	}
	s.writeEnd = min(l.deadline(l.eng.cfg.LingerTimeout), a.lastEnd)
	s.readEnd = 0
	s.want |= wantTimer
}

// tellView lets those who are blocked in the connection's view, if it has one,
// know that it ends, after what was received before. They may be what OnClose
// waits for: offloaded jobs. s is locked, and unlocked meanwhile, because a
// view's lock comes first.
func (l *eventLoop) tellView(ch *chunk, i uint32, s *slot) {
	a := ch.part(i)
	view := a.blocking()
	if view == nil || s.flags&flagViewTold != 0 {
		return
	}
	s.flags |= flagViewTold
	cause := a.cause
	switch {
	case s.flags&flagEOF != 0:
		cause = io.EOF // whatever came after it, all was received
	case cause == nil:
		cause = ErrClosed
	}
	s.mu.Unlock()
	view.feed(&a.in)
	view.fail(cause)
	l.yield = true
	s.mu.Lock()
	a.in.Release()
	a.unread = a.in.Len()
}

// shut tells the driver to end the connection, with s locked; it unlocks.
func (l *eventLoop) shut(ch *chunk, i uint32, s *slot, abort bool) {
	l.tellView(ch, i, s)
	l.leaving(ch, i, s)
	if s.flags&flagFile != 0 {
		s.flags |= flagShutLate // settle does it when SendFile has returned
		s.mu.Unlock()
		return
	}
	below := l.stream(s)
	s.mu.Unlock()
	below.Shut(driver.ID(ch.base+i), abort)
}

// leaving notes that no method may use the descriptor from here on.
func (l *eventLoop) leaving(ch *chunk, i uint32, s *slot) {
	a := ch.conn(i).act()
	a.end(a.cause)         // so that it is not idle:
	l.keepOrFree(ch, i, s) // it stays until the connection is gone
	a.local = l.routes[s.route].local
	a.jobs.drop()
	s.state = stateShut
	l.deadlines.Clear(ch.base + i)
}

// applyPause tells the driver what the reasons for pausing amount to.
func (l *eventLoop) applyPause(ch *chunk, i uint32, s *slot) {
	reasons := flagPausedUser | flagPausedJobs | flagPausedView
	if ch.part(i).blocking() == nil {
		// Jobs under way are finished at a shutdown, new ones not begun. A
		// view's reads do not depend on its writes, as those of a net.Conn.
		reasons |= flagShutdown
		if s.flags&flagReadsOn == 0 {
			reasons |= flagHigh
		}
	}
	// What a closing connection still receives is thrown away: a peer that
	// waits for us to read before it reads itself would never be done.
	pause := s.state == stateOpen && s.flags&reasons != 0
	if pause == (s.flags&flagPaused != 0) {
		return
	}
	s.flags ^= flagPaused
	if pause {
		l.stream(s).Pause(driver.ID(ch.base + i))
	} else {
		l.stream(s).Resume(driver.ID(ch.base + i))
		if s.flags&flagReadIdle != 0 {
			s.active = l.now // bytes may have waited
		}
	}
}
