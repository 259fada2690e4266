//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"fmt"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
)

// report is what the next Poll has to say about a connection, if it is still
// that of the same generation: Closed for one that has ended, otherwise err.
type report struct {
	id         driver.ID
	generation uint32
	err        error
}

// alive returns the connection id, which must be open or dialing.
func (r *reactor) alive(id driver.ID) *conn {
	if int(id) < len(r.conns) {
		if c := &r.conns[id]; c.state == open || c.state == dialing {
			return c
		}
	}
	panic(fmt.Sprintf("reactor: there is no connection %d", id))
}

// Shut implements driver.Driver.
func (r *reactor) Shut(id driver.ID, abort bool) {
	c := r.alive(id)
	if c.state == dialing {
		delete(r.dials, id)
	}
	if fd := r.end(c, closing); fd >= 0 {
		r.close(fd, abort)
	}
	r.reports = append(r.reports, report{id: id, generation: c.generation})
}

// Detach implements driver.Driver. Nothing was taken from the kernel that
// was not reported at once.
func (r *reactor) Detach(id driver.ID) (int, error) {
	c := r.must(id, open)
	fd := r.end(c, closing)
	r.reports = append(r.reports, report{id: id, generation: c.generation})
	return fd, nil
}

// close closes a descriptor, which cannot fail unless it is not ours.
func (r *reactor) close(fd int, abort bool) {
	if err := sock.Close(fd, abort); err != nil {
		r.fail(err)
	}
}

// report says what has been left for this Poll. What its calls leave is for
// the next one.
func (r *reactor) report() {
	reports := r.reports
	r.reports = r.spare[:0]
	for _, p := range reports {
		c := &r.conns[p.id]
		if c.generation != p.generation {
			continue // shut before it could be told
		}
		switch {
		case c.state == closing:
			c.state = free
			r.events.Closed(p.id)
		case c.state == dialing:
			r.undial(p.id, c, p.err)
		case c.flow&paused == 0: // Resume failed
			r.finish(p.id, c, p.err)
		}
	}
	clear(reports)
	r.spare = reports
}
