package sock

import (
	"runtime/debug"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// send writes p, which is not empty, to a socket: by send(2), since write(2) goes
// through the file system's part of the kernel first. That is 7 % of what it costs to
// send 128 bytes to each of 10,000 connections (bench: compare --scenario broadcast).
func send(fd int, p []byte) (int, error) {
	sending()
	n, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), unix.MSG_NOSIGNAL, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// sending has the race detector know that what comes before a write comes before what
// follows the read of it at the other end. Write of package unix does, but for the calls
// that it does not have; no byte is written.
func sending() {
	if underRace {
		_, _ = unix.Write(-1, nil)
	}
}

// underRace is true exactly when the race detector looks on.
var underRace = func() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}()
