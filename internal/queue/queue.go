// Package queue hands items from many goroutines over to one event loop.
package queue

import (
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// window is the number of batches, empty ones included, after which the
	// queue gives back slices that were larger than it needed.
	window = 256

	// keepItems is the capacity up to which a slice is never given back.
	keepItems = 256
)

// Queue is an unbounded queue with many producers and one consumer. The zero
// value is empty and ready. A Queue must not be copied after first use.
//
// Producers append to one slice; the consumer works through another and swaps
// the two when it has come to the end. So a producer holds the lock for one
// append, the consumer for one swap per batch, and neither allocates once the
// slices have grown to the size of a batch.
type Queue[T any] struct {
	count atomic.Int64 // items pushed and not yet taken

	mu sync.Mutex
	in []T // items pushed since the latest swap

	// The fields below belong to the consumer.
	out   []T // the batch being taken
	lent  int // out[:lent] was returned by earlier Takes, out[lost:lent] by the latest
	lost  int // out[:lost] is cleared
	turns int // Takes of this window that found out used up
	peak  int // the largest batch of this window
}

// Push appends v. Any goroutine may call it, also the consumer.
func (q *Queue[T]) Push(v T) {
	q.mu.Lock()
	q.in = append(q.in, v)
	q.count.Add(1)
	q.mu.Unlock()
}

// Take removes items from the front and returns them in order: at least one
// and at most max, or nil if the queue is empty or max is not positive. Fewer
// than max does not mean that the queue is empty now. An item pushed after
// Take began is left for the next Take.
//
// The slice is valid until the next Take, which also drops the queue's
// references to these items; a consumer that may not call Take for long can
// clear the slice itself. Only one goroutine may call Take at a time.
func (q *Queue[T]) Take(max int) []T {
	if q.lent > q.lost {
		clear(q.out[q.lost:q.lent])
		q.lost = q.lent
	}
	if q.lent == len(q.out) {
		if q.turns++; q.turns == window {
			q.shrink()
		}
	}
	if max <= 0 || q.count.Load() == 0 {
		return nil
	}
	if q.lent == len(q.out) {
		q.swap()
	}
	n := min(max, len(q.out)-q.lent)
	items := q.out[q.lent : q.lent+n : q.lent+n]
	q.lent += n
	q.count.Add(int64(-n))
	return items
}

// Len returns the number of items that were pushed and not yet taken. Any
// goroutine may call it.
func (q *Queue[T]) Len() int {
	return int(q.count.Load())
}

// Empty reports whether Len is zero. Any goroutine may call it. A Push that
// happened before is always seen, so a consumer that announces that it is about
// to sleep and then finds Empty true can rely on later producers seeing the
// announcement.
func (q *Queue[T]) Empty() bool {
	return q.count.Load() == 0
}

// swap makes the items pushed so far the batch being taken. All of the old one
// was taken and cleared.
func (q *Queue[T]) swap() {
	q.mu.Lock()
	q.in, q.out = q.out[:0], q.in
	q.mu.Unlock()
	q.lent, q.lost = 0, 0
	q.peak = max(q.peak, len(q.out))
}

// shrink ends a window and gives a burst's memory back: a slice of which no
// batch of the window filled a quarter.
func (q *Queue[T]) shrink() {
	limit := max(keepItems, 4*q.peak)
	if cap(q.out) > limit {
		q.out, q.lent, q.lost = nil, 0, 0
	}
	q.mu.Lock()
	if cap(q.in) > max(limit, 4*len(q.in)) {
		q.in = slices.Clone(q.in)
	}
	q.mu.Unlock()
	q.turns, q.peak = 0, 0
}
