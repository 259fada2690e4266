//go:build dragonfly || freebsd || netbsd || openbsd

package sock

// Unsent returns 0: the BSDs have no common way to ask.
func (Sockets) Unsent(fd int) int { return 0 }
