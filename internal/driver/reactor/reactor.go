//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
)

const (
	// readSize is the most that one event may bring. A block of this size
	// stays in the cache of one core, and a connection that fills it each
	// time still leaves the others their turn.
	readSize = 64 << 10

	// acceptMax bounds the connections accepted per event, for the sake of
	// those that are there already.
	acceptMax = 64

	// A batch of events begins at batchMin and doubles, whenever it was
	// full, up to batchMax: a busy loop then asks the kernel less often, an
	// idle one has little memory.
	batchMin = 128
	batchMax = 1024
)

// start is the fixed moment of every driver's clock.
var start = time.Now()

// system makes the drivers over one kind of poller.
type system struct {
	sock.Descriptors
	name      string
	newPoller func() (poller, error)
}

func (s *system) Name() string { return s.name }

func (s *system) Probe() error { return nil }

func (s *system) New(h driver.Events, pool *buffer.Pool) (driver.Driver, error) {
	p, err := s.newPoller()
	if err != nil {
		return nil, fmt.Errorf("cannot make a driver over %s: %w", s.name, err)
	}
	return &reactor{
		events:  h,
		pool:    pool,
		poller:  p,
		batch:   make([]event, batchMin),
		scratch: pool.Get(readSize),
		dials:   map[driver.ID]net.Addr{},

		arriving: -1,
	}, nil
}

// reactor is a driver over a poller.
type reactor struct {
	sock.Sockets
	events driver.Events
	pool   *buffer.Pool
	poller poller

	batch []event // room for what one wait reports
	// batches counts the batches, so that an event for someone who ended
	// earlier in the same one can be told from a mistake.
	batches uint32

	conns     []conn     // by driver.ID
	listeners []listener // by driver.ID
	arriving  int        // the descriptor that Accepted is being called with, if that is TCP
	dials     map[driver.ID]net.Addr

	scratch *buffer.Block // what every connection is read into
	writer  sock.Writer

	reports, spare []report    // for the next Poll; spare is reused memory
	loose          []driver.ID // connections that loosen and miss noted

	count driver.Counters

	err error // why the driver cannot go on, if it cannot

	// waking keeps the poller open while it is being woken.
	waking sync.RWMutex
	closed bool
}

// Poll implements driver.Driver.
func (r *reactor) Poll(wait time.Duration) error {
	if len(r.reports) > 0 {
		r.report()
		wait = 0
	}
	r.tighten()
	if r.err != nil {
		return r.err
	}
	n, err := r.poller.wait(r.batch, wait)
	if err != nil {
		return r.fail(err)
	}
	r.batches++
	r.count.Enters++
	r.count.Completions += int64(n)
	for _, e := range r.batch[:n] {
		if e.token.listener() {
			r.acceptable(driver.ID(e.token.id()), e.token.generation())
		} else {
			r.ready(driver.ID(e.token.id()), e.token.generation(), e.ready)
		}
	}
	if n == len(r.batch) && n < batchMax {
		r.batch = make([]event, 2*n)
	}
	return r.err
}

// ready passes on what an event says about connection id.
func (r *reactor) ready(id driver.ID, generation uint32, ready interest) {
	c := &r.conns[id]
	if c.generation != generation {
		r.stale("connection", id, c.ended)
		return
	}
	if ready&c.watched&^c.want != 0 {
		r.miss(id, c)
	}
	if ready&c.want&readable != 0 {
		r.receive(id, c, ready&behind != 0)
		// The call may have moved c by opening others, or ended it; then it
		// waits for nothing, and its id has no new user before it is Closed.
		c = &r.conns[id]
	}
	switch {
	case ready&c.want&writable == 0:
	case c.state == dialing:
		r.connected(id, c)
	default:
		c.want &^= writable
		r.loosen(id)
		r.events.Sent(id, 0, nil)
	}
}

// stale judges an event for a user of id that has ended. That is as it should
// be if it ended after the kernel had reported the batch; otherwise something
// that nobody remembers is still registered and would be reported for ever.
func (r *reactor) stale(what string, id driver.ID, ended uint32) {
	if ended != r.batches {
		r.fail(fmt.Errorf("reactor: event for %s %d, which has ended", what, id))
	}
}

// fail keeps the first reason why the driver cannot go on, and returns it.
// Poll reports it.
func (r *reactor) fail(err error) error {
	if r.err == nil {
		r.err = err
	}
	return r.err
}

// Wake implements driver.Driver.
func (r *reactor) Wake() {
	r.waking.RLock()
	defer r.waking.RUnlock()
	if !r.closed {
		r.poller.wake()
	}
}

// Now implements driver.Driver.
func (r *reactor) Now() time.Duration { return time.Since(start) }

// Counters implements driver.Driver.
func (r *reactor) Counters() driver.Counters { return r.count }

// Close implements driver.Driver.
func (r *reactor) Close() error {
	r.waking.Lock()
	defer r.waking.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	var errs []error
	for i := range r.conns {
		c := &r.conns[i]
		if (c.state == open || c.state == dialing) && c.fd >= 0 {
			errs = append(errs, sock.Close(int(c.fd), false))
		}
	}
	r.conns, r.listeners, r.reports = nil, nil, nil
	r.scratch.Release()
	return errors.Join(append(errs, r.poller.close())...)
}
