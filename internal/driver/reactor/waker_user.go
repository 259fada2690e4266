//go:build darwin || dragonfly || freebsd

package reactor

import (
	"os"

	"golang.org/x/sys/unix"
)

// waker wakes a kqueue by EVFILT_USER, an event that has no descriptor.
type waker struct{ queue int }

func newWaker(queue int) (waker, error) {
	w := waker{queue}
	return w, w.change(unix.EV_ADD|unix.EV_CLEAR, 0)
}

func (w waker) change(flags int, fflags uint32) error {
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], 0, unix.EVFILT_USER, flags)
	change[0].Fflags = fflags
	_, err := unix.Kevent(w.queue, change[:], nil, nil)
	return os.NewSyscallError("kevent", err)
}

// wake makes the event fire. It could only fail if the event were not there.
func (w waker) wake() { _ = w.change(0, unix.NOTE_TRIGGER) }

// woke is true exactly when e is the wake.
func (w waker) woke(e *unix.Kevent_t) bool { return int64(e.Filter) == unix.EVFILT_USER }

func (w waker) close() error { return nil }
