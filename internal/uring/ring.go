//go:build linux

package uring

import (
	"errors"
	"math"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// scratchSize is the memory for what submissions point to until the kernel has
// taken them: a few vectors of 1,024 pieces.
const scratchSize = 64 << 10

// Ring is one io_uring. All methods but Wake are for one thread, the one that
// calls Enable; those that do not reach the kernel may be called before by
// others.
type Ring struct {
	fd      int
	enterFd int    // fd, or its number among the thread's registered ones
	flags   uint32 // for every enter

	rings, sqMem, shared []byte // mappings

	// The kernel writes sqHead, sqFlags and cqTail, we write the others.
	sqHead, sqTail, sqFlags, cqHead, cqTail *uint32

	sqes []submission
	cqes []Completion

	tail    uint32 // of the submissions, of which the kernel sees sqTail
	head    uint32 // of the completions, of which the kernel sees cqHead
	seen    uint32 // sqHead, when it was last looked at
	control *control
	scratch []byte // of shared
	used    int    // of scratch

	// Count is what the ring did so far.
	Count Count
}

// Count tells how well a ring batches.
type Count struct {
	Enters      int64 // calls of io_uring_enter(2)
	Submissions int64
	Completions int64
	Overflows   int64 // enters that found the completion queue full
}

// control is what the kernel reads at an enter and when a file is set.
type control struct {
	arg     enterArg
	timeout timespec
	fd      int32
	linger  unix.Linger
}

// New makes a ring that is not yet enabled, with room for so many submissions
// and completions; the kernel rounds both up to powers of two. Beyond the room for
// submissions an operation makes a system call on its own. Beyond that for
// completions the kernel keeps what it has to tell in a list and ends multishot
// operations.
func New(submissions, completions uint32) (*Ring, error) {
	const needed = setupCQSize | setupClamp | setupDisabled | setupSubmitAll |
		setupTaskrunFlag | setupSingleIssuer | setupDeferTaskrun
	r, err := newRing(submissions, completions, needed|setupNoSQArray)
	if errors.Is(err, unix.EINVAL) { // before 6.6 there is an array of indexes
		r, err = newRing(submissions, completions, needed)
	}
	return r, err
}

func newRing(submissions, completions, flags uint32) (*Ring, error) {
	r := &Ring{}
	p := params{cqEntries: completions, flags: flags}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, uintptr(submissions), uintptr(unsafe.Pointer(&p)), 0)
	if errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r.fd, r.enterFd = int(fd), int(fd)
	if err := r.mmap(&p); err != nil {
		r.Close()
		return nil, err
	}
	r.flags = enterGetevents | enterExtArg
	if p.features&featNoIowait != 0 {
		r.flags |= enterNoIowait // who sleeps for want of clients is idle
	}
	return r, nil
}

// mmap maps what ring and kernel share.
func (r *Ring) mmap(p *params) error {
	const needed = featSingleMmap | featNoDrop | featSubmitStable | featExtArg | featCqeSkip
	if p.features&needed != needed {
		return errors.ErrUnsupported // they are all older than what New asked for
	}
	size := max(p.cqOff.cqes+p.cqEntries*uint32(unsafe.Sizeof(Completion{})), p.sqOff.array+4*p.sqEntries)
	var err error
	if r.rings, err = mmap(r.fd, offsetRings, int(size)); err != nil {
		return err
	}
	if r.sqMem, err = mmap(r.fd, offsetSubmissions, int(p.sqEntries)*int(unsafe.Sizeof(submission{}))); err != nil {
		return err
	}
	if r.shared, err = mmap(-1, 0, scratchSize+os.Getpagesize()); err != nil {
		return err
	}
	word := func(offset uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[offset])) }
	r.sqHead, r.sqTail, r.sqFlags = word(p.sqOff.head), word(p.sqOff.tail), word(p.sqOff.flags)
	r.cqHead, r.cqTail = word(p.cqOff.head), word(p.cqOff.tail)
	r.sqes = unsafe.Slice((*submission)(unsafe.Pointer(&r.sqMem[0])), p.sqEntries)
	r.cqes = unsafe.Slice((*Completion)(unsafe.Pointer(&r.rings[p.cqOff.cqes])), p.cqEntries)
	r.control = (*control)(unsafe.Pointer(&r.shared[0]))
	r.scratch = r.shared[os.Getpagesize():]
	if p.flags&setupNoSQArray == 0 {
		for i := range p.sqEntries {
			*word(p.sqOff.array + 4*i) = i
		}
	}
	return nil
}

