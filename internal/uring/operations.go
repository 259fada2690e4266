//go:build linux

package uring

import (
	"encoding/binary"
	"math"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PiecesMax is how many pieces one Send may have (IOV_MAX).
const PiecesMax = 1024

// The operations below are prepared; Enter hands them to the kernel. Each is
// answered by completions with its userData.

// on says what the operation is about: a descriptor or a file of the ring.
func (s *submission) on(fd int) {
	if s.fd = int32(fd &^ Fixed); fd&Fixed != 0 {
		s.flags |= sqeFixedFile
	}
}

// Accept accepts connections on fd until it is cancelled or fails; the results
// are descriptors, non-blocking and closed on exec (multishot, Linux 5.19).
func (r *Ring) Accept(fd int, userData uint64) {
	s := r.next()
	s.opcode, s.userData = opAccept, userData
	s.on(fd)
	s.ioprio = acceptMultishot
	s.opFlags = unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC
}

// Receive receives from fd into buffers of the ring of the given group until
// it is cancelled, fails, the peer ends or there is no buffer (multishot, Linux
// 6.0).
func (r *Ring) Receive(fd int, group uint16, userData uint64) {
	s := r.next()
	s.opcode, s.userData = opRecv, userData
	s.on(fd)
	s.ioprio = recvMultishot
	s.flags |= sqeBufferSelect
	s.bufGroup = group
}

// Send sends bufs, one to PiecesMax of them, in order on fd. The result is how
// many bytes went, of the first or of all. Until then the bytes must stay as they
// are, and reachable: the garbage collector does not know of it.
func (r *Ring) Send(fd int, bufs [][]byte, userData uint64) {
	if len(bufs) == 1 {
		p := bufs[0][:min(len(bufs[0]), math.MaxInt32)]
		s := r.next()
		s.opcode, s.userData = opSend, userData
		s.on(fd)
		s.addr, s.len = address(p), uint32(len(p))
		s.opFlags = unix.MSG_NOSIGNAL
		return
	}
	header := r.vector(bufs)
	s := r.next()
	s.opcode, s.userData = opSendmsg, userData
	s.on(fd)
	s.addr, s.len = uint64(uintptr(unsafe.Pointer(header))), 1
	s.opFlags = unix.MSG_NOSIGNAL
}

// vector describes bufs to the kernel in memory that stays until it has taken
// the submission, which is the last of them (IORING_FEAT_SUBMIT_STABLE).
func (r *Ring) vector(bufs [][]byte) *msghdr {
	size := int(unsafe.Sizeof(msghdr{})) + len(bufs)*int(unsafe.Sizeof(iovec{}))
	// The submission itself must find a place without handing over the rest.
	if r.used+size > len(r.scratch) || r.unsubmitted() == uint32(len(r.sqes)) {
		r.mustSubmit()
	}
	p := unsafe.Pointer(&r.scratch[r.used])
	r.used += (size + 7) &^ 7
	header := (*msghdr)(p)
	vector := unsafe.Slice((*iovec)(unsafe.Add(p, unsafe.Sizeof(msghdr{}))), len(bufs))
	for i, b := range bufs {
		vector[i] = iovec{uintptr(address(b)), uintptr(len(b))}
	}
	*header = msghdr{iov: uintptr(unsafe.Pointer(&vector[0])), iovLen: uintptr(len(vector))}
	return header
}

// address returns where p lies. Memory of the heap does not move.
func address(p []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))) }

// PollWritable completes once when fd is writable or broken.
func (r *Ring) PollWritable(fd int, userData uint64) { r.poll(fd, unix.POLLOUT, 0, userData) }

// PollReadable completes once when there is something to read from fd, or its end.
func (r *Ring) PollReadable(fd int, userData uint64) { r.poll(fd, unix.POLLIN, 0, userData) }

// PollArrivals completes whenever something comes on fd (multishot, Linux 5.13).
func (r *Ring) PollArrivals(fd int, userData uint64) {
	r.poll(fd, unix.POLLIN, pollMultishot, userData)
}

func (r *Ring) poll(fd int, events, flags uint32, userData uint64) {
	s := r.next()
	s.opcode, s.userData = opPollAdd, userData
	s.on(fd)
	s.len = flags
	// What was 16 bits once is still where those were, whatever the byte order.
	var mask [4]byte
	binary.NativeEndian.PutUint16(mask[:], uint16(events))
	s.opFlags = binary.NativeEndian.Uint32(mask[:])
}

// Cancel ends the operation of target, which completes with what it came to
// or with ECANCELED. Only if there is no such operation any more does the
// cancelling itself complete.
func (r *Ring) Cancel(target, userData uint64) {
	s := r.next()
	s.opcode, s.fd, s.userData = opAsyncCancel, -1, userData
	s.flags = sqeCqeSkipSuccess
	s.addr = target
}

// CancelAll ends every operation, as Cancel does.
func (r *Ring) CancelAll(userData uint64) {
	s := r.next()
	s.opcode, s.fd, s.userData = opAsyncCancel, -1, userData
	s.flags = sqeCqeSkipSuccess
	s.opFlags = cancelAll | cancelAny
}

// CloseWrite ends the sending direction of socket fd (Linux 5.11).
func (r *Ring) CloseWrite(fd int, userData uint64) {
	s := r.next()
	s.opcode, s.userData = opShutdown, userData
	s.on(fd)
	s.len = unix.SHUT_WR
}

// ResetOnClose makes the last close of TCP socket fd a reset (Linux 6.7).
func (r *Ring) ResetOnClose(fd int, userData uint64) {
	r.control.linger = unix.Linger{Onoff: 1}
	s := r.next()
	s.opcode, s.userData = opUringCmd, userData
	s.on(fd)
	s.off = socketSetsockopt
	s.addr = unix.SOL_SOCKET | unix.SO_LINGER<<32
	s.fileIndex = uint32(unsafe.Sizeof(r.control.linger))
	s.addr3 = uint64(uintptr(unsafe.Pointer(&r.control.linger)))
}

// Install makes a descriptor of the process of fd, a file of the ring, which
// stays one (Linux 6.8).
func (r *Ring) Install(fd int, userData uint64) {
	s := r.next()
	s.opcode, s.userData = opFdInstall, userData
	s.on(fd)
}
