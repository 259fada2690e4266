//go:build dragonfly || freebsd || linux || netbsd || openbsd

package sock

import "golang.org/x/sys/unix"

// stream makes a stream socket, non-blocking and closed on exec.
func stream(family int) (int, error) {
	return unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
}
