package sim

import (
	"net"
	"os"
	"sync"
	"time"
)

// waiter is where goroutines wait for a Peer, and until when.
type waiter struct {
	cond        sync.Cond
	read, write bound
}

// bound is a deadline; the zero value is none.
type bound struct {
	at    time.Time
	timer *time.Timer // wakes the waiting when it has passed
}

func (b *bound) passed() bool { return !b.at.IsZero() && !time.Now().Before(b.at) }

// set moves the deadline to at. One that has passed already wakes the waiting
// just so, by its timer.
func (b *bound) set(at time.Time, w *waiter) {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
	b.at = at
	if !at.IsZero() {
		b.timer = time.AfterFunc(time.Until(at), func() {
			w.cond.L.Lock()
			defer w.cond.L.Unlock()
			w.cond.Broadcast()
		})
	}
}

// end sends all that wait home and stops the timers.
func (w *waiter) end() {
	w.read.set(time.Time{}, w)
	w.write.set(time.Time{}, w)
	w.cond.Broadcast()
}

// waiter returns the waiter of e, which stays with it until it is closed.
func (n *Network) waiter(e *end) *waiter {
	x := n.ends.busy(e)
	if x.wait == nil {
		x.wait = &waiter{}
		x.wait.cond.L = &n.mu
	}
	return x.wait
}

// Read waits until bytes have arrived, or the end of the stream, a reset or
// the read deadline.
func (p *Peer) Read(b []byte) (int, error) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		e := p.end()
		if e != nil && n.expired(e, readSide) {
			return 0, os.ErrDeadlineExceeded
		}
		if k, err := p.tryRead(b); k > 0 || err != nil || len(b) == 0 {
			return k, err
		}
		if !n.live {
			return 0, ErrWouldBlock
		}
		n.waiter(e).cond.Wait()
	}
}

// Write waits until all of b has been taken, or the write deadline. As with
// TCP the first bytes to an end that is gone are lost without an error.
func (p *Peer) Write(b []byte) (int, error) {
	n := p.net
	n.mu.Lock()
	defer n.mu.Unlock()
	for done := 0; ; {
		e := p.end()
		if e != nil && n.expired(e, writeSide) {
			return done, os.ErrDeadlineExceeded
		}
		k, err := p.tryWrite(b[done:])
		done += k
		if err != nil || done == len(b) {
			return done, err
		}
		if !n.live {
			return done, ErrWouldBlock
		}
		n.waiter(e).cond.Wait()
	}
}

// side selects deadlines.
type side uint8

const (
	readSide side = 1 << iota
	writeSide
)

// expired is true exactly when a deadline of e for side s has passed.
func (n *Network) expired(e *end, s side) bool {
	w := n.ends.peek(e).wait
	return w != nil && (s == readSide && w.read.passed() || s == writeSide && w.write.passed())
}

// SetDeadline sets both deadlines. In stepped mode there are none, and the
// error is os.ErrNoDeadline.
func (p *Peer) SetDeadline(t time.Time) error { return p.setDeadline(t, readSide|writeSide) }

// SetReadDeadline bounds Read; see SetDeadline.
func (p *Peer) SetReadDeadline(t time.Time) error { return p.setDeadline(t, readSide) }

// SetWriteDeadline bounds Write; see SetDeadline.
func (p *Peer) SetWriteDeadline(t time.Time) error { return p.setDeadline(t, writeSide) }

func (p *Peer) setDeadline(t time.Time, s side) error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	e := p.end()
	if e == nil {
		return net.ErrClosed
	}
	if !p.net.live {
		return os.ErrNoDeadline
	}
	w := p.net.waiter(e)
	if s&readSide != 0 {
		w.read.set(t, w)
	}
	if s&writeSide != 0 {
		w.write.set(t, w)
	}
	return nil
}
