package sock

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// vector is the kernel's form of a list of pieces, kept so that writing
// allocates nothing.
type vector []unix.Iovec

// write writes what fits of at most piecesMax bufs, some of which hold bytes.
func (v *vector) write(fd int, bufs [][]byte) (int, error) {
	vec := (*v)[:0]
	for _, b := range bufs {
		if len(b) > 0 {
			piece := unix.Iovec{Base: &b[0]}
			piece.SetLen(len(b))
			vec = append(vec, piece)
		}
	}
	*v = vec
	defer clear(vec) // the memory of what was sent is not ours to hold
	sending()
	for {
		n, _, errno := unix.Syscall(unix.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(&vec[0])), uintptr(len(vec)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return written(0, errno)
	}
}
