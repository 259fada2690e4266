//go:build darwin || dragonfly || freebsd || netbsd

package sock

import "golang.org/x/sys/unix"

// getKeepIdle is the inverse of setKeepIdle; 0 if the system does not tell.
func getKeepIdle(fd int) int {
	seconds, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, keepIdle)
	if err != nil {
		return 0
	}
	return seconds
}
