package sock

import "golang.org/x/sys/unix"

// Acceptor accepts on one listening descriptor. What it accepts is
// non-blocking and has the listener's options, which Linux hands on.
type Acceptor struct{ fd int }

// NewAcceptor returns the Acceptor of listening descriptor fd.
func NewAcceptor(fd int) Acceptor { return Acceptor{fd} }

// Accept takes the next connection. It returns the kernel's error as it is:
// unix.EAGAIN if nobody waits.
func (a Acceptor) Accept() (int, error) {
	// The peer's address is not asked for: it can be had later.
	fd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(a.fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
