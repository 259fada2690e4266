package sim

import (
	"net"
	"os"
	"syscall"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

const (
	maxLoops = 1<<16 - 1

	// maxID bounds the table of a loop: IDs are to be small dense numbers.
	maxID = 1 << 26

	// leaving stands in the table of a loop for an id whose connection is
	// closed, but not yet reported so.
	leaving = ^uint32(0)
)

// loop is the driver of one loop.
type loop struct {
	sockets
	number uint16
	events driver.Events
	pool   *buffer.Pool
	signal chan struct{} // live mode: holds one element after a push or Wake

	// calls is written without the lock by every method that only the
	// loop's goroutine may call, so that the race detector reports a call
	// from another one.
	calls uint

	// What follows is guarded by net.mu.
	ids       []uint32 // the end of each id; 0 for none
	acceptors []*acceptor
	ready     ready
	late      []item // put off to the next Poll
	polling   bool   // true exactly while Poll runs
	woken     bool   // true exactly when Wake came after the last wait
	closed    bool
}

var (
	_ driver.Driver = (*loop)(nil)
	_ driver.System = (*Network)(nil)
)

// enter begins a method of the loop's goroutine. The caller unlocks net.mu.
func (d *loop) enter(call string) {
	d.calls++
	d.net.mu.Lock()
	if d.closed {
		d.violate("%s after Close", call)
	}
}

func (d *loop) violate(format string, args ...any) {
	d.net.violate("loop %d: "+format, append([]any{d.number}, args...)...)
}

// find returns the end that id names, if it is open, or being dialed and that
// is allowed. Otherwise it records a violation and returns 0.
func (d *loop) find(id driver.ID, call string, orDialing bool) uint32 {
	if int64(id) < int64(len(d.ids)) && d.ids[id] != 0 {
		i := d.ids[id]
		if i != leaving {
			s := d.net.ends.at(i).state
			if s == open || s == dialing && orDialing {
				return i
			}
			if s == dialing {
				d.violate("%s of connection %d before Connected", call, id)
				return 0
			}
		}
		d.violate("%s of connection %d after Shut or Detach", call, id)
		return 0
	}
	d.violate("%s of unknown connection %d", call, id)
	return 0
}

// claim is true exactly when id is free for a new connection; otherwise it
// records a violation.
func (d *loop) claim(id driver.ID, call string) bool {
	if id >= maxID {
		d.violate("%s: %d is not a small number", call, id)
		return false
	}
	if int(id) < len(d.ids) && d.ids[id] != 0 {
		d.violate("%s: connection %d is in use", call, id)
		return false
	}
	for int(id) >= len(d.ids) {
		d.ids = append(d.ids, 0)
	}
	return !d.closed
}

// acceptor returns what accepts under the name l, or nil.
func (d *loop) acceptor(l driver.ID) *acceptor {
	if int64(l) >= int64(len(d.acceptors)) {
		return nil
	}
	return d.acceptors[l]
}

// forget ends a, so that l.by and d.acceptors hold it no more.
func (d *loop) forget(a *acceptor) {
	d.acceptors[a.id] = nil
	by := a.listener.by
	for i := range by {
		if by[i] == a {
			a.listener.by = append(by[:i:i], by[i+1:]...)
			break
		}
	}
}

// Listen begins accepting. Several drivers may accept from one descriptor.
func (d *loop) Listen(l driver.ID, fd int) error {
	d.enter("Listen")
	defer d.net.mu.Unlock()
	ln := d.net.descriptors.listeners[fd]
	if ln == nil || d.closed {
		d.violate("Listen: descriptor %d is no open listener", fd)
		return os.NewSyscallError("listen", syscall.EBADF)
	}
	if l >= maxID || d.acceptor(l) != nil {
		d.violate("Listen: %d is in use or not a small number", l)
		return os.NewSyscallError("listen", syscall.EINVAL)
	}
	for int(l) >= len(d.acceptors) {
		d.acceptors = append(d.acceptors, nil)
	}
	a := &acceptor{loop: d, id: l, listener: ln}
	d.acceptors[l] = a
	ln.by = append(ln.by, a)
	a.touch()
	return nil
}

// Unlisten ends accepting.
func (d *loop) Unlisten(l driver.ID) {
	d.enter("Unlisten")
	defer d.net.mu.Unlock()
	if a := d.acceptor(l); a != nil {
		d.forget(a)
	}
}

// Open takes an accepted descriptor, or one that was detached.
func (d *loop) Open(id driver.ID, fd int) (int, error) {
	d.enter("Open")
	n := d.net
	defer n.mu.Unlock()
	i := n.descriptors.end(fd)
	if i == 0 {
		d.violate("Open: descriptor %d is no open connection", fd)
		return -1, os.NewSyscallError("open", syscall.EBADF)
	}
	e := n.ends.at(i)
	if e.state != accepted && e.state != detached {
		d.violate("Open: descriptor %d is a driver's already", fd)
		return -1, os.NewSyscallError("open", syscall.EEXIST)
	}
	err := syscall.Errno(0)
	if !d.claim(id, "Open") {
		err = syscall.EEXIST
	} else if n.chance(n.faults.OpenFail) {
		err = syscall.ENOMEM
	}
	if err != 0 {
		n.close(i, false)
		return -1, os.NewSyscallError("open", err)
	}
	d.hold(id, i, open)
	n.touch(i)
	return fd, nil
}

// hold makes i the connection id of d.
func (d *loop) hold(id driver.ID, i uint32, s state) {
	e := d.net.ends.at(i)
	d.ids[id] = i
	e.loop, e.id, e.state = d.number, uint32(id), s
	e.flags &^= paused | ended | queued | completion
	if p := d.net.personality; p == Completion || p == Mixed && d.net.coin() {
		e.flags |= completion
	}
}

// Dial begins connecting. Addresses in 192.0.2.0/24 never answer.
func (d *loop) Dial(id driver.ID, addr net.Addr) {
	d.enter("Dial")
	n := d.net
	defer n.mu.Unlock()
	if !d.claim(id, "Dial") {
		return
	}
	p := target(addr)
	i := n.pair(p.ap.IsValid())
	n.ends.at(i ^ 1).place = n.places.numberOf(p)
	d.hold(id, i, dialing)
	if fd, err := n.descriptors.take(i); err == nil {
		n.ends.at(i).fd = int32(fd)
	}
	n.touch(i)
}

// connect ends the attempt of end i.
func (d *loop) connect(i uint32) event {
	n := d.net
	e := n.ends.at(i)
	id, p := driver.ID(e.id), n.places.at(n.ends.at(i^1).place)
	var err error
	switch {
	case e.fd < 0:
		err = dialError(p, os.NewSyscallError("socket", syscall.EMFILE))
	case p.odd != "":
		err = dialError(p, &net.AddrError{Err: "not a TCP or Unix address", Addr: p.odd})
	case !n.reach(i, p):
		err = dialError(p, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	if err != nil {
		n.close(i, false)
		d.ids[id] = 0
		return event{kind: connectedEvent, id: id, fd: -1, err: err}
	}
	e.state = open
	return event{kind: connectedEvent, id: id, fd: int(e.fd)}
}

func dialError(p place, err error) error {
	if p.odd != "" {
		return &net.OpError{Op: "dial", Net: "sim", Err: err}
	}
	return &net.OpError{Op: "dial", Net: p.network(), Addr: p.addr(), Err: err}
}

// Pause stops the flow of Received.
func (d *loop) Pause(id driver.ID) {
	d.enter("Pause")
	defer d.net.mu.Unlock()
	if i := d.find(id, "Pause", false); i != 0 {
		d.net.ends.at(i).flags |= paused
	}
}

// Resume starts the flow of Received again.
func (d *loop) Resume(id driver.ID) {
	d.enter("Resume")
	defer d.net.mu.Unlock()
	if i := d.find(id, "Resume", false); i != 0 {
		d.net.ends.at(i).flags &^= paused
		d.net.touch(i)
	}
}

// Shut ends a connection.
func (d *loop) Shut(id driver.ID, abort bool) {
	d.enter("Shut")
	n := d.net
	defer n.mu.Unlock()
	i := d.find(id, "Shut", true)
	if i == 0 {
		return
	}
	e := n.ends.at(i)
	if abort && e.is(isTCP) {
		e.flags |= aborting
	}
	if e.state == open && e.is(completion) {
		e.state = shutting
		n.touch(i)
		return
	}
	d.leave(i)
}

// leave closes end i and lets Closed follow.
func (d *loop) leave(i uint32) {
	e := d.net.ends.at(i)
	d.ids[e.id] = leaving
	d.push(item{kind: closedItem, n: e.id})
	d.net.close(i, e.is(aborting))
}

// Detach ends a connection but leaves its descriptor open. Its caller may
// Open it again or Take it.
func (d *loop) Detach(id driver.ID) (int, error) {
	d.enter("Detach")
	n := d.net
	defer n.mu.Unlock()
	i := d.find(id, "Detach", false)
	if i == 0 {
		return -1, os.NewSyscallError("detach", syscall.EBADF)
	}
	e := n.ends.at(i)
	if e.is(sending) {
		d.violate("Detach of connection %d while a Send is unanswered", id)
		n.drop(i)
	}
	e.state = detaching
	n.touch(i)
	return int(e.fd), nil
}

// Wake ends the Poll in progress or else the next one.
func (d *loop) Wake() {
	d.net.mu.Lock()
	defer d.net.mu.Unlock()
	d.woken = true
	d.ring()
}

// ring ends the wait of a Poll in live mode.
func (d *loop) ring() {
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

// Now is the virtual time in stepped mode, the real one in live mode.
func (d *loop) Now() time.Duration { return d.net.clock() }

// Counters is empty: there is no kernel.
func (d *loop) Counters() driver.Counters { return driver.Counters{} }

// Close frees the driver and closes its connections.
func (d *loop) Close() error {
	d.enter("Close")
	n := d.net
	defer n.mu.Unlock()
	if d.polling {
		d.violate("Close from inside Poll")
		return os.NewSyscallError("close", syscall.EBUSY)
	}
	if d.closed {
		return net.ErrClosed
	}
	for _, a := range d.acceptors {
		if a != nil {
			d.forget(a)
		}
	}
	for _, i := range d.ids {
		if i != 0 && i != leaving {
			n.close(i, n.ends.at(i).is(aborting))
		}
	}
	d.closed, d.ids, d.acceptors, d.ready = true, nil, nil, ready{}
	return nil
}
