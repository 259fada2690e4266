//go:build linux

package proactor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
	"github.com/sluice-go/sluice/internal/uring"
)

// start is the fixed moment of every driver's clock.
var start = time.Now()

// proactor is a driver over a ring.
type proactor struct {
	sock.Sockets
	system *system
	events driver.Events
	pool   *buffer.Pool
	ring   *uring.Ring

	lent    *lending
	scratch *buffer.Block // what connections are read into that are polled
	writer  sock.Writer

	conns     []conn     // by driver.ID
	listeners []listener // by driver.ID
	table     *table     // nil unless connections are direct
	arriving  int        // the descriptor that Accepted is being called with, if that is TCP
	dials     map[driver.ID]net.Addr
	held      map[driver.ID]*held // what came for connections that are paused
	underWay  int                 // operations that the kernel will still report

	backlog []uring.Completion // what unaccept took that was not for it
	taken   int                // of those

	reports, spare []report    // for the next Poll; spare is reused memory
	hungry         []report    // connections that there was no buffer for
	starved        []report    // those that had some before, for which the others come first
	starvings      int64       // how often there was none
	arrivals       []driver.ID // listeners for which somebody waits

	err error // why the driver cannot go on, if it cannot

	// waking keeps the ring open while it is being woken.
	waking  sync.RWMutex
	running bool        // true exactly when the ring is enabled
	closed  bool        // true exactly when it is no more
	awake   atomic.Bool // true exactly when a wake is on its way
	eventfd int         // what wakes the ring where it cannot be done directly, or -1
}

// operation is what an entry in the ring is about.
type operation uint8

const (
	accepting operation = iota
	connecting
	receiving
	sending
	cancelling
	waking
	ending     // of the sending direction
	installing // a descriptor, while the driver waits for it
	resetting  // likewise
)

// userData is what the kernel hands back: the operation, and whose it is.
func userData(o operation, generation uint32, id driver.ID) uint64 {
	return uint64(o)<<56 | uint64(generation)<<32 | uint64(id)
}

// generationMask is for what userData has room for.
const generationMask = 1<<24 - 1

// Poll implements driver.Driver.
func (d *proactor) Poll(wait time.Duration) error {
	d.run()
	if len(d.reports) > 0 {
		d.report()
		wait = 0
	}
	if len(d.arrivals) > 0 {
		d.arrive()
		wait = 0
	}
	d.feed()
	if len(d.hungry)+len(d.starved) > 0 || d.taken < len(d.backlog) {
		wait = 0
	}
	if d.err != nil {
		return d.err
	}
	if err := d.ring.Enter(wait); err != nil {
		return d.fail(err)
	}
	// Those that come meanwhile are for the next Poll: polls of connections that
	// stay readable complete when they are submitted, and there would be no end.
	for n := len(d.backlog) - d.taken + d.ring.Ready(); n > 0; n-- {
		c, ok := d.next()
		if !ok {
			break // finishNow took it
		}
		d.completed(&c)
	}
	return d.err
}

// next takes the next completion, if there is one.
func (d *proactor) next() (uring.Completion, bool) {
	if d.taken < len(d.backlog) {
		d.taken++
		return d.backlog[d.taken-1], true
	}
	d.backlog, d.taken = d.backlog[:0], 0
	return d.ring.Next()
}

// run binds the driver to the goroutine of its loop, which is known when the
// first operation is to be prepared.
func (d *proactor) run() {
	if d.running || d.err != nil {
		return
	}
	runtime.LockOSThread() // until Close: the ring is this thread's
	if err := d.enable(); err != nil {
		runtime.UnlockOSThread()
		d.fail(err)
	}
}

// enable makes the ring ready. The next Poll is woken: by what finds out how that
// is done, and for those who called Wake before.
func (d *proactor) enable() error {
	d.waking.Lock()
	defer d.waking.Unlock()
	if err := d.ring.Enable(); err != nil {
		return err
	}
	if d.ring.Wake(userData(waking, 0, 0)) == nil {
		d.running = true
		return nil
	}
	fd, err := unix.Eventfd(1, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("eventfd", err)
	}
	d.eventfd, d.running = fd, true
	d.listenForWakes()
	return nil
}

// listenForWakes has every write to the eventfd reported.
func (d *proactor) listenForWakes() {
	d.ring.PollArrivals(d.eventfd, userData(waking, 0, 0))
	d.underWay++
}

// completed passes on what the kernel reports.
func (d *proactor) completed(c *uring.Completion) {
	id, generation := driver.ID(c.UserData), uint32(c.UserData>>32)&generationMask
	switch o := operation(c.UserData >> 56); o {
	case accepting:
		d.accepted(id, c)
	case cancelling: // what was to be cancelled had ended by itself
	case waking:
		d.awake.Store(false)
		if d.eventfd >= 0 && !c.More() {
			d.underWay--
			d.listenForWakes()
		}
	default:
		if d.conns[id].generation != generation {
			// Its user was joined with everything that was under way.
			if !c.More() {
				d.underWay--
			}
			d.fail(fmt.Errorf("proactor: report for connection %d, which has ended", id))
			return
		}
		switch o {
		case receiving:
			d.received(id, c)
		case sending:
			d.sent(id, c)
		case connecting:
			d.connected(id, c)
		case ending:
			d.conns[id].underWay &^= end
			d.underWay--
			if d.conns[id].state == closing {
				d.join(id, &d.conns[id])
			}
		}
	}
}

