package sluice

import (
	"sync"
	"time"
)

const (
	slotBits  = 9
	chunkSize = 1 << slotBits // connections per chunk: 64 KiB or so of memory at a time
	slotMask  = chunkSize - 1
	noSlot    = chunkSize // ends a chunk's list of free slots
)

// chunk holds the state of chunkSize connections of one loop. The pointers
// come first because the garbage collector scans an object only up to its
// last pointer: a cycle over a million idle connections reads a few words of
// each and follows none.
type chunk struct {
	refs [chunkSize]refs
	loop *eventLoop
	base uint32   // driver ID of slot 0
	used uint32   // slots that are not free
	free uint16   // first free slot, or noSlot; the list goes on in slot.nextFree
	_    [46]byte // slots begin a cache line; a test checks it

	slots [chunkSize]slot
	peers [chunkSize]peerAddr
}

// refs are a connection's pointers, all nil while it idles.
type refs struct {
	ctx any     // the user's, from SetContext
	act *active // what only a busy connection needs; set exactly when flagActive is
}

// slot is the rest of a connection's state. It has no pointers, and its
// memory serves one connection after the other: gen tells them apart.
//
// A Conn carries the generation it was made for, and every method compares it
// with gen while holding mu. The loop raises gen under mu when the slot
// becomes free, so a handle kept beyond its connection finds another
// generation, for ever (55 bits do not come round), and returns ErrClosed
// without having touched anything. The descriptor is closed by the loop alone,
// and before that the loop sets stateShut under mu: a method that holds mu and
// finds its own generation in an earlier state may use the descriptor, because
// its number cannot be given to another connection meanwhile. SendFile, which
// may wait for a disk, lets go of mu and has the loop put the closing off.
//
// A slot is one cache line: with thousands of busy connections, what a message
// costs beside the kernel's part is mostly fetching such lines.
type slot struct {
	mu sync.Mutex

	// Guarded by mu. The loop alone changes gen and fd.
	gen      uint64
	active   int64 // loop time in ms of the last byte in or out; see acted
	readEnd  int64 // read deadline, loop time in ms, 0 means none; while closing, the end of the wait for a FIN
	writeEnd int64 // write deadline; while closing, the end of the linger time
	pending  int32 // outbound bytes accepted and not yet sent
	fd       int32
	idle     uint32 // idle timeout in ms, 0 means none; with flagReadIdle SetReadIdle's time
	flags    connFlags
	want     request
	state    connState

	nextFree uint16 // loop only
	route    uint32 // loop only: index of the loop's table of routes
}

// connState is where a connection is in its life.
type connState uint8

const (
	stateFree    connState = iota // the slot serves no connection
	stateDialing                  // connecting; no callback has run
	stateOpen                     // callbacks run
	stateClosing                  // Close was called or the peer ended: what was written is still sent
	stateShut                     // the driver was told to end it; its Closed is outstanding
)

// connFlags are facts about a connection.
type connFlags uint32

const (
	flagBusy        connFlags = 1 << iota // a callback runs; its end attends to requests
	flagQueued                            // on the loop's list of connections to attend to
	flagSending                           // a Send is unanswered
	flagOpened                            // OnOpen was called, so OnClose is owed
	flagEOF                               // the peer's end was received
	flagPausedUser                        // PauseRead
	flagPausedJobs                        // too many offloaded jobs wait
	flagPausedView                        // the blocking view holds enough unread bytes
	flagPaused                            // the driver was told to pause
	flagHigh                              // above the high-water mark and not yet below the low one
	flagFinWanted                         // CloseWrite was called
	flagFinSent                           // the driver was told to end our direction
	flagSlow                              // closing had to wait for the peer to read
	flagDetach                            // Detach was called
	flagWriteBroken                       // a send failed; what the peer sent before is still read
	flagActive                            // refs.act is set
	flagSpare                             // the loop's spare active part serves the callback that runs
	flagViewTold                          // the blocking view knows that the connection ends
	flagShutdown                          // to be closed once its jobs are done
	flagGone                              // the driver reported Closed
	flagWriteLate                         // the write deadline has passed
	flagHungUp                            // OnHangup was called
	flagFile                              // SendFile uses the descriptor, without the lock
	flagTLS                               // bytes flow through the loop's TLS layer
	flagFinGone                           // of TLS: what CloseWrite had to send has left
	flagTruncated                         // the peer ended TLS without saying so
	flagShutLate                          // shut, but the driver is told only when flagFile is gone
	flagReadIdler                         // the handler is a ReadIdleHandler
	flagReadIdle                          // slot.idle and slot.active are SetReadIdle's
	flagReadsOn                           // SetBackpressure(false)
)