// mmap maps size bytes of fd, or of fresh memory if fd is -1.
func mmap(fd int, offset int64, size int) ([]byte, error) {
	flags := unix.MAP_SHARED | unix.MAP_POPULATE
	if fd < 0 {
		flags = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	}
	p, err := unix.Mmap(fd, offset, size, unix.PROT_READ|unix.PROT_WRITE, flags)
	return p, os.NewSyscallError("mmap", err)
}

// Enable makes the calling thread, to which its goroutine must be locked, the
// one that uses the ring.
func (r *Ring) Enable() error {
	if _, err := register(r.fd, registerEnableRings, nil, 0); err != nil {
		return os.NewSyscallError("io_uring_register IORING_REGISTER_ENABLE_RINGS", err)
	}
	// A registered descriptor saves the kernel looking it up at every enter.
	u := &ringFdUpdate{offset: math.MaxUint32, data: uint64(r.fd)}
	if n, err := register(r.fd, registerRingFds, unsafe.Pointer(u), 1); err == nil && n == 1 {
		r.enterFd = int(u.offset)
		r.flags |= enterRegistered
	}
	return nil
}

// Close gives the ring back, on the thread that enabled it. No operation may be
// under way that the kernel would write memory for: it ends them only later.
func (r *Ring) Close() error {
	var errs []error
	if r.flags&enterRegistered != 0 { // it would keep the ring
		u := &ringFdUpdate{offset: uint32(r.enterFd)}
		_, err := register(r.fd, unregisterRingFds, unsafe.Pointer(u), 1)
		errs = append(errs, os.NewSyscallError("io_uring_register IORING_UNREGISTER_RING_FDS", err))
	}
	for _, m := range [][]byte{r.rings, r.sqMem, r.shared} {
		if m != nil {
			errs = append(errs, os.NewSyscallError("munmap", unix.Munmap(m)))
		}
	}
	r.rings, r.sqMem, r.shared = nil, nil, nil
	errs = append(errs, os.NewSyscallError("close", unix.Close(r.fd)))
	return errors.Join(errs...)
}

// next returns a cleared submission, which the next Submit or Enter hands to
// the kernel. If there is no room, it hands over the others at once.
func (r *Ring) next() *submission {
	if r.tail-r.seen == uint32(len(r.sqes)) {
		if r.seen = atomic.LoadUint32(r.sqHead); r.tail-r.seen == uint32(len(r.sqes)) {
			r.mustSubmit()
		}
	}
	s := &r.sqes[r.tail&uint32(len(r.sqes)-1)]
	*s = submission{}
	r.tail++
	return s
}

// unsubmitted returns how many submissions the kernel has not taken.
func (r *Ring) unsubmitted() uint32 {
	r.seen = atomic.LoadUint32(r.sqHead)
	return r.tail - r.seen
}

// publish shows the kernel what was prepared and which completions were taken.
func (r *Ring) publish() {
	r.Count.Submissions += int64(r.tail - *r.sqTail) // which only we write
	atomic.StoreUint32(r.sqTail, r.tail)
	atomic.StoreUint32(r.cqHead, r.head)
}