// feed gives the kernel back the buffers that were used, and lets those receive
// again that there was none for, as many as there are buffers: it would only
// report of the others that there is none.
func (d *proactor) feed() {
	d.lent.publish()
	for room := d.system.buffers; room > 0 && len(d.hungry)+len(d.starved) > 0; room-- {
		first := &d.hungry
		if len(d.hungry) == 0 {
			first = &d.starved
		}
		s := (*first)[0]
		*first = (*first)[1:]
		if c := &d.conns[s.id]; c.generation == s.generation {
			c.flow &^= starved
			d.receive(s.id, c)
		}
	}
}

// fail keeps the first reason why the driver cannot go on, and returns it.
// Poll reports it.
func (d *proactor) fail(err error) error {
	if d.err == nil {
		d.err = err
	}
	return d.err
}

// Wake implements driver.Driver.
func (d *proactor) Wake() {
	d.waking.RLock()
	defer d.waking.RUnlock()
	if d.closed || !d.awake.CompareAndSwap(false, true) || !d.running {
		return
	}
	if d.eventfd >= 0 {
		var one [8]byte
		binary.NativeEndian.PutUint64(one[:], 1)
		_, _ = unix.Write(d.eventfd, one[:]) // fails only if full, which wakes as well
		return
	}
	err := d.ring.Wake(userData(waking, 0, 0))
	for errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EAGAIN) {
		time.Sleep(time.Millisecond)
		err = d.ring.Wake(userData(waking, 0, 0))
	}
}

// Now implements driver.Driver.
func (d *proactor) Now() time.Duration { return time.Since(start) }

// Counters implements driver.Driver.
func (d *proactor) Counters() driver.Counters {
	c := &d.ring.Count
	return driver.Counters{
		Enters: c.Enters, Submissions: c.Submissions, Completions: c.Completions,
		Starved: d.starvings, Overflows: c.Overflows, Direct: d.table.count(),
	}
}

// Close implements driver.Driver. The kernel has let go of all memory when the
// last operation is reported, not when the ring is closed.
func (d *proactor) Close() error {
	d.waking.Lock()
	again := d.closed
	d.closed = true
	d.waking.Unlock()
	if again {
		return nil
	}
	if d.running {
		defer runtime.UnlockOSThread()
		if err := d.abandon(); err != nil {
			forsaken.Store(d, true)
			return err
		}
	}
	var errs []error
	for i := range d.conns {
		c := &d.conns[i]
		if c.state != free && c.fd >= 0 && c.fd&uring.Fixed == 0 && c.flow&detached == 0 {
			errs = append(errs, sock.Close(int(c.fd), c.flow&aborted != 0))
		}
	}
	for id := range d.held {
		d.drop(id)
	}
	for _, ln := range d.listeners {
		errs = append(errs, closeAll(ln.waiting))
	}
	if d.table != nil {
		errs = append(errs, d.ring.CloseFiles())
	}
	errs = append(errs, d.lent.close(), d.ring.Close())
	d.scratch.Release()
	if d.eventfd >= 0 {
		errs = append(errs, os.NewSyscallError("close", unix.Close(d.eventfd)))
	}
	d.conns, d.listeners, d.reports, d.hungry, d.starved, d.arrivals = nil, nil, nil, nil, nil, nil
	return errors.Join(errs...)
}

// forsaken are drivers that the kernel did not let go of: what it may still write
// to must not become anything else.
var forsaken sync.Map

// abandon ends everything that is under way and waits until it has ended.
func (d *proactor) abandon() error {
	for i := range d.conns {
		d.silence(&d.conns[i])
	}
	const patience = 10 // seconds, where milliseconds are the rule
	for range patience {
		d.ring.CancelAll(userData(cancelling, 0, 0))
		for end := time.Now().Add(time.Second); d.underWay > 0 && time.Now().Before(end); {
			if err := d.ring.Enter(100 * time.Millisecond); err != nil {
				return err
			}
			for c, ok := d.next(); ok; c, ok = d.next() {
				d.discard(&c)
			}
		}
		if d.underWay == 0 {
			return nil
		}
	}
	return fmt.Errorf("proactor: %d operations do not end", d.underWay)
}

// discard takes a report that nobody wants any more.
func (d *proactor) discard(c *uring.Completion) {
	switch o := operation(c.UserData >> 56); o {
	case cancelling, installing, resetting:
		return
	case waking:
		if d.eventfd < 0 {
			return
		}
	case accepting:
		if c.Result >= 0 {
			if err := sock.Close(int(c.Result), true); err != nil {
				d.fail(err)
			}
		}
	}
	if !c.More() {
		d.underWay--
	}
}
