//go:build dragonfly || freebsd || netbsd || openbsd

package sock

import "syscall"

// accept takes the next connection, non-blocking and closed on exec.
func accept(listener int) (int, error) {
	fd, _, err := syscall.Accept4(listener, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
	return fd, err
}
