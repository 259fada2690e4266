package sluice

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice/internal/wheel"
)

// SetDeadline is SetReadDeadline and SetWriteDeadline together.
func (c Conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, true, true)
}

// SetReadDeadline has the connection closed at t, with ErrReadTimeout; what
// was written is still sent. A later call moves or, with the zero Time,
// cancels the deadline: a handler sets it when it begins to wait for a message
// and cancels it when the message is whole.
func (c Conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(t, true, false)
}

// SetWriteDeadline has the connection aborted at t, with ErrWriteTimeout, if
// bytes wait to be sent then. If none do, writes fail from then on until the
// deadline is moved or, with the zero Time, cancelled.
func (c Conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(t, false, true)
}

func (c Conn) setDeadlines(t time.Time, read, write bool) error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	var at int64
	past := false
	if !t.IsZero() {
		left := time.Until(t)
		past = left <= 0
		at = max(1, c.ch.loop.deadline(left)) // 0 would mean none
	}
	if read {
		s.readEnd = at
	}
	if write {
		s.writeEnd = at
		s.flags &^= flagWriteLate
		if past {
			s.flags |= flagWriteLate
		}
	}
	s.want |= wantTimer
	c.notify(s)
	return nil
}

// SetIdleTimeout has the connection closed, with ErrIdleTimeout, when no byte
// came or left for d and no offloaded job was unfinished. 0 means never. It
// replaces Config.IdleTimeout, and it ends SetReadIdle, from when on it counts.
// To drop a peer that sends nothing, though it is sent something, move
// SetReadDeadline in OnData instead, or use SetReadIdle.
func (c Conn) SetIdleTimeout(d time.Duration) error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	if s.flags&flagReadIdle != 0 {
		s.flags &^= flagReadIdle
		s.active = c.ch.loop.time() // when bytes left last is not known
	}
	s.setIdle(d)
	c.notify(s)
	return nil
}

// setIdle sets what is idle to mean, with s locked.
func (s *slot) setIdle(d time.Duration) {
	s.idle = uint32(ms(min(max(d, 0), maxIdle)))
	s.want |= wantTimer
}

// errNoReadIdle is returned where OnReadIdle cannot be called.
var errNoReadIdle = errors.New("sluice: SetReadIdle needs a handler with the method OnReadIdle, a ReadIdleHandler")

// SetReadIdle has OnReadIdle called when no byte has been received for d from
// now on, and again after each further d without one, until the connection
// closes. What is sent does not count, nor do offloaded jobs. While reading is
// paused, by PauseRead or above the high-water mark, the peer may not be to blame
// for the silence; it is not called while too many offloaded jobs are why, and when
// reading resumes the time counts anew. With TLS a byte has been received when it
// has been decrypted.
//
// SetReadIdle takes the place of the idle timeout, SetIdleTimeout's as well as
// Config.IdleTimeout, since both are one clock: a silent peer is ended by nobody
// but the handler then. 0 ends it and leaves the connection without an idle timeout;
// where there is no SetReadIdle to end, it does nothing. SetIdleTimeout ends it, too.
// Each call begins to count anew, so OnReadIdle may set a shorter time in which an
// answer must come, and OnData the longer one again.
//
// d is rounded up to whole milliseconds; what is above 49 days counts as 49 days.
// The error is ErrClosed, or that the handler is no ReadIdleHandler; then nothing
// has changed.
func (c Conn) SetReadIdle(d time.Duration) error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	switch {
	case s.flags&flagReadIdler == 0:
		s.mu.Unlock()
		return errNoReadIdle
	case d > 0:
		s.flags |= flagReadIdle
	case s.flags&flagReadIdle != 0:
		s.flags &^= flagReadIdle
	default: // there may be an idle timeout, which is not meant
		s.mu.Unlock()
		return nil
	}
	s.active = c.ch.loop.time()
	s.setIdle(d)
	c.notify(s)
	return nil
}

// acted notes at loop time now that this side did something, with s locked: that
// it sent bytes, or that a job of it ended. To SetReadIdle it means nothing.
func (s *slot) acted(now int64) {
	if s.flags&flagReadIdle == 0 {
		s.active = now
	}
}

// Idle returns for how long no byte has come or left, in whole milliseconds; for
// a connection without any, the time since it was opened. It is 0 if the
// connection is closing. With SetReadIdle it is for how long no byte has come,
// counted from the last call of OnReadIdle or SetReadIdle or the end of a pause if that
// was later.
func (c Conn) Idle() time.Duration {
	s, err := c.lockOpen()
	if err != nil {
		return 0
	}
	defer s.mu.Unlock()
	return time.Duration(max(0, c.ch.loop.time()-s.active)) * time.Millisecond
}

