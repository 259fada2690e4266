//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
)

// listener is a descriptor that connections are accepted on.
type listener struct {
	acceptor   sock.Acceptor
	fd         int
	local      bool   // true exactly when its connections are
	generation uint32 // as conn's
	ended      uint32 // as conn's
	listening  bool   // true exactly when Accepted may follow
}

// Listen implements driver.Driver.
func (r *reactor) Listen(l driver.ID, fd int) error {
	if n := int(l) + 1 - len(r.listeners); n > 0 {
		r.listeners = append(r.listeners, make([]listener, n)...)
	}
	ln := &r.listeners[l]
	if ln.listening {
		panic("reactor: Listen under a name that is listening")
	}
	if err := r.poller.add(fd, newToken(uint32(l), ln.generation)|listenerBit, readable); err != nil {
		return err
	}
	ln.acceptor, ln.fd, ln.local, ln.listening = sock.NewAcceptor(fd), fd, sock.Local(fd), true
	return nil
}

// Unlisten implements driver.Driver.
func (r *reactor) Unlisten(l driver.ID) {
	if int(l) >= len(r.listeners) || !r.listeners[l].listening {
		return
	}
	ln := &r.listeners[l]
	if err := r.poller.remove(ln.fd, readable); err != nil {
		r.fail(err)
	}
	ln.listening = false
	ln.generation = (ln.generation + 1) & generationMask
	ln.ended = r.batches
}

// acceptable accepts who waits at listener l.
func (r *reactor) acceptable(l driver.ID, generation uint32) {
	if ln := &r.listeners[l]; ln.generation != generation {
		r.stale("listener", l, ln.ended)
		return
	}
	for range acceptMax {
		ln := &r.listeners[l]
		if ln.generation != generation {
			return // Unlisten was called from Accepted
		}
		fd, err := ln.acceptor.Accept()
		switch err {
		case nil:
			if !ln.local {
				r.arriving = fd
			}
			r.events.Accepted(l, fd, nil)
			r.arriving = -1
		case unix.EAGAIN:
			return
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO:
			// A signal, or a peer that did not wait.
		default:
			err = sock.AcceptError(ln.fd, err)
			r.Unlisten(l)
			r.events.Accepted(l, -1, err)
			return
		}
	}
}
