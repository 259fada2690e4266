//go:build netbsd || openbsd

package reactor

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// waker wakes a kqueue by a pipe: package unix knows no EVFILT_USER here.
type waker struct{ reader, writer int }

func newWaker(queue int) (waker, error) {
	var pipe [2]int
	if err := unix.Pipe2(pipe[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return waker{}, os.NewSyscallError("pipe2", err)
	}
	w := waker{pipe[0], pipe[1]}
	var change [1]unix.Kevent_t
	unix.SetKevent(&change[0], w.reader, unix.EVFILT_READ, unix.EV_ADD)
	if _, err := unix.Kevent(queue, change[:], nil, nil); err != nil {
		w.close()
		return waker{}, os.NewSyscallError("kevent", err)
	}
	return w, nil
}

// wake writes a byte. It could only fail on a full pipe, which wakes as well.
func (w waker) wake() { _, _ = unix.Write(w.writer, []byte{1}) }

// woke is true exactly when e is the wake. It takes the bytes out; if they
// are more than fit, the event comes again.
func (w waker) woke(e *unix.Kevent_t) bool {
	if int(e.Ident) != w.reader {
		return false
	}
	var bytes [256]byte
	_, _ = unix.Read(w.reader, bytes[:])
	return true
}

func (w waker) close() error {
	return errors.Join(
		os.NewSyscallError("close", unix.Close(w.reader)),
		os.NewSyscallError("close", unix.Close(w.writer)))
}
