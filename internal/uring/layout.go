//go:build linux

package uring

// The kernel's structures and numbers, as in include/uapi/linux/io_uring.h.
// layout_test.go holds them to the sizes and offsets there.

// submission is struct io_uring_sqe.
type submission struct {
	opcode      uint8
	flags       uint8
	ioprio      uint16
	fd          int32
	off         uint64
	addr        uint64
	len         uint32
	opFlags     uint32
	userData    uint64
	bufGroup    uint16
	personality uint16
	fileIndex   uint32
	addr3       uint64
	_           uint64
}

// Completion is struct io_uring_cqe: how an operation went.
type Completion struct {
	UserData uint64
	Result   int32 // what the system call would return, or its error negated
	flags    uint32
}

// params is struct io_uring_params.
type params struct {
	sqEntries, cqEntries uint32
	flags                uint32
	sqThreadCPU          uint32
	sqThreadIdle         uint32
	features             uint32
	wqFd                 uint32
	_                    [3]uint32
	sqOff                sqOffsets
	cqOff                cqOffsets
}

// sqOffsets is struct io_sqring_offsets.
type sqOffsets struct {
	head, tail, ringMask, ringEntries, flags, dropped, array, _ uint32
	_                                                           uint64
}

// cqOffsets is struct io_cqring_offsets.
type cqOffsets struct {
	head, tail, ringMask, ringEntries, overflow, cqes, flags, _ uint32
	_                                                           uint64
}

// enterArg is struct io_uring_getevents_arg.
type enterArg struct {
	sigmask   uint64
	sigmaskSz uint32
	minWait   uint32
	timespec  uint64
}

// timespec is struct __kernel_timespec.
type timespec struct{ sec, nsec int64 }

// bufferEntry is struct io_uring_buf. In the first of a ring, resv is its tail.
type bufferEntry struct {
	addr uint64
	len  uint32
	id   uint16
	resv uint16
}

// bufferReg is struct io_uring_buf_reg.
type bufferReg struct {
	addr    uint64
	entries uint32
	group   uint16
	flags   uint16
	minLeft uint32
	_       [5]uint32
}

// ringFdUpdate is struct io_uring_rsrc_update as IORING_REGISTER_RING_FDS
// takes it.
type ringFdUpdate struct {
	offset uint32
	_      uint32
	data   uint64
}

// resourceReg is struct io_uring_rsrc_register.
type resourceReg struct {
	n     uint32
	flags uint32
	_     uint64
	data  uint64
	tags  uint64
}

// filesUpdate is struct io_uring_files_update.
type filesUpdate struct {
	offset uint32
	_      uint32
	fds    uint64
}

// probe is struct io_uring_probe with room for every operation.
type probe struct {
	lastOp uint8
	opsLen uint8
	_      uint16
	_      [3]uint32
	ops    [256]probeOp
}

// probeOp is struct io_uring_probe_op.
type probeOp struct {
	op    uint8
	_     uint8
	flags uint16
	_     uint32
}

// iovec and msghdr are those of the 64-bit or the 32-bit kernel.
type iovec struct {
	base uintptr
	len  uintptr
}

type msghdr struct {
	name       uintptr
	nameLen    uint32
	iov        uintptr
	iovLen     uintptr
	control    uintptr
	controlLen uintptr
	flags      int32
}

const (
	opPollAdd     = 6
	opSendmsg     = 9
	opAccept      = 13
	opAsyncCancel = 14
	opSend        = 26
	opRecv        = 27
	opShutdown    = 34
	opMsgRing     = 40
	opUringCmd    = 46
	opFdInstall   = 54

	opSupported = 1 // in probeOp.flags

	// submission.flags
	sqeFixedFile      = 1 << 0
	sqeBufferSelect   = 1 << 5
	sqeCqeSkipSuccess = 1 << 6

	// submission.ioprio
	acceptMultishot = 1 << 0
	recvMultishot   = 1 << 1

	// submission.off of opUringCmd on a socket
	socketSetsockopt = 3

	// submission.len of opPollAdd
	pollMultishot = 1 << 0

	// submission.opFlags of opAsyncCancel
	cancelAll = 1 << 0
	cancelAny = 1 << 2

	// Completion.flags
	cqeBuffer = 1 << 0
	cqeMore   = 1 << 1

	// params.flags
	setupCQSize       = 1 << 3
	setupClamp        = 1 << 4
	setupDisabled     = 1 << 6
	setupSubmitAll    = 1 << 7
	setupTaskrunFlag  = 1 << 9
	setupSingleIssuer = 1 << 12
	setupDeferTaskrun = 1 << 13
	setupNoSQArray    = 1 << 16

	// params.features
	featSingleMmap   = 1 << 0
	featNoDrop       = 1 << 1
	featSubmitStable = 1 << 2
	featExtArg       = 1 << 8
	featCqeSkip      = 1 << 11
	featNoIowait     = 1 << 17

	// the ring's flags, which the kernel sets
	sqCQOverflow = 1 << 1
	sqTaskrun    = 1 << 2

	// io_uring_enter(2)
	enterGetevents    = 1 << 0
	enterExtArg       = 1 << 3
	enterRegistered   = 1 << 4
	enterNoIowait     = 1 << 7
	offsetRings       = 0
	offsetSubmissions = 0x10000000

	resourceSparse = 1 << 0 // in resourceReg.flags

	// io_uring_register(2)
	unregisterFiles     = 3
	registerFilesUpdate = 6
	registerProbe       = 8
	registerEnableRings = 12
	registerFiles2      = 13
	registerRingFds     = 20
	unregisterRingFds   = 21
	registerPbufRing    = 22
	unregisterPbufRing  = 23
	registerSendMsgRing = 31
)
