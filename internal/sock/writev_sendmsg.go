//go:build dragonfly || freebsd || netbsd

package sock

import "golang.org/x/sys/unix"

// vector has no state: the binding of sendmsg makes the kernel's form of the
// list itself.
type vector struct{}

// write writes what fits of at most piecesMax bufs.
func (vector) write(fd int, bufs [][]byte) (int, error) {
	for {
		n, err := unix.SendmsgBuffers(fd, bufs, nil, nil, 0)
		if err != unix.EINTR {
			return written(n, err)
		}
	}
}