// mustSubmit makes room in the submission queue and in scratch.
func (r *Ring) mustSubmit() {
	r.publish()
	for n := r.unsubmitted(); n > 0; n = r.unsubmitted() {
		_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFd), uintptr(n), 0, uintptr(r.flags&enterRegistered), 0, 0)
		r.Count.Enters++
		switch errno {
		case 0, unix.EINTR:
		case unix.EAGAIN, unix.EBUSY, unix.ENOMEM:
			time.Sleep(time.Millisecond) // the kernel has no memory for it now
		default:
			// Only a wrong use gets here: another thread's, or a closed ring.
			panic("uring: io_uring_enter: " + errno.Error())
		}
	}
	r.used = 0
}

// Enter hands over what was prepared, lets the kernel complete what it can,
// and waits for at least one completion, but no longer than wait; for ever if
// it is negative. Next tells the completions.
func (r *Ring) Enter(wait time.Duration) error {
	n := r.unsubmitted()
	if wait == 0 && n == 0 && atomic.LoadUint32(r.sqFlags)&(sqTaskrun|sqCQOverflow) == 0 {
		return nil // the kernel has nothing for us
	}
	r.publish()
	least := uint32(1)
	r.control.arg = enterArg{}
	switch {
	case wait == 0:
		least = 0
	case wait > 0:
		r.control.timeout = timespec{int64(wait / time.Second), int64(wait % time.Second)}
		r.control.arg.timespec = uint64(uintptr(unsafe.Pointer(&r.control.timeout)))
	}
	_, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.enterFd), uintptr(n), uintptr(least),
		uintptr(r.flags), uintptr(unsafe.Pointer(&r.control.arg)), unsafe.Sizeof(r.control.arg))
	r.Count.Enters++
	if r.unsubmitted() == 0 {
		r.used = 0
	}
	if atomic.LoadUint32(r.sqFlags)&sqCQOverflow != 0 {
		r.Count.Overflows++
	}
	switch errno {
	case 0, unix.ETIME, unix.EINTR:
		return nil
	case unix.EAGAIN, unix.EBUSY, unix.ENOMEM:
		// Memory is short, or completions must be taken first. What was not
		// handed over is tried again at the next Enter.
		return nil
	}
	return os.NewSyscallError("io_uring_enter", errno)
}

// Next takes the next completion, if there is one.
func (r *Ring) Next() (c Completion, ok bool) {
	if r.head == atomic.LoadUint32(r.cqTail) {
		return c, false
	}
	c = r.cqes[r.head&uint32(len(r.cqes)-1)]
	r.head++
	r.Count.Completions++
	return c, true
}

// Ready returns how many completions wait for Next.
func (r *Ring) Ready() int { return int(atomic.LoadUint32(r.cqTail) - r.head) }

// More reports whether the operation goes on: without it, none is armed,
// whatever the result.
func (c *Completion) More() bool { return c.flags&cqeMore != 0 }

// Buffer returns the number of the buffer that the kernel took for it.
func (c *Completion) Buffer() (id int, ok bool) { return int(c.flags >> 16), c.flags&cqeBuffer != 0 }

// Err returns the error that the operation ended with.
func (c *Completion) Err() error {
	if c.Result >= 0 {
		return nil
	}
	return unix.Errno(-c.Result)
}

// Wake makes the ring report a completion with userData, which ends the Enter
// in progress or else the next one. Any goroutine may call it until Close. It
// needs Linux 6.13; before, the error is EINVAL.
func (r *Ring) Wake(userData uint64) error {
	s := &submission{opcode: opMsgRing, fd: int32(r.fd), off: userData}
	_, err := register(-1, registerSendMsgRing, unsafe.Pointer(s), 1)
	return os.NewSyscallError("io_uring_register IORING_REGISTER_SEND_MSG_RING", err)
}

func register(fd int, op uintptr, arg unsafe.Pointer, n uintptr) (int, error) {
	k, _, errno := unix.Syscall6(unix.SYS_IO_URING_REGISTER, uintptr(fd), op, uintptr(arg), n, 0, 0)
	if errno != 0 {
		return -1, errno
	}
	return int(k), nil
}
