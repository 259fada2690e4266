package portable

import "time"

// Poll reports what the goroutines have posted.
func (d *loop) Poll(wait time.Duration) error {
	// Results that are posted meanwhile are for the next Poll. There may
	// also be fewer, for Unlisten withdraws some.
	for k := d.results.wait(wait); k > 0; k-- {
		if r, ok := d.results.take(); ok {
			d.report(r)
		}
	}
	return nil
}

// report tells the loop about r, as far as that is still wanted.
func (d *loop) report(r result) {
	if r.kind == accepted {
		d.reportAccepted(r)
		return
	}
	c := r.conn
	if r.last {
		c.goroutines--
	}
	switch r.kind {
	case dialed:
		d.reportDialed(c, r)
	case received:
		d.reportReceived(c, r)
	case sent:
		if c.state == open {
			d.events.Sent(c.id, r.n, r.err)
		}
	}
	if c.goroutines == 0 && (c.state == shutting || c.state == detaching) && d.conns[c.id] == c {
		d.reportClosed(c)
	}
}

func (d *loop) reportAccepted(r result) {
	a := r.acceptor
	if r.err != nil {
		d.forget(a)
		d.events.Accepted(a.id, -1, r.err)
		return
	}
	d.events.Accepted(a.id, d.system.add(slot{conn: r.made}), nil)
	if d.acceptors[a.id] == a {
		a.next <- struct{}{}
	}
}

func (d *loop) reportDialed(c *conn, r result) {
	c.cancel()
	switch {
	case c.state == shutting:
		if r.made != nil {
			r.made.Close()
		}
	case r.err != nil:
		d.conns[c.id] = nil
		d.events.Connected(c.id, -1, r.err)
	default:
		d.begin(c, d.system.add(slot{conn: r.made}), r.made)
		d.events.Connected(c.id, c.fd, nil)
	}
}

func (d *loop) reportReceived(c *conn, r result) {
	if c.state == open && c.paused {
		r.last = false // That was counted just now.
		c.held = &r
		return
	}
	if r.err != nil {
		// While detaching the error is that of the deadline, or it waits
		// for whoever gets the descriptor.
		if c.state == open {
			d.events.Received(c.id, nil, nil, r.err)
		}
		return
	}
	if c.state != shutting {
		d.events.Received(c.id, r.block, r.block.Bytes()[:r.n:r.n], nil)
	}
	r.block.Release()
	switch {
	case c.state != open:
	case c.paused:
		c.waits = true
	default:
		c.next <- struct{}{}
	}
}

func (d *loop) reportClosed(c *conn) {
	d.conns[c.id] = nil
	if c.state == detaching {
		c.conn.SetReadDeadline(time.Time{})
	}
	d.events.Closed(c.id)
}
