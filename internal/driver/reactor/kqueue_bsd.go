//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package reactor

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

// Kqueue returns the driver over kqueue(2).
func Kqueue() driver.System {
	return &system{name: "kqueue", newPoller: func() (poller, error) { return newKqueue() }}
}

// waitMax bounds one kevent(2): some systems refuse times of years.
const waitMax = time.Hour

// kernel is this system's kqueue(2).
type kernel struct {
	fd      int
	waker   waker
	changes []unix.Kevent_t
	events  []unix.Kevent_t
	timeout unix.Timespec
}

func newKqueue() (*kqueue, error) {
	fd, err := unix.Kqueue()
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	unix.CloseOnExec(fd) // a child inherits no kqueue anyway
	waker, err := newWaker(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	k := &kernel{fd: fd, waker: waker}
	return &kqueue{kevent: k.kevent, trigger: waker.wake, free: k.close}, nil
}

func (k *kernel) kevent(changes, events []kevent, wait time.Duration) (int, error) {
	if len(changes) > 0 {
		return 0, k.change(changes)
	}
	if len(k.events) < len(events) {
		k.events = make([]unix.Kevent_t, len(events))
	}
	var timeout *unix.Timespec // for ever
	if wait >= 0 {
		k.timeout = unix.NsecToTimespec(min(wait, waitMax).Nanoseconds())
		timeout = &k.timeout
	}
	n, err := unix.Kevent(k.fd, nil, k.events[:len(events)], timeout)
	if err != nil {
		return 0, os.NewSyscallError("kevent", err)
	}
	for i := range k.events[:n] {
		e := &k.events[i]
		switch {
		case k.waker.woke(e):
			events[i] = kevent{filter: filterUser}
		case int64(e.Filter) == unix.EVFILT_READ:
			events[i] = kevent{fd: int(e.Ident), filter: filterRead}
		default:
			events[i] = kevent{fd: int(e.Ident), filter: filterWrite}
		}
	}
	return n, nil
}

func (k *kernel) change(changes []kevent) error {
	k.changes = k.changes[:0]
	for _, c := range changes {
		mode, flags := unix.EVFILT_READ, unix.EV_ADD
		if c.filter == filterWrite {
			mode = unix.EVFILT_WRITE
		}
		if c.remove {
			flags = unix.EV_DELETE
		}
		var e unix.Kevent_t
		unix.SetKevent(&e, c.fd, mode, flags)
		k.changes = append(k.changes, e)
	}
	_, err := unix.Kevent(k.fd, k.changes, nil, nil)
	if err == unix.EINTR {
		return nil // the changes are made before a signal is looked for
	}
	return os.NewSyscallError("kevent", err)
}

func (k *kernel) close() error {
	return errors.Join(k.waker.close(), os.NewSyscallError("close", unix.Close(k.fd)))
}
