package sim

import (
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

const (
	// passItems is how many items a Poll handles at least, if they keep
	// coming, so that a long queue of a listener needs few Polls.
	passItems = 64

	// receiveBytes is the most that one Received carries.
	receiveBytes = 64 << 10

	// scribbled is what a loan that has ended is overwritten with.
	scribbled = 0xDB
)

// item is something that a loop has to look at.
type item struct {
	kind itemKind
	n    uint32
}

type itemKind uint8

const (
	endItem    itemKind = iota // end n
	acceptItem                 // the acceptor with id n
	closedItem                 // connection n is closed, but not reported so
)

// ready is the items of a loop in the order of their arrival.
type ready struct {
	items []item
	head  int
}

func (r *ready) len() int { return len(r.items) - r.head }

// pop takes item k of those that wait.
func (r *ready) pop(k int) item {
	it := r.items[r.head+k]
	r.items[r.head+k] = r.items[r.head]
	if r.head++; r.head == len(r.items) {
		r.items, r.head = r.items[:0], 0
	}
	return it
}

// push puts it on the ready list.
func (d *loop) push(it item) {
	r := &d.ready
	if r.head > 0 && len(r.items) == cap(r.items) {
		r.items = r.items[:copy(r.items, r.items[r.head:])]
		r.head = 0
	}
	r.items = append(r.items, it)
	d.ring()
}

type eventKind uint8

const (
	noEvent eventKind = iota
	acceptedEvent
	connectedEvent
	receivedEvent
	sentEvent
	closedEvent
)

// event is the arguments of one call of driver.Events.
type event struct {
	kind  eventKind
	id    driver.ID
	fd    int
	n     int
	block *buffer.Block
	p     []byte
	err   error
}

// Poll reports some of what is ready. In live mode it waits until something
// is; in stepped mode it never does, and the seed says how much is reported.
func (d *loop) Poll(wait time.Duration) error {
	d.enter("Poll")
	n := d.net
	defer n.mu.Unlock()
	if d.polling || d.closed {
		d.violate("Poll from inside Poll or after Close")
		return fmt.Errorf("sim: Poll: %w", os.ErrInvalid)
	}
	d.polling = true
	defer func() { d.polling = false }()
	if n.chance(n.faults.EarlyReturn) {
		return nil
	}
	budget := max(d.ready.len(), passItems)
	if n.live {
		d.sleep(wait)
	} else {
		budget = 1 + n.rng.IntN(budget)
	}
	d.woken = false
	for ; budget > 0 && d.ready.len() > 0; budget-- {
		if ev := d.next(); ev.kind != noEvent {
			d.report(ev)
		}
	}
	for _, it := range d.late {
		d.push(it)
	}
	d.late = d.late[:0]
	return nil
}

// sleep waits until an item is ready, Wake was called or the wait is over.
func (d *loop) sleep(wait time.Duration) {
	var over <-chan time.Time
	if wait > 0 {
		t := time.NewTimer(wait)
		defer t.Stop()
		over = t.C
	}
	for d.ready.len() == 0 && !d.woken && wait != 0 {
		d.net.mu.Unlock()
		select {
		case <-d.signal:
		case <-over:
			wait = 0
		}
		d.net.mu.Lock()
	}
}

// report makes the call that ev stands for, without the lock. The lock is
// taken again even if the call does not return, as in t.Fatal.
func (d *loop) report(ev event) {
	d.net.mu.Unlock()
	defer d.net.mu.Lock()
	switch ev.kind {
	case acceptedEvent:
		d.events.Accepted(ev.id, ev.fd, ev.err)
	case connectedEvent:
		d.events.Connected(ev.id, ev.fd, ev.err)
	case receivedEvent:
		d.events.Received(ev.id, ev.block, ev.p, ev.err)
		if ev.block != nil {
			endLoan(ev.block, ev.p)
		}
	case sentEvent:
		d.events.Sent(ev.id, ev.n, ev.err)
	case closedEvent:
		d.events.Closed(ev.id)
	}
}

// endLoan takes a block back. Unless it was retained, its bytes are spoiled,
// so that a use after the loan shows.
func endLoan(b *buffer.Block, p []byte) {
	if !b.Shared() {
		for i := range p {
			p[i] = scribbled
		}
	}
	b.Release()
}

// next takes an item from the ready list and makes its event, if it has one.
func (d *loop) next() event {
	n := d.net
	k := 0
	if !n.live || n.chance(n.faults.Reorder) {
		k = n.rng.IntN(d.ready.len())
	}
	it := d.ready.pop(k)
	if n.chance(n.faults.Delay) {
		d.late = append(d.late, it)
		return event{}
	}
	switch it.kind {
	case acceptItem:
		return d.accept(driver.ID(it.n))
	case closedItem:
		d.ids[it.n] = 0
		return event{kind: closedEvent, id: driver.ID(it.n)}
	}
	// The item may be older than the connection that has the slot now; what
	// is not its loop's, or not ripe, has no event.
	e := n.ends.at(it.n)
	if e.loop != d.number {
		return event{}
	}
	e.flags &^= queued
	if !n.ripe(it.n) {
		return event{}
	}
	ev := d.step(it.n)
	n.touch(it.n)
	return ev
}

// step does what is next for end i, which is ripe.
func (d *loop) step(i uint32) event {
	n := d.net
	e := n.ends.at(i)
	switch e.state {
	case dialing:
		return d.connect(i)
	case shutting:
		n.abandon(i)
		d.leave(i)
		return event{}
	case detaching:
		if n.ends.peek(e).taken != nil {
			return d.receive(i)
		}
		e.state, e.loop = detached, 0
		d.ids[e.id] = 0
		return event{kind: closedEvent, id: driver.ID(e.id)}
	}
	if e.is(isTCP) && !e.is(broken) && n.chance(n.faults.Reset) {
		n.sever(i)
	}
	in, out := n.receivable(i), n.answerable(i)
	if out && (!in || n.coin()) {
		return d.answer(i)
	}
	return d.receive(i)
}

// receive reports the next bytes of end i, or else how they ended. An end of
// the Completion kind may take the bytes now and report them in a later Poll.
func (d *loop) receive(i uint32) event {
	n := d.net
	e := n.ends.at(i)
	ev := event{kind: receivedEvent, id: driver.ID(e.id)}
	x := n.ends.peek(e)
	if x.taken == nil && x.in.len() > 0 {
		d.fetch(i, x)
		if e.is(completion) && n.coin() {
			e.flags |= queued
			d.late = append(d.late, item{kind: endItem, n: i})
			return event{}
		}
	}
	switch {
	case x.taken != nil:
		ev.block, ev.p = x.taken, x.taken.Bytes()[x.from:x.to:x.to]
		x.taken = nil
		n.ends.settle(e)
		return ev
	case e.is(broken):
		ev.err = os.NewSyscallError("recv", syscall.ECONNRESET)
	default:
		ev.err = io.EOF
	}
	e.flags |= ended
	return ev
}

// fetch moves bytes of end i from the kernel into a block, somewhere in it.
func (d *loop) fetch(i uint32, x *extra) {
	n := d.net
	k := min(x.in.len(), receiveBytes)
	if n.chance(n.faults.ShortRead) {
		// Small pieces of every order of magnitude, often single bytes.
		k = 1 + n.rng.IntN(min(k, 1<<n.rng.IntN(13)))
	}
	x.taken = d.pool.Get(k)
	x.from = n.rng.IntN(min(len(x.taken.Bytes())-k, 15) + 1)
	x.to = x.from + n.read(i, x.taken.Bytes()[x.from:x.from+k])
}
