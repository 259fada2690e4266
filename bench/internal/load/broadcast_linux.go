package load

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// errNoRoom is a server that has no rooms.
var errNoRoom = errors.New("broadcasts are for WebSocket servers, and at least one at a time")

// Broadcast opens all connections to a server that sends every message to all
// of them and tells each when it is among them, calls ready, as Loop does, and
// then keeps cfg.Window messages of the first connection under way: the next is
// published when there is one that all connections have. A request is a delivery;
// a latency lasts from the publishing of a message to its last delivery.
func Broadcast(cfg Config, ready func() error) (Result, error) {
	if !cfg.WebSocket || cfg.Window < 1 {
		return Result{}, errNoRoom
	}
	g, err := newGenerator(cfg)
	if err != nil {
		return Result{}, err
	}
	defer g.close()
	a := &audience{generator: g, deliveries: make([]uint32, cfg.Conns), rounds: make([]round, cfg.Window)}
	g.took, g.lost = a.take, a.leave
	if err := g.connectAll(); err != nil {
		return Result{}, err
	}
	if err := ready(); err != nil {
		return Result{}, err
	}
	a.publish()
	return g.measure()
}

// publisher is the connection whose messages go to all.
const publisher = 0

// audience is connections to all of which the messages of one are sent. In
// its generator a connection waits while it has not got all that was published,
// and received is of the message that it gets.
type audience struct {
	*generator
	deliveries []uint32 // by connection: the number of the last message that it has got
	rounds     []round  // of the messages under way, by their number modulo their most
	published  uint32   // the number of the last message
	done       uint32   // that of the last one that all connections have
}

// round is a message under way.
type round struct {
	began   time.Duration // when it was published, since the generator began
	missing int           // connections that have not got it
}

func (a *audience) round(seq uint32) *round { return &a.rounds[seq%uint32(len(a.rounds))] }

// publish sends messages until as many are under way as are to be.
func (a *audience) publish() {
	c := &a.conns[publisher]
	for !a.ending && c.fd >= 0 && !c.stalled && a.published-a.done < uint32(len(a.rounds)) {
		a.published++
		*a.round(a.published) = round{began: a.now()}
		for i := range a.conns {
			a.await(i)
		}
		c.seq, c.sent = a.published, 0
		a.send(publisher)
	}
}

// await notes that connection i, if it is open, is to get one message more.
func (a *audience) await(i int) {
	c := &a.conns[i]
	if c.fd < 0 {
		return
	}
	a.round(a.published).missing++
	if !c.waiting {
		c.waiting = true
		a.waiting++
	}
}

// take compares what a read of connection i yielded.
func (a *audience) take(i, n int, err error) {
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err == nil && n == 0:
		err = errClosed
	}
	a.received += int64(max(n, 0))
	for got := a.in[:max(n, 0)]; len(got) > 0 && err == nil; {
		part := min(len(got), a.reply-a.conns[i].received)
		err = a.accept(i, got[:part])
		got = got[part:]
	}
	if err != nil {
		a.fail(i, err)
	}
	a.publish()
}

// accept compares a part of one message.
func (a *audience) accept(i int, got []byte) error {
	c := &a.conns[i]
	if a.deliveries[i] == a.published {
		return errSurplus
	}
	if !a.talk.right(publisher, a.deliveries[i]+1, c.received, got) {
		return errWrong
	}
	c.received += len(got)
	if c.received < a.reply {
		return nil
	}
	c.received = 0
	a.deliveries[i]++
	a.requests++
	a.arrive(a.deliveries[i])
	if a.deliveries[i] == a.published {
		a.settle(c)
	}
	return nil
}

// arrive notes that one connection less misses a message.
func (a *audience) arrive(seq uint32) {
	r := a.round(seq)
	if r.missing--; r.missing == 0 {
		a.done = seq // the ones before it have come to all, since they come in order
		a.latencies.record(a.now()-r.began, 1)
	}
}

// leave notes that connection i, which has failed, gets no more.
func (a *audience) leave(i int) {
	for seq := a.deliveries[i] + 1; seq <= a.published; seq++ {
		a.arrive(seq)
	}
}
