//go:build linux

package uring

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Fixed marks the number of a file of the ring where otherwise a descriptor of
// the process stands.
const Fixed = 1 << 30

// MakeFiles gives the ring a table of n empty files (Linux 5.19). They are no
// descriptors of the process, but at most as many as those may be: FilesMax.
func (r *Ring) MakeFiles(n int) error {
	reg := &resourceReg{n: uint32(n), flags: resourceSparse}
	_, err := register(r.fd, registerFiles2, unsafe.Pointer(reg), unsafe.Sizeof(*reg))
	return os.NewSyscallError("io_uring_register IORING_REGISTER_FILES2", err)
}

// SetFile makes descriptor fd file number i of the ring; the process may close
// fd. With -1 it closes the file. No operation on it may be prepared.
func (r *Ring) SetFile(i, fd int) error {
	r.control.fd = int32(fd)
	u := &filesUpdate{offset: uint32(i), fds: uint64(uintptr(unsafe.Pointer(&r.control.fd)))}
	_, err := register(r.fd, registerFilesUpdate, unsafe.Pointer(u), 1)
	return os.NewSyscallError("io_uring_register IORING_REGISTER_FILES_UPDATE", err)
}

// CloseFiles closes all files of the ring, which Close would do only later.
func (r *Ring) CloseFiles() error {
	_, err := register(r.fd, unregisterFiles, nil, 0)
	return os.NewSyscallError("io_uring_register IORING_UNREGISTER_FILES", err)
}

// ProbeFiles returns nil if connections can be files of a ring, and otherwise
// an error that says why not.
func ProbeFiles() error {
	if err := Probe(); err != nil {
		return err
	}
	r, err := New(4, 8)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.supports([]operation{{opFdInstall, "FIXED_FD_INSTALL"}}); err != nil {
		return err
	}
	// Before 6.13 a file that is closed remains until what was under way on all
	// others then has ended. Wakes are of the same release.
	if err := r.Wake(0); errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("files of a ring that close at once need Linux 6.13 or newer, this is %s", release())
	}
	return nil
}

// FilesMax is how many files a ring may have: RLIMIT_NOFILE of them, and no more
// than a million.
func FilesMax() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, os.NewSyscallError("getrlimit RLIMIT_NOFILE", err)
	}
	return int(min(limit.Cur, 1<<20)), nil
}
