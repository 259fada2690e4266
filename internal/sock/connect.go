//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sock

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Connect begins connecting a new non-blocking socket to addr, a *net.TCPAddr
// or *net.UnixAddr. When the socket becomes writable, Connected tells the
// outcome.
func Connect(addr net.Addr) (fd int, err error) {
	sa, family, err := sockaddr(addr)
	if err != nil {
		return -1, dialError(addr, err)
	}
	fd, err = stream(family)
	if err != nil {
		return -1, dialError(addr, os.NewSyscallError("socket", err))
	}
	switch err = unix.Connect(fd, sa); err {
	case nil, unix.EINPROGRESS, unix.EINTR:
		// After an interruption the attempt goes on by itself.
		return fd, nil
	}
	unix.Close(fd)
	return -1, dialError(addr, os.NewSyscallError("connect", err))
}

// Connected returns the outcome of Connect to addr once fd is writable: nil
// or the reason why there is no connection. It does not close fd.
func Connected(fd int, addr net.Addr) error {
	code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil {
		return dialError(addr, os.NewSyscallError("getsockopt SO_ERROR", err))
	}
	if code != 0 {
		return dialError(addr, os.NewSyscallError("connect", unix.Errno(code)))
	}
	// TCP connects a socket to itself when the port that nobody listens on
	// happens to be the one it was given for its own.
	if addr, ok := addr.(*net.TCPAddr); ok {
		local, ok := Sockets{}.LocalAddr(fd).(*net.TCPAddr)
		if ok && local.Port == addr.Port && local.IP.Equal(remoteIP(fd)) {
			return dialError(addr, os.NewSyscallError("connect", unix.ECONNREFUSED))
		}
	}
	return nil
}

func remoteIP(fd int) net.IP {
	if remote, ok := (Sockets{}).RemoteAddr(fd).(*net.TCPAddr); ok {
		return remote.IP
	}
	return nil
}

func dialError(addr net.Addr, err error) error {
	network := ""
	if addr != nil {
		network = addr.Network()
	}
	return &net.OpError{Op: "dial", Net: network, Addr: addr, Err: err}
}

// AcceptError says on which listener accepting failed.
func AcceptError(fd int, err error) error {
	network := ""
	addr := Sockets{}.LocalAddr(fd)
	if addr != nil {
		network = addr.Network()
	}
	return &net.OpError{Op: "accept", Net: network, Source: addr, Err: os.NewSyscallError("accept", err)}
}

// Close closes fd. With abort, a TCP peer sees a reset and what was not yet
// delivered is dropped; Unix sockets know no reset.
func Close(fd int, abort bool) error {
	if abort {
		// It can only fail on what is no socket, and close will say so.
		_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	if err := unix.Close(fd); err != nil && err != unix.EINTR {
		return os.NewSyscallError("close", err)
	}
	return nil
}
