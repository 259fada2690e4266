package portable

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// loop is the driver of one loop.
type loop struct {
	sockets
	events    driver.Events
	pool      *buffer.Pool
	start     time.Time
	conns     []*conn     // by id
	acceptors []*acceptor // by id
	running   sync.WaitGroup
	results   results
}

var (
	_ driver.Driver = (*loop)(nil)
	_ driver.System = (*System)(nil)
)

// state says what a connection is to the loop.
type state uint8

const (
	dialing   state = iota
	open            // events flow
	shutting        // Shut; Closed follows when the goroutines have ended
	detaching       // Detach; likewise
)

// conn is a connection of a loop. All but its channels belong to the loop's
// goroutine.
type conn struct {
	id         driver.ID
	fd         int
	conn       net.Conn
	state      state
	goroutines int
	cancel     context.CancelFunc // of the attempt to connect

	paused bool
	held   *result // received while paused
	waits  bool    // true exactly when the reader waits for Resume

	next chan struct{} // tells the reader to read on
	stop chan struct{} // closed when the reader is to end
}

// find returns the connection with name id if it is in state s, else nil.
func (d *loop) find(id driver.ID, s state) *conn {
	if int64(id) >= int64(len(d.conns)) || d.conns[id] == nil || d.conns[id].state != s {
		return nil
	}
	return d.conns[id]
}

// claim makes a connection of the name id, which must be free.
func (d *loop) claim(id driver.ID, s state) (*conn, error) {
	for int64(id) >= int64(len(d.conns)) {
		d.conns = append(d.conns, nil)
	}
	if d.conns[id] != nil {
		return nil, fmt.Errorf("connection %d: %w", id, os.ErrExist)
	}
	c := &conn{id: id, fd: -1, state: s, next: make(chan struct{}, 1), stop: make(chan struct{})}
	d.conns[id] = c
	return c, nil
}

