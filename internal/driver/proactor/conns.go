//go:build linux

package proactor

import (
	"fmt"

	"github.com/sluice-go/sluice/internal/driver"
)

// state is how far a connection has come.
type state uint8

const (
	free    state = iota // the id is nobody's
	dialing              // Dial was called; Connected follows
	open                 // bytes flow
	closing              // Shut or Detach was called; Closed follows
)

// conn is what the driver knows about one connection. It is small and has no
// pointers, because there are very many and the garbage collector should not
// have to look at them.
type conn struct {
	fd         int32
	generation uint32 // counts the users of this id, modulo 2^24
	state      state
	underWay   work
	flow       flow
}

// work is what the kernel will still report for a connection.
type work uint8

const (
	connect work = 1 << iota
	receive
	send
	unreceive // with receive: it was told to end
	end       // of the sending direction
)

// flow says what stops the flow of Received, and how the connection is to end.
type flow uint16

const (
	paused   flow = 1 << iota // Pause was called last, not Resume
	finished                  // the end or an error has been reported
	starved                   // there was no buffer; feed goes on
	fed                       // since receiving began, there was one
	holding                   // there is something in held
	detached                  // Detach was called
	aborted                   // Shut was called with abort
	resumed                   // what is held is to be delivered by a report
	bulky                     // it filled a buffer: see lending
	polled                    // what is under way is no receive, but a poll for one
	local                     // it is not TCP
)

// must returns the connection id, which must be in the state s.
func (d *proactor) must(id driver.ID, s state) *conn {
	if int(id) < len(d.conns) {
		if c := &d.conns[id]; c.state == s {
			return c
		}
	}
	panic(fmt.Sprintf("proactor: connection %d is not in the state that this call needs", id))
}

// alive returns the connection id, which must be open or dialing.
func (d *proactor) alive(id driver.ID) *conn {
	if int(id) < len(d.conns) {
		if c := &d.conns[id]; c.state == open || c.state == dialing {
			return c
		}
	}
	panic(fmt.Sprintf("proactor: there is no connection %d", id))
}

// begin gives id to a new connection.
func (d *proactor) begin(id driver.ID, s state, fd int) *conn {
	if n := int(id) + 1 - len(d.conns); n > 0 {
		d.conns = append(d.conns, make([]conn, n)...)
	}
	d.run()
	c := d.must(id, free)
	*c = conn{fd: int32(fd), state: s, generation: c.generation}
	return c
}

// end takes id from its connection, of which nothing is under way.
func (c *conn) end() { *c = conn{fd: -1, generation: (c.generation + 1) & generationMask} }

// cancel ends an operation of id, which is reported.
func (d *proactor) cancel(id driver.ID, c *conn, o operation) {
	d.ring.Cancel(userData(o, c.generation, id), userData(cancelling, 0, 0))
}
