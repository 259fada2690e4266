//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package portable

import (
	"net"
	"syscall"

	"github.com/sluice-go/sluice/internal/sock"
)

// unsent asks the descriptor that package net lends.
func unsent(c net.Conn) (n int) {
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0
	}
	// An error means that the connection is closed: nothing is under way.
	_ = raw.Control(func(fd uintptr) { n = sock.Sockets{}.Unsent(int(fd)) })
	return n
}
