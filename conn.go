package sluice

import (
	"fmt"
	"net"
	"os"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// Conn is a handle of a connection: a small value to be copied, compared and
// used as a key of a map, for as long as one likes. It holds no memory of the
// connection's buffers.
//
// Every method may be called from any goroutine at any time. Nothing here
// blocks, and no callback runs inside a method: writes are queued and sent by
// the loop, and the loop calls OnDrain or OnClose later.
//
// A connection is open until Close, Abort or what ends it otherwise. From then
// on it is closing: writes and most other methods return an error that matches
// net.ErrClosed. When OnClose has returned it has ended, and no method has any
// effect; in particular none reaches a later connection, even though that one
// may use the same descriptor and the same memory.
type Conn struct {
	ch  *chunk
	key uint64 // generation and, in the lowest slotBits, the slot's index
}

// slot returns the memory that c's connection has or had.
func (c Conn) slot() *slot { return &c.ch.slots[c.key&slotMask] }

// refs returns the pointers beside slot.
func (c Conn) refs() *refs { return &c.ch.refs[c.key&slotMask] }

// lockAny locks c's slot if its connection has not ended for good, which is
// when OnClose has returned.
func (c Conn) lockAny() (*slot, error) {
	if c.ch == nil {
		return nil, ErrClosed
	}
	s := c.slot()
	s.mu.Lock()
	if s.gen != c.key>>slotBits || s.state == stateFree {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	return s, nil
}

// lock locks c's slot if its descriptor may be used. With it held, the
// descriptor is not closed.
func (c Conn) lock() (*slot, error) {
	s, err := c.lockAny()
	if err == nil && (s.state == stateShut || s.state == stateDialing) {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	return s, err
}

// lockOpen locks c's slot if the connection has not begun to close.
func (c Conn) lockOpen() (*slot, error) {
	s, err := c.lock()
	if err == nil && s.state != stateOpen {
		s.mu.Unlock()
		return nil, ErrClosed
	}
	return s, err
}

// notify unlocks s and sees to it that the loop attends to the requests just
// made: at the end of the callback that runs now, if one does, otherwise in
// the loop's present or next pass.
func (c Conn) notify(s *slot) {
	if s.flags&(flagBusy|flagQueued) != 0 {
		s.mu.Unlock()
		return
	}
	s.flags |= flagQueued
	s.mu.Unlock()
	l := c.ch.loop
	l.attention.Push(c.ch.base + uint32(c.key&slotMask))
	l.wake()
}

// Close ends the connection in order: what was written before is still sent,
// as long as the peer takes some of it within Config.LingerTimeout, and then the descriptor is closed and
// OnClose called with nil. Writes after Close fail, and OnData is not called
// any more.
func (c Conn) Close() error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	c.ch.loop.beginClose(c.ch, uint32(c.key&slotMask), nil)
	c.notify(s)
	return nil
}

// Abort ends the connection at once: what waits to be sent is thrown away and
// the peer sees a reset. OnClose is called with ErrAborted. It may follow a
// Close that takes too long.
func (c Conn) Abort() error { return c.abort(ErrAborted) }

func (c Conn) abort(cause error) error {
	s, err := c.lock()
	if err != nil {
		return err
	}
	c.abortLocked(s, cause)
	return nil
}

// abortLocked has the loop end the connection now. It unlocks s.
func (c Conn) abortLocked(s *slot, cause error) {
	c.markAborted(s, cause)
	c.notify(s)
}

// markAborted makes the next settle end the connection, with s locked. What an
// orderly end that was under way would have given as its cause is void.
func (c Conn) markAborted(s *slot, cause error) {
	a := c.act()
	a.ended = a.ended && (s.want&wantAbort != 0 || s.flags&flagWriteBroken != 0)
	a.end(cause)
	if s.state == stateOpen {
		s.state = stateClosing // no more writes, no more callbacks but OnClose
	}
	s.want |= wantAbort
}

// CloseWrite ends this side's direction once what was written has been sent:
// the peer reads the end of the stream, and this side may go on receiving.
// When the peer has ended its direction, too, the connection closes.
func (c Conn) CloseWrite() error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	s.flags |= flagFinWanted
	c.notify(s)
	return nil
}

// PauseRead stops OnData and lets the bytes that arrive wait in the kernel,
// whose window then holds the peer back. A paused connection does not notice
// the peer's end or reset, either; an idle timeout bounds that. Called outside the connection's callbacks, it takes
// effect with the loop's next pass: an OnData may still come.
func (c Conn) PauseRead() error { return c.pause(flagPausedUser, true) }

// ResumeRead ends PauseRead. It does not end the pause that the high-water
// mark caused.
func (c Conn) ResumeRead() error { return c.pause(flagPausedUser, false) }

func (c Conn) pause(reason connFlags, on bool) error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	if s.flags&reason != 0 == on {
		s.mu.Unlock()
		return nil
	}
	s.flags ^= reason
	c.notify(s)
	return nil
}

