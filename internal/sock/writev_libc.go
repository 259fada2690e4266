//go:build darwin || openbsd

package sock

import "golang.org/x/sys/unix"

// vector has no state: these systems are reached through their C library,
// and its binding makes the kernel's form of the list itself.
type vector struct{}

// write writes what fits of at most piecesMax bufs.
func (vector) write(fd int, bufs [][]byte) (int, error) {
	for {
		n, err := unix.Writev(fd, bufs)
		if err != unix.EINTR {
			return written(n, err)
		}
	}
}
