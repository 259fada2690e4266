//go:build linux

package proactor

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
	"github.com/sluice-go/sluice/internal/uring"
)

// report is what the next Poll has to say about a connection, if it is still
// that of the same generation: Closed for one that has ended, err for one that
// could not be dialed, what is held back for one that was resumed.
type report struct {
	id         driver.ID
	generation uint32
	err        error
}

// Shut implements driver.Driver.
func (d *proactor) Shut(id driver.ID, abort bool) {
	c := d.alive(id)
	if c.state == dialing {
		delete(d.dials, id)
	}
	d.drop(id)
	if abort {
		c.flow |= aborted
	}
	d.close(id, c)
}

// Detach implements driver.Driver. What the kernel has received is reported
// before Closed.
func (d *proactor) Detach(id driver.ID) (int, error) {
	c := d.must(id, open)
	if c.underWay&send != 0 {
		panic("proactor: Detach while a Send is unanswered")
	}
	if h := d.held[id]; h != nil && h.err != nil && h.err != io.EOF {
		return -1, h.err // which the kernel tells only once
	}
	fd, err := d.descriptor(c)
	if err != nil {
		return -1, err
	}
	c.flow |= detached
	d.close(id, c)
	return fd, nil
}

// close ends what is under way for c. When that is reported, or in the next
// Poll if there is nothing, c is Closed.
func (d *proactor) close(id driver.ID, c *conn) {
	c.state = closing
	if !d.silence(c) {
		d.stop(id, c)
	}
	if c.underWay&send != 0 {
		d.cancel(id, c, sending)
	}
	if c.underWay&connect != 0 {
		d.cancel(id, c, connecting)
	}
	if c.underWay == 0 {
		d.letGo(c)
		d.reports = append(d.reports, report{id: id, generation: c.generation})
	}
}

// silence has a receive that nobody wants end, and reports whether it does. A TCP
// peer sees nothing of it. To cancel it the kernel would have to find it among those
// of all connections.
func (d *proactor) silence(c *conn) bool {
	if c.underWay&(receive|unreceive) != receive || c.flow&(detached|local) != 0 || c.fd&uring.Fixed != 0 ||
		unix.Shutdown(int(c.fd), unix.SHUT_RD) != nil {
		return false
	}
	c.underWay |= unreceive
	return true
}

// join ends a connection that is closing if nothing of it is under way.
func (d *proactor) join(id driver.ID, c *conn) {
	if c.underWay == 0 {
		d.letGo(c)
		d.gone(id)
	}
}

// letGo closes the descriptor of a connection that ends, unless it is the
// caller's. A descriptor that is closed earlier lives on in the kernel for as
// long as something is under way, and its peer learns nothing.
func (d *proactor) letGo(c *conn) {
	var err error
	switch {
	case c.fd < 0:
	case c.fd&uring.Fixed != 0:
		if c.flow&aborted != 0 {
			data := userData(resetting, 0, 0)
			d.ring.ResetOnClose(int(c.fd), data)
			err = d.finishNow(data, func(int32) {})
		}
		err = errors.Join(err, d.table.remove(int(c.fd&^uring.Fixed)))
	case c.flow&detached == 0:
		err = sock.Close(int(c.fd), c.flow&aborted != 0)
	}
	if c.fd = -1; err != nil {
		d.fail(err)
	}
}

// gone reports that a connection has ended.
func (d *proactor) gone(id driver.ID) {
	if d.conns[id].flow&holding != 0 { // it is detached
		d.deliver(id)
	}
	d.conns[id].end()
	d.events.Closed(id)
}

// report says what has been left for this Poll. What its calls leave is for
// the next one.
func (d *proactor) report() {
	reports := d.reports
	d.reports = d.spare[:0]
	for _, p := range reports {
		c := &d.conns[p.id]
		if c.generation != p.generation {
			continue // it ended before it could be told
		}
		c.flow &^= resumed
		switch {
		case c.state == closing:
			if c.underWay == 0 { // otherwise the last completion ends it
				d.gone(p.id)
			}
		case c.state == dialing:
			d.undial(p.id, c, p.err)
		case c.flow&holding != 0:
			d.deliver(p.id)
		}
	}
	clear(reports)
	d.spare = reports
}