// Wake has the loop call OnData with what is unread, even if that is nothing.
// Several calls before the loop comes to it make one.
func (c Conn) Wake() error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	s.want |= wantWake
	c.notify(s)
	return nil
}

// Execute has the connection's loop call fn, after the functions given before
// and never during a callback, also while the connection closes. If it has
// ended by then, fn is not called. A panic in fn costs the connection, as one in a callback does.
func (c Conn) Execute(fn func(c Conn)) error {
	if fn == nil {
		return errNilFunc
	}
	s, err := c.lock()
	if err != nil {
		return err
	}
	s.mu.Unlock()
	l := c.ch.loop
	l.tasks.Push(task{c: c, fn: fn})
	l.wake()
	return nil
}

// SetContext attaches v to the connection, for Context to return.
func (c Conn) SetContext(v any) {
	if s, err := c.lockAny(); err == nil {
		c.refs().ctx = v
		s.mu.Unlock()
	}
}

// Context returns what SetContext attached, nil if nothing was or the
// connection has ended. It works in OnClose.
func (c Conn) Context() any {
	s, err := c.lockAny()
	if err != nil {
		return nil
	}
	defer s.mu.Unlock()
	return c.refs().ctx
}

// LocalAddr returns this side's address. When the descriptor is closed it is
// the address of the listener, and where that is not known either an address
// whose String is "unknown"; it is never nil.
func (c Conn) LocalAddr() net.Addr {
	s, err := c.lockAny()
	if err != nil {
		return unknownAddr{}
	}
	defer s.mu.Unlock()
	var a net.Addr
	if s.state != stateShut {
		a = c.ch.loop.drv.LocalAddr(int(s.fd))
	} else {
		a = c.act().local
	}
	if a == nil {
		a = unknownAddr{}
	}
	return a
}

// RemoteAddr returns the peer's address. It works in OnClose, too; after that
// it is an address whose String is "unknown", never nil.
func (c Conn) RemoteAddr() net.Addr {
	s, err := c.lockAny()
	if err != nil {
		return unknownAddr{}
	}
	defer s.mu.Unlock()
	if s.state == stateOpen || s.state == stateClosing {
		if a := c.ch.loop.drv.RemoteAddr(int(s.fd)); a != nil {
			return a
		}
	}
	return c.ch.peers[c.key&slotMask].netAddr()
}

// SetNoDelay switches TCP_NODELAY, which is on from the beginning. On a Unix
// socket it does nothing.
func (c Conn) SetNoDelay(on bool) error {
	s, err := c.lock()
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	return c.ch.loop.drv.SetNoDelay(int(s.fd), on)
}

// SetKeepAlive sets the idle time after which TCP probes the peer, in whole
// seconds; 0 switches probing off. On a Unix socket it does nothing.
func (c Conn) SetKeepAlive(idle time.Duration) error {
	if idle < 0 {
		return fmt.Errorf("sluice: keep-alive idle time is %v; it must not be negative", idle)
	}
	s, err := c.lock()
	if err != nil {
		return err
	}
	defer s.mu.Unlock()
	return c.ch.loop.drv.SetKeepAlive(int(s.fd), idle)
}

// Loop returns the index of the connection's loop in Stats.Loops. It does not
// change.
func (c Conn) Loop() int {
	if c.ch == nil {
		return -1
	}
	return c.ch.loop.index
}

// IsOpen reports whether the connection has not begun to close.
func (c Conn) IsOpen() bool {
	s, err := c.lockOpen()
	if err == nil {
		s.mu.Unlock()
	}
	return err == nil
}

