package portable

import (
	"net"
	"sync"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// result is what a goroutine has to tell the loop.
type result struct {
	kind kind
	last bool // true exactly when the goroutine has ended with it

	conn     *conn     // of all but accepted
	acceptor *acceptor // of accepted

	block *buffer.Block // of received
	n     int           // of received and sent: bytes
	made  net.Conn      // of accepted and dialed
	err   error
}

type kind uint8

const (
	accepted kind = iota
	dialed
	received
	sent
	ending // nothing but that the connection was shut or a goroutine ended
)

// results is the queue from the goroutines to the loop.
type results struct {
	mu     sync.Mutex
	list   []result
	woken  bool          // true exactly when Wake came after the last wait
	signal chan struct{} // holds one element after a post or Wake
}

// post adds r. Any goroutine may call it.
func (q *results) post(r result) {
	q.mu.Lock()
	q.list = append(q.list, r)
	q.mu.Unlock()
	q.ring()
}

// wake ends the wait in progress or else the next one.
func (q *results) wake() {
	q.mu.Lock()
	q.woken = true
	q.mu.Unlock()
	q.ring()
}

func (q *results) ring() {
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// wait waits for a result or wake, no longer than limit (for ever if it is
// negative), and returns how many results there are.
func (q *results) wait(limit time.Duration) int {
	var over <-chan time.Time
	if limit > 0 {
		t := time.NewTimer(limit)
		defer t.Stop()
		over = t.C
	}
	for {
		q.mu.Lock()
		k := len(q.list)
		if k > 0 || q.woken || limit == 0 {
			q.woken = false
			q.mu.Unlock()
			return k
		}
		q.mu.Unlock()
		select {
		case <-q.signal:
		case <-over:
			limit = 0
		}
	}
}

// take removes the first result; false if there is none.
func (q *results) take() (result, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.list) == 0 {
		return result{}, false
	}
	r := q.list[0]
	if q.list[0] = (result{}); len(q.list) == 1 {
		q.list = q.list[:0]
	} else {
		q.list = q.list[1:]
	}
	return r, true
}

// withdraw removes the connection that a has posted and that was not taken
// yet; nil if there is none.
func (q *results) withdraw(a *acceptor) net.Conn {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, r := range q.list {
		if r.acceptor == a {
			q.list = append(q.list[:i], q.list[i+1:]...)
			return r.made
		}
	}
	return nil
}
