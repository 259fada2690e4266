package sock

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// quickMax is how many bytes a call moves, at most, that the scheduler is not
// told of: it is over within some 20 µs, before anybody would have noticed that
// its processor is in the kernel. A call that the scheduler knows of costs 20 ns
// more, and each is a chance that it takes the processor away meanwhile: 1.5 %
// of what an echo of 1 KB costs.
const quickMax = 64 << 10

func read(fd int, p []byte) (int, error) {
	if len(p) > quickMax {
		return unix.Read(fd, p)
	}
	return quick(unix.SYS_READ, fd, p)
}

func write(fd int, p []byte) (int, error) {
	if len(p) > quickMax {
		return unix.Write(fd, p)
	}
	return quick(unix.SYS_WRITE, fd, p)
}

// quick makes a call on a descriptor that does not block.
func quick(call uintptr, fd int, p []byte) (int, error) {
	n, _, err := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if err != 0 {
		return -1, err
	}
	return int(n), nil
}
