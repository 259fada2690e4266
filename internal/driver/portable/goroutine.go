package portable

import (
	"context"
	"fmt"
	"net"

	"github.com/sluice-go/sluice/internal/driver"
)

// receiveBytes is the most that one Received carries: the size of a block.
const receiveBytes = 8 << 10

// acceptor is a goroutine that accepts from a listener.
type acceptor struct {
	id       driver.ID
	listener *listener
	next     chan struct{} // tells it to accept on
	stop     chan struct{} // closed by Unlisten
	done     chan struct{} // closed when it has ended
}

// accept accepts one connection at a time, so that at most one is known here
// but not to the loop. The first may be one that an earlier acceptor left.
func (d *loop) accept(a *acceptor, first net.Conn) {
	defer close(a.done)
	for {
		c, err := first, error(nil)
		if first = nil; c == nil {
			c, err = a.listener.Accept()
		}
		select {
		case <-a.stop:
			if c == nil {
				return // That was the deadline.
			}
		default:
		}
		if tcp, ok := c.(*net.TCPConn); ok {
			// A failure means that the peer has gone, which Received tells.
			tcp.SetNoDelay(a.listener.options.NoDelay)
			setKeepAlive(tcp, a.listener.options.KeepAlive)
		}
		d.results.post(result{kind: accepted, acceptor: a, made: c, err: err})
		if err != nil {
			return
		}
		select {
		case <-a.next:
		case <-a.stop:
			return
		}
	}
}

// dial connects c to addr.
func (d *loop) dial(ctx context.Context, c *conn, addr net.Addr) {
	r := result{kind: dialed, last: true, conn: c}
	if network := dialable(addr); network == "" {
		r.err = fmt.Errorf("dial: %T is not a TCP or Unix address", addr)
	} else {
		dialer := net.Dialer{KeepAlive: -1}
		dialer.SetMultipathTCP(false)
		r.made, r.err = dialer.DialContext(ctx, network, addr.String())
	}
	if tcp, ok := r.made.(*net.TCPConn); ok {
		// What package net switches on is the loop's to choose.
		tcp.SetNoDelay(false)
	}
	d.results.post(r)
}

// dialable returns the network of addr, empty if it cannot be dialed.
func dialable(addr net.Addr) string {
	switch a := addr.(type) {
	case *net.TCPAddr:
		if a != nil {
			return "tcp"
		}
	case *net.UnixAddr:
		if a != nil {
			return "unix"
		}
	}
	return ""
}

// read reads into one block after the other, each when the loop is done with
// the last.
func (d *loop) read(c *conn) {
	for {
		b := d.pool.Get(receiveBytes)
		n, err := c.conn.Read(b.Bytes())
		if n == 0 && err != nil {
			b.Release()
			d.results.post(result{kind: received, last: true, conn: c, err: err})
			return
		}
		d.results.post(result{kind: received, conn: c, block: b, n: n})
		select {
		case <-c.next:
		case <-c.stop:
			d.results.post(result{kind: ending, last: true, conn: c})
			return
		}
	}
}

// write writes bufs.
func (d *loop) write(c *conn, bufs net.Buffers) {
	n, err := bufs.WriteTo(c.conn)
	d.results.post(result{kind: sent, last: true, conn: c, n: int(n), err: err})
}
