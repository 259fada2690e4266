//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sock

import "golang.org/x/sys/unix"

// Limits of one writev: IOV_MAX pieces, the same on all these systems, and
// not more bytes than every one of them accepts (macOS refuses 2 GiB).
const (
	piecesMax = 1024
	bytesMax  = 1 << 30
)

// Read reads once into p. It returns 0, nil at the end of the stream and
// unix.EAGAIN if nothing has come.
func Read(fd int, p []byte) (int, error) {
	for {
		n, err := unix.Read(fd, p)
		if err != unix.EINTR {
			return max(n, 0), err
		}
	}
}

// Write writes as much of p as fits now. It returns 0, nil if nothing fits.
func Write(fd int, p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	p = p[:min(len(p), bytesMax)]
	for {
		n, err := send(fd, p)
		if err != unix.EINTR {
			return written(n, err)
		}
	}
}

// written says of a full socket that it took nothing, which is no error.
func written(n int, err error) (int, error) {
	if err == unix.EAGAIN {
		return 0, nil
	}
	return max(n, 0), err
}

// Writer writes many pieces at a time. The zero value is ready; it is used by
// one goroutine.
type Writer struct{ vector vector }

// Write writes bufs in order and returns how many bytes went. Rest is true
// exactly when some did not because the socket is full, or because they are
// more than the kernel takes at once: it will be writable when it takes more.
func (w *Writer) Write(fd int, bufs [][]byte) (n int, rest bool, err error) {
	for len(bufs) > 0 {
		var pieces, size, m int
		for pieces < min(len(bufs), piecesMax) && (size == 0 || size+len(bufs[pieces]) <= bytesMax) {
			size += len(bufs[pieces])
			pieces++
		}
		switch {
		case size == 0:
		case pieces == 1: // cheaper than a vector of one
			m, err = Write(fd, bufs[0])
		default:
			m, err = w.vector.write(fd, bufs[:pieces])
		}
		n += m
		if err != nil || m < size {
			return n, err == nil, err
		}
		bufs = bufs[pieces:]
	}
	return n, false, nil
}
