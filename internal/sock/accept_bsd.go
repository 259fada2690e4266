//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sock

import "golang.org/x/sys/unix"

// Acceptor accepts on one listening descriptor. What it accepts is
// non-blocking and has the listener's options: which of them a connection
// inherits differs from system to system, so they are set again.
type Acceptor struct {
	fd        int
	noDelay   bool
	keepAlive bool
	keepIdle  int // seconds
}

// NewAcceptor returns the Acceptor of listening descriptor fd.
func NewAcceptor(fd int) Acceptor {
	a := Acceptor{fd: fd}
	if isTCP(fd) {
		a.noDelay = has(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
		a.keepAlive = has(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		a.keepIdle = getKeepIdle(fd)
	}
	return a
}

func has(fd, level, option int) bool {
	value, err := unix.GetsockoptInt(fd, level, option)
	return err == nil && value != 0
}

// Accept takes the next connection. It returns the kernel's error as it is:
// unix.EAGAIN if nobody waits.
func (a Acceptor) Accept() (int, error) {
	fd, err := accept(a.fd)
	if err != nil {
		return -1, err
	}
	// A connection that is gone already refuses its options. That is not
	// an error of accepting: reading will tell.
	if a.noDelay {
		_ = setTCP(fd, "TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if a.keepAlive {
		_ = setKeepIdle(fd, a.keepIdle)
		_ = setTCP(fd, "SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	}
	return fd, nil
}