// request is what a connection wants of its loop beyond what its state and
// flags say.
type request uint8

const (
	wantTimer request = 1 << iota // a deadline changed
	wantWake                      // call OnData
	wantAbort                     // end it now
	wantJobs                      // hand over offloaded jobs
)

// alloc takes a free slot, from the lowest chunk that has one so that high
// chunks empty and can be given back.
func (l *eventLoop) alloc() (*chunk, uint32) {
	for l.firstFree < len(l.chunks) {
		if ch := l.chunks[l.firstFree]; ch == nil || ch.free != noSlot {
			break
		}
		l.firstFree++
	}
	if l.firstFree == len(l.chunks) {
		l.chunks = append(l.chunks, nil)
	}
	ch := l.chunks[l.firstFree]
	if ch == nil {
		ch = &chunk{loop: l, base: uint32(l.firstFree) << slotBits}
		for i := range ch.slots {
			ch.slots[i].nextFree = uint16(i + 1)
		}
		l.chunks[l.firstFree] = ch
	}
	i := uint32(ch.free)
	ch.free = ch.slots[i].nextFree
	ch.used++
	return ch, i
}

// release frees a slot whose connection has ended. From here on every handle
// of that connection is stale.
func (l *eventLoop) release(ch *chunk, i uint32) {
	s := &ch.slots[i]
	s.mu.Lock()
	gen := s.gen + 1
	s.state, s.flags, s.want = stateFree, 0, 0
	s.gen, s.pending, s.fd, s.idle = gen, 0, -1, 0
	s.active, s.readEnd, s.writeEnd = 0, 0, 0
	ch.peers[i] = peerAddr{}
	act := ch.refs[i].act
	ch.refs[i] = refs{}
	s.mu.Unlock()
	if act != nil {
		act.recycle(l)
	}
	s.nextFree, ch.free = ch.free, uint16(i)
	ch.used--
	// Empty chunks go back, but for the one in which the next connection
	// would land. Stale handles keep their own chunk alive, and a chunk made
	// later in its place is another object.
	n := int(ch.base >> slotBits)
	if n < l.firstFree {
		n, l.firstFree = l.firstFree, n
	}
	if n > l.firstFree && n < len(l.chunks) && l.chunks[n] != nil && l.chunks[n].used == 0 {
		l.chunks[n] = nil
	}
}

// at finds the slot of a driver's ID.
func (l *eventLoop) at(id uint32) (*chunk, uint32) {
	return l.chunks[id>>slotBits], id & slotMask
}

// conn makes the handle of slot i's present connection. Loop only.
func (ch *chunk) conn(i uint32) Conn {
	return Conn{ch, ch.slots[i].gen<<slotBits | uint64(i)}
}

// maxWait stands for every longer time: what is never due within it need not
// be told apart, and sums of two of them do not overflow.
const maxWait = 100 * 365 * 24 * time.Hour

// ms is the unit of the loop's timers: whole milliseconds, rounded up so that
// nothing fires early.
func ms(d time.Duration) int64 {
	return int64((min(d, maxWait) + time.Millisecond - 1) / time.Millisecond)
}
