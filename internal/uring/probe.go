//go:build linux

package uring

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

type operation struct {
	opcode uint8
	name   string
}

// operations are those that a driver needs.
var operations = []operation{
	{opAccept, "ACCEPT"},
	{opRecv, "RECV"},
	{opSend, "SEND"},
	{opSendmsg, "SENDMSG"},
	{opPollAdd, "POLL_ADD"},
	{opAsyncCancel, "ASYNC_CANCEL"},
}

// Probe returns nil if io_uring can be used here, and otherwise an error that
// says why not. It makes a ring to find out.
func Probe() error {
	r, err := New(4, 8)
	if err != nil {
		return fmt.Errorf("%s: %w", reason(err), err)
	}
	defer r.Close()
	if err := r.supports(operations); err != nil {
		return err
	}
	b, err := r.NewBufferRing(0, 1)
	if err != nil {
		return fmt.Errorf("no ring of buffers: %w", err)
	}
	return b.Close()
}

// supports returns an error that names those of ops that the kernel lacks.
func (r *Ring) supports(ops []operation) error {
	p := &probe{}
	if _, err := register(r.fd, registerProbe, unsafe.Pointer(p), uintptr(len(p.ops))); err != nil {
		return fmt.Errorf("the kernel does not tell its operations: %w", err)
	}
	var missing []string
	for _, op := range ops {
		if p.ops[op.opcode].flags&opSupported == 0 {
			missing = append(missing, op.name)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("the kernel lacks the operations %s", strings.Join(missing, ", "))
	}
	return nil
}

// reason explains why no ring could be made.
func reason(err error) string {
	switch {
	case errors.Is(err, unix.ENOSYS):
		return "this kernel has no io_uring"
	case errors.Is(err, unix.EPERM):
		const sysctl = "/proc/sys/kernel/io_uring_disabled"
		if p, err := os.ReadFile(sysctl); err == nil && strings.TrimSpace(string(p)) != "0" {
			return "io_uring is switched off: kernel.io_uring_disabled is " + strings.TrimSpace(string(p))
		}
		return "io_uring is forbidden, most likely by a container's seccomp filter"
	case errors.Is(err, unix.EINVAL), errors.Is(err, errors.ErrUnsupported):
		return "io_uring needs Linux 6.1 or newer, this is " + release()
	case errors.Is(err, unix.ENOMEM):
		return "too little memory may be locked (RLIMIT_MEMLOCK)"
	}
	return "no ring can be made"
}

func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "another"
	}
	return unix.ByteSliceToString(u.Release[:])
}
