package sluice

import "sync"

// Each has the loops call fn for every connection that ln accepted before and
// that has not ended, those that are closing included, and waits until they
// have. fn runs like a callback of the connection: on its loop, never during
// another of its callbacks, and a panic in it costs that connection. Different
// loops call fn at the same time, and each attends to its other work after every
// thousand connections or so. Of those accepted meanwhile some are visited.
//
// Each serves to close what a listener has accepted, after Listener.Close, or to
// count, address or drop some of it. It must not be called from a callback,
// where it would wait for itself. When the engine has ended it does nothing.
func (ln *Listener) Each(fn func(c Conn)) {
	var wg sync.WaitGroup
	for _, l := range ln.eng.loops {
		wg.Add(1)
		w := &walk{l: l, route: ln.acceptors[0].route, fn: fn, done: wg.Done}
		l.do(w.begin)
	}
	wg.Wait()
}

// walk is one loop's way through its connections, for Each.
type walk struct {
	l     *eventLoop
	route *route
	fn    func(Conn)
	done  func()
	wait  int // passes after which those are adopted that were accepted before
	next  int // chunk to go on with
}

// begin notes how many passes the connections need that are on their way to
// the loop: perPass of them are taken in each, fewer in two of them, since the
// queue ends a portion where its producers' next one begins.
func (w *walk) begin() {
	if n := w.l.incoming.Len(); n > 0 {
		w.wait = n/perPass + 2
	}
	w.step()
}

// step visits some chunks and leaves the rest for the next pass.
func (w *walk) step() {
	if w.wait > 0 {
		w.wait--
		w.l.do(w.step)
		return
	}
	for end := w.next + perPass/chunkSize; w.next < len(w.l.chunks); w.next++ {
		if w.next == end {
			w.l.do(w.step)
			return
		}
		if ch := w.l.chunks[w.next]; ch != nil {
			w.visit(ch)
		}
	}
	w.done()
}

// visit calls the function for the connections of one chunk.
func (w *walk) visit(ch *chunk) {
	for i := range uint32(chunkSize) {
		s := &ch.slots[i]
		s.mu.Lock()
		mine := s.state != stateFree && w.l.routes[s.route] == w.route
		s.mu.Unlock()
		if mine {
			w.l.execute("Each", task{c: ch.conn(i), fn: w.fn})
		}
	}
}
