//go:build linux

package uring

import (
	"encoding/binary"
	"errors"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BufferRing hands buffers to the kernel, which takes them in the order of Add
// for what it receives (IORING_REGISTER_PBUF_RING, Linux 5.19).
type BufferRing struct {
	ring    *Ring
	group   uint16
	mem     []byte // a mapping
	entries []bufferEntry
	tail    uint16 // of which the kernel sees what the last Publish showed it
}

// NewBufferRing makes one for n buffers, a power of two up to 1<<15. Receive
// finds it by its group.
func (r *Ring) NewBufferRing(group uint16, n int) (*BufferRing, error) {
	mem, err := mmap(-1, 0, n*int(unsafe.Sizeof(bufferEntry{})))
	if err != nil {
		return nil, err
	}
	b := &BufferRing{
		ring: r, group: group, mem: mem,
		entries: unsafe.Slice((*bufferEntry)(unsafe.Pointer(&mem[0])), n),
	}
	reg := &bufferReg{addr: address(mem), entries: uint32(n), group: group}
	if _, err := register(r.fd, registerPbufRing, unsafe.Pointer(reg), 1); err != nil {
		unix.Munmap(mem)
		return nil, os.NewSyscallError("io_uring_register IORING_REGISTER_PBUF_RING", err)
	}
	return b, nil
}

// Add gives the kernel p as the buffer number id, to take after the next
// Publish. It must stay as it is and reachable until a completion names id.
func (b *BufferRing) Add(id int, p []byte) {
	e := &b.entries[int(b.tail)&(len(b.entries)-1)]
	// resv of the first is the tail, which is not to be touched.
	e.addr, e.len, e.id = address(p), uint32(len(p)), uint16(id)
	b.tail++
}

// Publish shows the kernel what was added. The tail has 16 bits, for which
// there is no atomic store; the number before it in the same word is only
// written by us.
func (b *BufferRing) Publish() {
	var w [4]byte
	binary.NativeEndian.PutUint16(w[:], b.entries[0].id)
	binary.NativeEndian.PutUint16(w[2:], b.tail)
	atomic.StoreUint32((*uint32)(unsafe.Pointer(&b.entries[0].id)), binary.NativeEndian.Uint32(w[:]))
}

// Close takes the buffers back. No Receive may be under way.
func (b *BufferRing) Close() error {
	reg := &bufferReg{group: b.group}
	_, err := register(b.ring.fd, unregisterPbufRing, unsafe.Pointer(reg), 1)
	return errors.Join(
		os.NewSyscallError("io_uring_register IORING_UNREGISTER_PBUF_RING", err),
		os.NewSyscallError("munmap", unix.Munmap(b.mem)))
}
