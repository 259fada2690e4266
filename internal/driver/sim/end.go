package sim

import "github.com/sluice-go/sluice/buffer"

// state says who holds an end of a connection.
type state uint8

const (
	vacant    state = iota // the slot is free
	unborn                 // the far end of an attempt that was not answered yet
	waiting                // in the queue of a listener
	accepted               // has a descriptor, but no driver
	dialing                // a driver connects it
	open                   // a driver's, with events in both directions
	shutting               // shut, but not closed while its Send is under way
	detaching              // detached, Closed still to come
	detached               // has a descriptor, which is the caller's
	outside                // held by a Peer
	gone                   // closed; the other end is not
)

// flags are facts about an end.
type flags uint16

const (
	isTCP      flags = 1 << iota // set exactly when the connection is TCP, not Unix
	completion                   // its personality is Completion
	paused                       // Pause came after the last Resume
	sending                      // a Send is unanswered
	spurious                     // its answer will come though nothing was freed
	finished                     // the other end sends no more: EOF follows what is queued
	broken                       // reset: the error follows what is queued, nothing can be sent
	ended                        // Received has reported EOF or an error
	writeEnded                   // this end sends no more
	aborting                     // shut so that the other end sees a reset
	noDelay                      // Nagle's algorithm is off
	queued                       // on the ready list of its loop
)

// end is one end of a connection. The ends of a connection are neighbours:
// the other end of i is i^1. An end holds no pointer, so that a million of
// them cost the garbage collector nothing; what only busy ends need is in
// extra.
type end struct {
	generation uint32 // of the slot; a Peer of an earlier one is stale
	fd         int32  // -1 without a descriptor
	id         uint32 // its name towards its loop
	extra      uint32 // index of its extra; 0 for none
	place      uint32 // its address, see places
	loop       uint16 // number of the loop whose driver holds it; 0 for none
	keepAlive  uint16 // seconds; 0 is off
	flags      flags
	state      state
}

func (e *end) is(f flags) bool { return e.flags&f != 0 }

// extra is the part of an end that exists only while it is busy.
type extra struct {
	in    queue         // bytes that have arrived, in what would be the kernel
	taken *buffer.Block // bytes that the driver took from in but has not reported
	from  int           // they are taken.Bytes()[from:to]
	to    int
	op    operation // the Send under way of a Completion end
	wait  *waiter   // for the goroutines that block on a Peer
}

// idle is true exactly when x holds nothing.
func (x *extra) idle() bool {
	return x.in.len() == 0 && x.taken == nil && x.op.bufs == nil && x.wait == nil
}

const (
	chunkBits = 12 // ends per chunk, as a power of two: chunks of 112 KiB
	chunkEnds = 1 << chunkBits

	// keptBytes is the largest queue buffer worth keeping for the next
	// connection that gets busy.
	keptBytes = 1 << 10
)

// slab holds all ends, in chunks that never move, and their extras.
type slab struct {
	chunks []*[chunkEnds]end
	next   uint32   // the first end never used; those below 2 stay unused
	free   []uint32 // even ends of free pairs, reused last in first out

	extras []*extra // extras[0] is unused
	spare  []uint32 // idle extras
}

// at returns end i.
func (s *slab) at(i uint32) *end { return &s.chunks[i>>chunkBits][i&(chunkEnds-1)] }

// pair takes a free pair of ends and returns the even one.
func (s *slab) pair() uint32 {
	if k := len(s.free); k > 0 {
		i := s.free[k-1]
		s.free = s.free[:k-1]
		return i
	}
	s.next = max(s.next, 2)
	i := s.next
	s.next += 2
	if int(i>>chunkBits) == len(s.chunks) {
		s.chunks = append(s.chunks, new([chunkEnds]end))
	}
	return i
}

// release gives back the pair of i, whose ends hold nothing any more.
func (s *slab) release(i uint32) {
	i &^= 1
	for _, e := range []*end{s.at(i), s.at(i + 1)} {
		*e = end{generation: e.generation + 1}
	}
	s.free = append(s.free, i)
}

// busy returns the extra of e, which gets one if it has none.
func (s *slab) busy(e *end) *extra {
	if e.extra == 0 {
		if k := len(s.spare); k > 0 {
			e.extra = s.spare[k-1]
			s.spare = s.spare[:k-1]
		} else {
			if len(s.extras) == 0 {
				s.extras = append(s.extras, nil)
			}
			e.extra = uint32(len(s.extras))
			s.extras = append(s.extras, new(extra))
		}
	}
	return s.extras[e.extra]
}

// peek returns the extra of e for reading; an end without one has an empty
// one.
func (s *slab) peek(e *end) *extra {
	if e.extra == 0 {
		return &noExtra
	}
	return s.extras[e.extra]
}

// noExtra is what all idle ends share. Nothing is ever written to it.
var noExtra extra

// settle takes the extra of e away if it holds nothing.
func (s *slab) settle(e *end) {
	if e.extra == 0 || !s.extras[e.extra].idle() {
		return
	}
	if x := s.extras[e.extra]; cap(x.in.buf) > keptBytes {
		x.in.buf = nil
	}
	s.spare = append(s.spare, e.extra)
	e.extra = 0
}

// queue is bytes in order.
type queue struct {
	buf  []byte
	head int // bytes of buf that are gone
}

func (q *queue) len() int { return len(q.buf) - q.head }

// add copies p to the end.
func (q *queue) add(p []byte) {
	if q.head > 0 && len(q.buf)+len(p) > cap(q.buf) {
		q.buf = q.buf[:copy(q.buf, q.buf[q.head:])]
		q.head = 0
	}
	q.buf = append(q.buf, p...)
}

// take moves bytes from the beginning to p and returns how many.
func (q *queue) take(p []byte) int {
	k := copy(p, q.buf[q.head:])
	q.head += k
	if q.head == len(q.buf) {
		q.clear()
	}
	return k
}

func (q *queue) clear() { q.buf, q.head = q.buf[:0], 0 }
