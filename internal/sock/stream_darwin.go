package sock

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// stream makes a stream socket, non-blocking and closed on exec.
func stream(family int) (int, error) {
	return guarded(func() (int, error) { return unix.Socket(family, unix.SOCK_STREAM, 0) })
}

// accept takes the next connection, non-blocking and closed on exec.
func accept(listener int) (int, error) {
	return guarded(func() (int, error) {
		fd, _, err := unix.Accept(listener)
		return fd, err
	})
}

// guarded makes a descriptor and marks it. macOS cannot do both at once, so
// no child process may be started in between.
func guarded(open func() (int, error)) (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := open()
	if err != nil {
		return -1, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}
