//go:build linux

package proactor

import (
	"net"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
	"github.com/sluice-go/sluice/internal/uring"
)

// Dial implements driver.Driver.
func (d *proactor) Dial(id driver.ID, addr net.Addr) {
	fd, err := sock.Connect(addr)
	c := d.begin(id, dialing, fd)
	d.dials[id] = addr
	if addr.Network() == "unix" {
		c.flow = local
	}
	if err != nil {
		d.reports = append(d.reports, report{id, c.generation, err})
		return
	}
	d.ring.PollWritable(fd, userData(connecting, c.generation, id))
	c.underWay |= connect
	d.underWay++
}

// connected reports the outcome of Dial, now that the kernel knows it.
func (d *proactor) connected(id driver.ID, r *uring.Completion) {
	c := &d.conns[id]
	c.underWay &^= connect
	d.underWay--
	if c.state == closing {
		d.join(id, c)
		return
	}
	err := r.Err()
	if err == nil {
		err = sock.Connected(int(c.fd), d.dials[id])
	}
	if err != nil {
		d.undial(id, c, err)
		return
	}
	delete(d.dials, id)
	c.state, c.fd = open, int32(d.direct(int(c.fd)))
	d.receive(id, c)
	d.events.Connected(id, int(c.fd), nil)
}

// undial reports that Dial failed.
func (d *proactor) undial(id driver.ID, c *conn, err error) {
	delete(d.dials, id)
	d.letGo(c)
	c.end()
	d.events.Connected(id, -1, err)
}