// nextDeadline returns when the first of a connection's deadlines passes, in
// loop time, 0 if it has none. s is locked.
func (s *slot) nextDeadline() int64 {
	var at int64
	first := func(t int64) {
		if t != 0 && (at == 0 || t < at) {
			at = t
		}
	}
	first(s.readEnd)
	if s.state == stateOpen {
		if s.idle != 0 {
			// One more, since both clocks were rounded down.
			first(s.active + int64(s.idle) + 1)
		}
		if s.flags&flagWriteLate != 0 && s.pending == 0 {
			return at
		}
	}
	first(s.writeEnd)
	return at
}

// setDeadline puts the connection's next deadline into the wheel, with s
// locked. Bytes that come and go do not touch the wheel: an idle timeout is
// looked at again when it seems to have passed.
func (l *eventLoop) setDeadline(ch *chunk, i uint32, s *slot) {
	if at := s.nextDeadline(); at != 0 {
		l.deadlines.Set(ch.base+i, at)
	} else {
		l.deadlines.Clear(ch.base + i)
	}
}

// advance acts on the deadlines that have passed, on some of them in the next
// pass if there are very many.
func (l *eventLoop) advance() {
	l.deadlines.Advance(l.now, l.onDue)
	n := min(len(l.due), perPass)
	for _, id := range l.due[:n] {
		l.deadlineDue(id)
	}
	l.due = slices.Delete(l.due, 0, n)
}

// deadlineDue looks at a connection one of whose deadlines seems to have
// passed. Its slot may even serve another by now.
func (l *eventLoop) deadlineDue(id uint32) {
	ch, i := l.at(id)
	if ch == nil {
		return
	}
	s := &ch.slots[i]
	s.mu.Lock()
	switch s.state {
	case stateOpen:
		l.openDue(ch, i, s)
	case stateClosing:
		l.closingDue(ch, i, s)
	case stateDialing:
		l.dialingDue(ch, i, s)
	default:
		s.mu.Unlock()
	}
}

// dialingDue ends a connection whose TLS handshake takes too long, with s locked;
// it unlocks.
func (l *eventLoop) dialingDue(ch *chunk, i uint32, s *slot) {
	switch {
	case s.readEnd == 0:
		s.mu.Unlock()
	case s.readEnd > l.now:
		l.setDeadline(ch, i, s)
		s.mu.Unlock()
	default:
		if ch.part(i).failed() { // and the peer does not end it
			s.want |= wantAbort
		} else {
			ch.conn(i).markAborted(s, ErrHandshakeTimeout)
			l.handshakeFailed(ch.base+i, s, ErrHandshakeTimeout)
			s.mu.Lock()
		}
		l.settle(ch, i, s)
	}
}

// openDue acts on the deadlines of an open connection, with s locked.
func (l *eventLoop) openDue(ch *chunk, i uint32, s *slot) {
	due := func(at int64) bool { return at != 0 && at <= l.now }
	stuck := s.pending > 0
	if s.idle != 0 && ch.part(i).working() {
		s.acted(l.now) // the jobs under way will tell when they are done
	}
	if s.flags&flagReadIdle != 0 && s.flags&flagPausedJobs != 0 {
		s.active = l.now // nothing is read because of this side
	}
	idle := s.idle != 0 && due(s.active+int64(s.idle)+1)
	switch {
	case due(s.writeEnd) && s.flags&flagWriteBroken != 0:
		l.shut(ch, i, s, false) // the peer had its time for last words
		return
	case due(s.writeEnd) && stuck:
		ch.conn(i).markAborted(s, ErrWriteTimeout)
	case idle && s.flags&flagReadIdle == 0:
		if stuck { // no byte left for all that time
			ch.conn(i).markAborted(s, ErrIdleTimeout)
		} else {
			l.beginClose(ch, i, ErrIdleTimeout)
		}
	case due(s.readEnd):
		l.beginClose(ch, i, ErrReadTimeout)
	default:
		if due(s.writeEnd) {
			s.flags |= flagWriteLate
		}
		if idle {
			l.readIdle(ch, i, s)
		}
	}
	s.want |= wantTimer
	l.settle(ch, i, s)
}

// readIdle calls OnReadIdle and begins to count anew, with s locked, which is
// unlocked while the callback runs.
func (l *eventLoop) readIdle(ch *chunk, i uint32, s *slot) {
	s.active = l.now
	s.flags |= flagBusy
	l.mayRun(ch.part(i))
	s.mu.Unlock()
	l.callFunc("OnReadIdle", ch.conn(i), l.routes[s.route].readIdle.OnReadIdle)
	s.mu.Lock()
	s.flags &^= flagBusy
}

