//go:build darwin || freebsd || linux

package sock

import (
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// connErrors are those errors of sendfile that are the socket's. Every other
// is taken for the file's: should one be the socket's all the same, the next
// write or read tells.
var connErrors = []error{
	unix.ECONNRESET, unix.EPIPE, unix.ETIMEDOUT, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.ENETDOWN, unix.ENOTCONN,
}

// TrySendFile sends what fits into the socket's buffer of n bytes of f from
// offset off on, without a copy through this process.
func (Sockets) TrySendFile(fd int, f *os.File, off int64, n int) (int, error) {
	if n <= 0 {
		return 0, nil
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, &os.PathError{Op: "sendfile", Path: f.Name(), Err: err}
	}
	sent, failed := 0, error(nil)
	err = raw.Control(func(file uintptr) { sent, failed = sendFile(fd, int(file), off, min(n, bytesMax)) })
	switch {
	case err != nil:
		return 0, &os.PathError{Op: "sendfile", Path: f.Name(), Err: os.ErrClosed}
	case failed == nil && sent == 0:
		return 0, io.ErrUnexpectedEOF
	case failed == nil || failed == unix.EAGAIN:
		return sent, nil
	case slices.Contains(connErrors, failed):
		return sent, os.NewSyscallError("sendfile", failed)
	case failed == unix.EINVAL || errors.Is(failed, errors.ErrUnsupported):
		return 0, errors.ErrUnsupported // as of a pipe, or by a file system
	}
	return 0, &os.PathError{Op: "sendfile", Path: f.Name(), Err: failed}
}

// sendFile is one sendfile that a signal does not end.
func sendFile(fd, file int, off int64, n int) (sent int, err error) {
	for {
		at := off // some systems move it
		sent, err = unix.Sendfile(fd, file, &at, n)
		if err != nil && err != unix.EAGAIN && err != unix.EINTR {
			return 0, err // what sent is then differs
		}
		if err != unix.EINTR || sent > 0 {
			break
		}
	}
	if sent > 0 {
		err = nil
	}
	return max(sent, 0), err
}