// active is the part of a connection's state that it has only while there is
// something to keep: bytes, jobs, timers. It comes from a pool and goes back
// there, so that an idle connection consists of its slot alone.
type active struct {
	in     buffer.LinkBuffer // loop only: what the handler left unread
	timers *Timer            // loop only: AfterFunc's, a list
	dial   *dialing          // loop only

	// Guarded by slot.mu.
	out     buffer.LinkBuffer // what waits to be sent
	unread  int               // in.Len(), for those who may not look
	direct  int               // bytes that Write sent at once in this callback
	cause   error             // what OnClose will be given
	ended   bool              // true exactly when cause was set
	left    int               // closing: bytes that the peer had not taken when last looked at, 0 before
	lastEnd int64             // closing: the write deadline, which progress does not put off
	local   net.Addr          // the listener's, once the descriptor is closed
	marks   *waterMarks       // nil means the engine's
	jobs    jobs
	view    *netConn
	detach  func(*os.File, []byte, error)
	lost    error // why there is nothing to hand out although detaching had begun
}

// act returns c's active part, with slot.mu held, and gives it one if there
// is none.
func (c Conn) act() *active {
	if a := c.part(); a != nil {
		return a
	}
	s, l := c.slot(), c.ch.loop
	if s.flags&flagBusy != 0 {
		s.flags |= flagSpare
		return l.spare
	}
	s.flags |= flagActive
	a := newActive(l)
	c.refs().act = a
	return a
}

// part returns c's active part, with slot.mu held, or nil if it has none.
func (c Conn) part() *active { return c.ch.part(uint32(c.key & slotMask)) }

// part returns the active part of slot i's connection, with its mu held, or
// nil if it has none.
func (ch *chunk) part(i uint32) *active {
	switch flags := ch.slots[i].flags; {
	case flags&flagSpare != 0:
		return ch.loop.spare
	case flags&flagActive != 0:
		return ch.refs[i].act
	}
	return nil
}

// keepOrFree looks whether the connection still needs its active part when
// settle is done with it, with s locked. It mostly does not: what a callback
// wrote has left. So a callback works with the loop's spare one, which stays
// with the connection only if something stays in it.
func (l *eventLoop) keepOrFree(ch *chunk, i uint32, s *slot) {
	a := ch.part(i)
	if a != nil {
		a.direct = 0
	}
	switch {
	case a == nil:
	case s.flags&flagSpare != 0:
		s.flags &^= flagSpare
		if !a.idle() {
			s.flags |= flagActive
			ch.refs[i].act, l.spare = a, newActive(l)
		}
	case a.idle():
		s.flags &^= flagActive
		ch.refs[i].act = nil
		l.actives.Put(a)
	}
}

func newActive(l *eventLoop) *active {
	a := l.actives.Get().(*active)
	a.in.SetPool(&l.pool)
	a.out.SetPool(&l.pool)
	return a
}

// working reports whether offloaded jobs are unfinished that may answer. One
// that sits in the blocking view may be waiting for the peer like anyone.
func (a *active) working() bool { return a != nil && a.jobs.count > 0 && a.view == nil }

// idle reports whether the connection can do without a.
func (a *active) idle() bool {
	return a.out.Len() == 0 && a.unread == 0 && a.timers == nil && !a.ended && a.marks == nil &&
		a.view == nil && a.detach == nil && a.dial == nil && a.jobs.count == 0
}

// failed reports whether the connection has a reason to end already.
func (a *active) failed() bool { return a != nil && a.ended }

// recycle gives a back for the next connection that needs one.
func (a *active) recycle(l *eventLoop) {
	a.in.Close()
	a.out.Close()
	a.timers, a.dial, a.unread, a.cause, a.ended, a.local = nil, nil, 0, nil, false, nil
	a.marks, a.view, a.detach, a.lost, a.left, a.lastEnd, a.direct = nil, nil, nil, nil, 0, 0, 0
	l.actives.Put(a)
}

// blocking returns the connection's blocking view, if a is one's that has it.
func (a *active) blocking() *netConn {
	if a == nil {
		return nil
	}
	return a.view
}

// end notes why the connection ends; the first cause counts.
func (a *active) end(cause error) {
	if !a.ended {
		a.ended, a.cause = true, cause
	}
}
