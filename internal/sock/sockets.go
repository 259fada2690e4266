//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sock

import (
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Sockets is driver.Sockets over real descriptors.
type Sockets struct{}

// TryWrite writes what fits into the socket's buffer and never blocks. It
// returns 0, nil if nothing fits.
func (Sockets) TryWrite(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n, err := Write(fd, p)
	return n, os.NewSyscallError("write", err)
}

// LocalAddr returns the address of this end, or nil if there is none.
func (Sockets) LocalAddr(fd int) net.Addr {
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		return nil
	}
	return address(sa)
}

// RemoteAddr returns the address of the other end, or nil if there is none
// any more.
func (Sockets) RemoteAddr(fd int) net.Addr {
	sa, err := syscall.Getpeername(fd)
	if err != nil {
		return nil
	}
	return address(sa)
}

// SetNoDelay switches Nagle's algorithm off (true) or on. It does nothing to
// a socket that is not TCP.
func (Sockets) SetNoDelay(fd int, on bool) error {
	return setTCP(fd, "TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, number(on))
}

// SetKeepAlive lets TCP probe a connection that was idle for so long, rounded
// up to seconds; 0 switches that off. It does nothing to a socket that is not
// TCP.
func (Sockets) SetKeepAlive(fd int, idle time.Duration) error {
	if idle > 0 {
		if err := setKeepIdle(fd, int((idle+time.Second-1)/time.Second)); err != nil {
			return err
		}
	}
	return setTCP(fd, "SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, number(idle > 0))
}

// setTCP sets an option that only TCP has. How other sockets refuse it
// differs from system to system, so the socket itself is asked.
func setTCP(fd int, name string, level, option, value int) error {
	err := unix.SetsockoptInt(fd, level, option, value)
	if err != nil && isTCP(fd) {
		return os.NewSyscallError("setsockopt "+name, err)
	}
	return nil
}

// isTCP is true exactly when the stream socket fd is TCP. What is not even a
// socket counts as such, so that errors about it are not lost.
func isTCP(fd int) bool {
	sa, err := syscall.Getsockname(fd)
	_, unixDomain := sa.(*syscall.SockaddrUnix)
	return err != nil || !unixDomain
}

func number(on bool) int {
	if on {
		return 1
	}
	return 0
}
