//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// Local is of use on Linux alone, where epoll reports edges.
func Local(int) bool { return false }
