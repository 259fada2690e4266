package sock

import "golang.org/x/sys/unix"

// Unsent returns how many bytes were sent on fd that the peer's kernel has not
// acknowledged. It returns 0 for a Unix socket, whose bytes are the peer's at
// once.
func (Sockets) Unsent(fd int) int {
	n, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_NWRITE)
	if err != nil {
		return 0
	}
	return n
}
