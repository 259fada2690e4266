//go:build linux

package uring

import (
	"testing"
	"unsafe"
)

// TestLayout holds the structures to include/uapi/linux/io_uring.h.
func TestLayout(t *testing.T) {
	var (
		s  submission
		c  Completion
		p  params
		sq sqOffsets
		cq cqOffsets
		a  enterArg
		b  bufferEntry
		br bufferReg
		u  ringFdUpdate
		rr resourceReg
		fu filesUpdate
		pr probe
		po probeOp
		ts timespec
		m  msghdr
		v  iovec
	)
	const word = unsafe.Sizeof(uintptr(0))
	for _, f := range []struct {
		name      string
		got, want uintptr
	}{
		{"io_uring_sqe", unsafe.Sizeof(s), 64},
		{"io_uring_sqe.flags", unsafe.Offsetof(s.flags), 1},
		{"io_uring_sqe.ioprio", unsafe.Offsetof(s.ioprio), 2},
		{"io_uring_sqe.fd", unsafe.Offsetof(s.fd), 4},
		{"io_uring_sqe.off", unsafe.Offsetof(s.off), 8},
		{"io_uring_sqe.addr", unsafe.Offsetof(s.addr), 16},
		{"io_uring_sqe.len", unsafe.Offsetof(s.len), 24},
		{"io_uring_sqe.msg_flags", unsafe.Offsetof(s.opFlags), 28},
		{"io_uring_sqe.user_data", unsafe.Offsetof(s.userData), 32},
		{"io_uring_sqe.buf_group", unsafe.Offsetof(s.bufGroup), 40},
		{"io_uring_sqe.personality", unsafe.Offsetof(s.personality), 42},
		{"io_uring_sqe.file_index", unsafe.Offsetof(s.fileIndex), 44},
		{"io_uring_sqe.addr3", unsafe.Offsetof(s.addr3), 48},

		{"io_uring_cqe", unsafe.Sizeof(c), 16},
		{"io_uring_cqe.res", unsafe.Offsetof(c.Result), 8},
		{"io_uring_cqe.flags", unsafe.Offsetof(c.flags), 12},

		{"io_uring_params", unsafe.Sizeof(p), 120},
		{"io_uring_params.features", unsafe.Offsetof(p.features), 20},
		{"io_uring_params.sq_off", unsafe.Offsetof(p.sqOff), 40},
		{"io_uring_params.cq_off", unsafe.Offsetof(p.cqOff), 80},
		{"io_sqring_offsets", unsafe.Sizeof(sq), 40},
		{"io_sqring_offsets.array", unsafe.Offsetof(sq.array), 24},
		{"io_cqring_offsets", unsafe.Sizeof(cq), 40},
		{"io_cqring_offsets.cqes", unsafe.Offsetof(cq.cqes), 20},

		{"io_uring_getevents_arg", unsafe.Sizeof(a), 24},
		{"io_uring_getevents_arg.min_wait_usec", unsafe.Offsetof(a.minWait), 12},
		{"io_uring_getevents_arg.ts", unsafe.Offsetof(a.timespec), 16},
		{"__kernel_timespec", unsafe.Sizeof(ts), 16},

		{"io_uring_buf", unsafe.Sizeof(b), 16},
		{"io_uring_buf.len", unsafe.Offsetof(b.len), 8},
		{"io_uring_buf.bid", unsafe.Offsetof(b.id), 12},
		{"io_uring_buf_ring.tail", unsafe.Offsetof(b.resv), 14},
		{"io_uring_buf_reg", unsafe.Sizeof(br), 40},
		{"io_uring_buf_reg.bgid", unsafe.Offsetof(br.group), 12},
		{"io_uring_buf_reg.min_left", unsafe.Offsetof(br.minLeft), 16},
		{"io_uring_rsrc_update", unsafe.Sizeof(u), 16},
		{"io_uring_rsrc_update.data", unsafe.Offsetof(u.data), 8},
		{"io_uring_rsrc_register", unsafe.Sizeof(rr), 32},
		{"io_uring_rsrc_register.data", unsafe.Offsetof(rr.data), 16},
		{"io_uring_files_update", unsafe.Sizeof(fu), 16},
		{"io_uring_files_update.fds", unsafe.Offsetof(fu.fds), 8},
		{"io_uring_probe", unsafe.Sizeof(pr), 16 + 256*8},
		{"io_uring_probe.ops", unsafe.Offsetof(pr.ops), 16},
		{"io_uring_probe_op.flags", unsafe.Offsetof(po.flags), 2},

		{"iovec", unsafe.Sizeof(v), 2 * word},
		{"msghdr.msg_iov", unsafe.Offsetof(m.iov), 2 * word},
		{"msghdr.msg_control", unsafe.Offsetof(m.control), 4 * word},
		{"msghdr.msg_flags", unsafe.Offsetof(m.flags), 6 * word},
		{"msghdr", unsafe.Sizeof(m), 7 * word},
	} {
		if f.got != f.want {
			t.Errorf("%s is %d, in the kernel %d", f.name, f.got, f.want)
		}
	}
}
