package sock

import "golang.org/x/sys/unix"

// Unsent returns how many bytes were sent on fd that the peer's kernel has not
// acknowledged or, of a Unix socket, how much memory those take that the peer
// has not read. The end of the stream counts as one byte until it is
// acknowledged. After a reset the number stays as it is.
func (Sockets) Unsent(fd int) int {
	n, err := unix.IoctlGetUint32(fd, unix.SIOCOUTQ)
	if err != nil {
		return 0
	}
	return int(n)
}
