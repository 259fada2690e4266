//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"net"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
)

// Dial implements driver.Driver. An attempt that succeeds at once is reported
// by the poller like any other, one that fails at once by report.
func (r *reactor) Dial(id driver.ID, addr net.Addr) {
	fd, err := sock.Connect(addr)
	c := r.begin(id, dialing, fd)
	r.dials[id] = addr
	if addr.Network() == "unix" {
		c.flow = local
	}
	if err == nil {
		err = r.await(id, c, writable)
	}
	if err != nil {
		r.reports = append(r.reports, report{id, c.generation, err})
	}
}

// connected reports the outcome of Dial, now that the kernel knows it.
func (r *reactor) connected(id driver.ID, c *conn) {
	if err := sock.Connected(int(c.fd), r.dials[id]); err != nil {
		r.undial(id, c, err)
		return
	}
	delete(r.dials, id)
	fd := int(c.fd)
	c.state = open
	c.want = 0
	if c.flow&paused != 0 {
		r.loosen(id)
	} else if err := r.await(id, c, readable); err != nil {
		r.undial(id, c, err)
		return
	}
	r.events.Connected(id, fd, nil)
}

// undial reports that Dial failed.
func (r *reactor) undial(id driver.ID, c *conn, err error) {
	delete(r.dials, id)
	if fd := r.end(c, free); fd >= 0 {
		r.close(fd, false)
	}
	r.events.Connected(id, -1, err)
}