// Listen begins accepting. One driver at a time may accept from a descriptor.
func (d *loop) Listen(l driver.ID, fd int) error {
	ln := d.system.get(fd).listener
	if ln == nil {
		return fmt.Errorf("descriptor %d: %w", fd, net.ErrClosed)
	}
	for int64(l) >= int64(len(d.acceptors)) {
		d.acceptors = append(d.acceptors, nil)
	}
	d.system.mu.Lock()
	defer d.system.mu.Unlock()
	if ln.used || d.acceptors[l] != nil {
		return fmt.Errorf("listener %d on descriptor %d: %w", l, fd, os.ErrExist)
	}
	a := &acceptor{id: l, listener: ln, next: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	ln.used = true
	d.acceptors[l] = a
	first := ln.kept
	ln.kept = nil
	go d.accept(a, first)
	return nil
}

// Unlisten ends accepting. What was accepted but not reported waits for the
// next Listen.
func (d *loop) Unlisten(l driver.ID) {
	if int64(l) >= int64(len(d.acceptors)) || d.acceptors[l] == nil {
		return
	}
	a := d.acceptors[l]
	close(a.stop)
	d.forget(a)
}

// forget ends a, which is to stop or has failed.
func (d *loop) forget(a *acceptor) {
	// The goroutine is either on its way out already or in Accept, which
	// the deadline ends. Errors mean that the listener is closed, as well.
	ln := a.listener.Listener.(interface{ SetDeadline(time.Time) error })
	ln.SetDeadline(time.Unix(1, 0))
	<-a.done
	ln.SetDeadline(time.Time{})
	d.acceptors[a.id] = nil
	s := d.system
	s.mu.Lock()
	defer s.mu.Unlock()
	a.listener.used = false
	a.listener.kept = d.results.withdraw(a)
}

// Open takes an accepted descriptor, or one that was detached.
func (d *loop) Open(id driver.ID, fd int) (int, error) {
	nc, err := d.conn(fd)
	if err != nil {
		return -1, err
	}
	c, err := d.claim(id, open)
	if err != nil {
		d.system.remove(fd)
		nc.Close()
		return -1, err
	}
	d.begin(c, fd, nc)
	return fd, nil
}

// begin lets c receive from nc.
func (d *loop) begin(c *conn, fd int, nc net.Conn) {
	c.fd, c.conn, c.state = fd, nc, open
	d.launch(c, func() { d.read(c) })
}

// launch runs f, whose last result says that it is so, for c.
func (d *loop) launch(c *conn, f func()) {
	c.goroutines++
	d.running.Go(f)
}

// Dial begins connecting.
func (d *loop) Dial(id driver.ID, addr net.Addr) {
	c, err := d.claim(id, dialing)
	if err != nil {
		return // Only a Connected of the other one may follow.
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel = cancel
	d.launch(c, func() { d.dial(ctx, c, addr) })
}

// Pause stops the flow of Received.
func (d *loop) Pause(id driver.ID) {
	if c := d.find(id, open); c != nil {
		c.paused = true
	}
}

// Resume starts the flow of Received again.
func (d *loop) Resume(id driver.ID) {
	c := d.find(id, open)
	if c == nil {
		return
	}
	c.paused = false
	d.unhold(c)
	if c.waits {
		c.waits = false
		c.next <- struct{}{}
	}
}

// unhold puts what was held back where it is taken again. It is the only
// result of its reader, so the order stays.
func (d *loop) unhold(c *conn) {
	if c.held != nil {
		d.results.post(*c.held)
		c.held = nil
	}
}

// Send begins a write in a goroutine; it takes nothing at once.
func (d *loop) Send(id driver.ID, bufs [][]byte) (int, error) {
	c := d.find(id, open)
	if c == nil {
		return 0, net.ErrClosed
	}
	total := 0
	for _, p := range bufs {
		total += len(p)
	}
	if total > 0 {
		// The writing changes the slice, which is the caller's.
		own := append(net.Buffers(nil), bufs...)
		d.launch(c, func() { d.write(c, own) })
	}
	return 0, nil
}

// CloseWrite ends the sending direction. If it fails the connection is broken,
// which Received tells.
func (d *loop) CloseWrite(id driver.ID) {
	if c := d.find(id, open); c != nil {
		c.conn.(interface{ CloseWrite() error }).CloseWrite()
	}
}

// Shut ends a connection.
func (d *loop) Shut(id driver.ID, abort bool) {
	if c := d.find(id, dialing); c != nil {
		c.cancel()
		c.state = shutting
		return
	}
	c := d.find(id, open)
	if c == nil {
		return
	}
	c.state = shutting
	d.drop(c)
	if tcp, ok := c.conn.(*net.TCPConn); ok && abort {
		tcp.SetLinger(0)
	}
	d.system.remove(c.fd)
	c.conn.Close()
	d.end(c)
}

// Detach ends a connection but leaves its descriptor open.
func (d *loop) Detach(id driver.ID) (int, error) {
	c := d.find(id, open)
	if c == nil {
		return -1, net.ErrClosed
	}
	c.state = detaching
	d.unhold(c)
	c.conn.SetReadDeadline(time.Unix(1, 0))
	d.end(c)
	return c.fd, nil
}

// end lets the reader of c end, and Closed follow.
func (d *loop) end(c *conn) {
	close(c.stop)
	if c.goroutines == 0 {
		d.results.post(result{kind: ending, conn: c})
	}
}

// drop gives back what c held.
func (d *loop) drop(c *conn) {
	if c.held != nil && c.held.block != nil {
		c.held.block.Release()
	}
	c.held = nil
}

// Wake ends the Poll in progress or else the next one.
func (d *loop) Wake() { d.results.wake() }

// Now is the time since the driver was made.
func (d *loop) Now() time.Duration { return time.Since(d.start) }

// Counters is empty: package net does not tell.
func (d *loop) Counters() driver.Counters { return driver.Counters{} }

// Close frees the driver. It waits for its goroutines, which end at once.
func (d *loop) Close() error {
	for l := range d.acceptors {
		d.Unlisten(driver.ID(l))
	}
	for id, c := range d.conns {
		if c == nil {
			continue
		}
		if c.state == detaching {
			d.system.remove(c.fd) // Closed did not come: still the driver's.
			c.conn.Close()
		}
		d.Shut(driver.ID(id), false)
	}
	d.running.Wait()
	for r, ok := d.results.take(); ok; r, ok = d.results.take() {
		if r.block != nil {
			r.block.Release()
		}
		if r.made != nil {
			r.made.Close()
		}
	}
	d.conns = nil
	return nil
}