// closingDue ends a closing connection that need not or must not wait longer,
// with s locked.
func (l *eventLoop) closingDue(ch *chunk, i uint32, s *slot) {
	finDue, lingerDue := s.readEnd != 0 && s.readEnd <= l.now, s.writeEnd <= l.now
	if s.want&wantAbort == 0 && (finDue || lingerDue) {
		unsent := l.drv.Unsent(int(s.fd))
		if unsent < 0 && !lingerDue { // for all we know the peer is slow
			s.flags |= flagSlow
			s.readEnd = 0
			s.want |= wantTimer
			l.settle(ch, i, s)
			return
		}
		a, left := ch.part(i), int(s.pending)+max(unsent, 0)
		if left == 0 && s.flags&flagSending == 0 {
			l.shut(ch, i, s, false)
			return
		}
		if a.left == 0 || left < a.left { // the first look, or the peer goes on reading
			a.left = left
			s.writeEnd = min(l.deadline(l.eng.cfg.LingerTimeout), a.lastEnd)
		}
		switch {
		case s.writeEnd > l.now:
		case s.pending == 0 && a.lastEnd <= l.now: // the kernel may go on without us
			l.shut(ch, i, s, false)
			return
		default:
			a.cause = ErrLingerTimeout
			l.shut(ch, i, s, true)
			return
		}
		s.readEnd = l.deadline(finWait) // the peer reads slowly: ask again
	}
	s.want |= wantTimer
	l.settle(ch, i, s)
}

// Timer is a function that AfterFunc has a loop call later.
type Timer struct {
	c    Conn // zero if the timer is the loop's own
	fn   func(c Conn)
	at   int64
	over atomic.Bool // true exactly when fn was called or will not be

	id         uint32 // in timers; loop only, as are the links
	set        bool   // true exactly when the loop holds it
	prev, next *Timer // the others of its connection
}

// AfterFunc has the connection's loop call fn when d has passed, unless the
// timer is stopped or the connection has ended before. fn runs like a
// callback: never during another, and a panic in it costs the connection.
// Timers tick in milliseconds and never fire early.
func (c Conn) AfterFunc(d time.Duration, fn func(c Conn)) (*Timer, error) {
	if fn == nil {
		return nil, errNilFunc
	}
	s, err := c.lockOpen()
	if err != nil {
		return nil, err
	}
	s.mu.Unlock()
	l := c.ch.loop
	t := &Timer{c: c, fn: fn, at: l.deadline(max(d, 0))}
	l.do(func() { l.timers.add(t) })
	return t, nil
}

// Stop keeps the function from being called and reports whether it did: false
// means that it was called, is being called or that its connection has ended.
// Any goroutine may call it.
func (t *Timer) Stop() bool {
	if t.over.Swap(true) {
		return false
	}
	l := t.c.ch.loop
	l.do(func() { l.timers.drop(t) })
	return true
}

// timers are the timers of a loop.
type timers struct {
	wheel wheel.Wheel
	table []*Timer // by Timer.id
	free  []uint32
	due   []*Timer
	fire  func(id uint32) // appends to due; made once, so that a pass allocates nothing
}

// add sets a connection's timer, unless the connection has ended meanwhile.
func (ts *timers) add(t *Timer) {
	s, err := t.c.lockOpen()
	if err != nil {
		t.over.Store(true)
		return
	}
	defer s.mu.Unlock()
	if t.over.Load() {
		return
	}
	a := t.c.act()
	if t.next = a.timers; t.next != nil {
		t.next.prev = t
	}
	a.timers = t
	ts.set(t)
}

// after has the loop itself call fn when d has passed.
func (ts *timers) after(l *eventLoop, d time.Duration, fn func()) *Timer {
	t := &Timer{fn: func(Conn) { fn() }, at: l.deadline(d)}
	ts.set(t)
	return t
}

// set enters t into the wheel.
func (ts *timers) set(t *Timer) {
	if n := len(ts.free); n > 0 {
		t.id, ts.free = ts.free[n-1], ts.free[:n-1]
		ts.table[t.id] = t
	} else {
		t.id = uint32(len(ts.table))
		ts.table = append(ts.table, t)
	}
	t.set = true
	ts.wheel.Set(t.id, t.at)
}

// drop removes t, if it is set.
func (ts *timers) drop(t *Timer) {
	t.over.Store(true)
	if !t.set {
		return
	}
	t.set = false
	ts.wheel.Clear(t.id)
	ts.table[t.id] = nil
	ts.free = append(ts.free, t.id)
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else if t.c.ch != nil {
		t.c.refs().act.timers = t.next
	}
	t.prev, t.next = nil, nil
}

// advance calls the functions of the timers that are due.
func (ts *timers) advance(l *eventLoop) {
	ts.wheel.Advance(l.now, ts.fire)
	n := min(len(ts.due), perPass)
	for i, t := range ts.due[:n] {
		ts.due[i] = nil
		stopped := t.over.Swap(true)
		ts.drop(t)
		if !stopped {
			l.execute("AfterFunc", task{c: t.c, fn: t.fn})
		}
	}
	ts.due = slices.Delete(ts.due, 0, n)
}
