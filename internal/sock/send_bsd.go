//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sock

import "golang.org/x/sys/unix"

// send writes p to a socket.
func send(fd int, p []byte) (int, error) { return unix.Write(fd, p) }
