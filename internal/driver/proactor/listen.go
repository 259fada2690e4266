//go:build linux

package proactor

import (
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
	"github.com/sluice-go/sluice/internal/uring"
)

// listener is a descriptor that connections are accepted on.
type listener struct {
	fd        int
	local     bool  // true exactly when its connections are
	listening bool  // true exactly when Accepted may follow
	armed     bool  // true exactly when the kernel will report
	waiting   []int // accepted and not reported
}

// Listen implements driver.Driver.
func (d *proactor) Listen(l driver.ID, fd int) error {
	d.run()
	if n := int(l) + 1 - len(d.listeners); n > 0 {
		d.listeners = append(d.listeners, make([]listener, n)...)
	}
	ln := &d.listeners[l]
	if ln.listening {
		panic("proactor: Listen under a name that is listening")
	}
	*ln = listener{fd: fd, local: sock.Local(fd), listening: true, waiting: d.system.take(fd)}
	if len(ln.waiting) > 0 {
		d.arrivals = append(d.arrivals, l)
	}
	d.accept(l, ln)
	return nil
}

// accept begins to accept.
func (d *proactor) accept(l driver.ID, ln *listener) {
	d.ring.Accept(ln.fd, userData(accepting, 0, l))
	ln.armed = true
	d.underWay++
}

// arrive reports the connections that waited for a Listen.
func (d *proactor) arrive() {
	arrivals := d.arrivals
	d.arrivals = nil
	for _, l := range arrivals {
		for len(d.listeners[l].waiting) > 0 {
			ln := &d.listeners[l]
			fd := ln.waiting[0]
			ln.waiting = ln.waiting[1:]
			d.pass(l, ln, fd)
		}
	}
}

// pass passes on a connection that was accepted.
func (d *proactor) pass(l driver.ID, ln *listener, fd int) {
	if !ln.local {
		d.arriving = fd
	}
	d.events.Accepted(l, fd, nil)
	d.arriving = -1
}

// Unlisten implements driver.Driver. It waits until the kernel has let go of
// the descriptor, which otherwise would go on listening when it is closed.
func (d *proactor) Unlisten(l driver.ID) {
	if int(l) >= len(d.listeners) || !d.listeners[l].listening {
		return
	}
	ln := &d.listeners[l]
	if ln.armed {
		if err := d.unaccept(l, ln); err != nil {
			d.fail(err)
		}
	}
	d.system.keep(ln.fd, ln.waiting)
	*ln = listener{}
}

// unaccept ends accepting. Who was accepted meanwhile waits.
func (d *proactor) unaccept(l driver.ID, ln *listener) error {
	target := userData(accepting, 0, l)
	d.ring.Cancel(target, userData(cancelling, 0, 0))
	err := d.finishNow(target, func(r int32) {
		if r >= 0 {
			ln.waiting = append(ln.waiting, int(r))
		}
	})
	if err == nil {
		d.underWay--
	}
	return err
}

// finishNow waits until the operation of target, which does not depend on any
// peer, has ended, and calls f with its results. What else is reported meanwhile is
// for the next Poll, or the present one.
func (d *proactor) finishNow(target uint64, f func(result int32)) error {
	ended := false
	take := func(c uring.Completion) bool {
		if c.UserData != target {
			return false
		}
		f(c.Result)
		ended = !c.More()
		return true
	}
	d.backlog, d.taken = slices.DeleteFunc(d.backlog[d.taken:], take), 0
	for !ended {
		if err := d.ring.Enter(0); err != nil {
			return err
		}
		for c, ok := d.ring.Next(); ok; c, ok = d.ring.Next() {
			if !take(c) {
				d.backlog = append(d.backlog, c)
			}
		}
		if !ended {
			runtime.Gosched() // the kernel needs memory, or another processor
		}
	}
	return nil
}

// accepted takes what the kernel says of accepting.
func (d *proactor) accepted(l driver.ID, r *uring.Completion) {
	ln := &d.listeners[l]
	if !r.More() {
		ln.armed = false
		d.underWay--
	}
	switch err := r.Err(); err {
	case nil:
		d.pass(l, ln, int(r.Result))
	case unix.EINTR, unix.EAGAIN, unix.ECONNABORTED, unix.EPROTO:
		// A signal, or a peer that did not wait.
	default:
		err = sock.AcceptError(ln.fd, err)
		d.system.keep(ln.fd, ln.waiting)
		*ln = listener{}
		d.events.Accepted(l, -1, err)
		return
	}
	if ln = &d.listeners[l]; ln.listening && !ln.armed {
		d.accept(l, ln)
	}
}
