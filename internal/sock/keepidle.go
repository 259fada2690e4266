//go:build darwin || dragonfly || freebsd || linux || netbsd

package sock

import "golang.org/x/sys/unix"

// setKeepIdle sets how long TCP waits before its first keep-alive probe.
func setKeepIdle(fd, seconds int) error {
	return setTCP(fd, "TCP_KEEPIDLE", unix.IPPROTO_TCP, keepIdle, seconds)
}
