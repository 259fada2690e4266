//go:build linux

package proactor

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
	"github.com/sluice-go/sluice/internal/uring"
)

// held is what came for a connection after Pause, or before what came then was
// taken.
type held struct {
	pieces []piece
	err    error // what comes after them, if anything does
}

// piece is received bytes in their block, which is retained.
type piece struct {
	block *buffer.Block
	p     []byte
}

// Open implements driver.Driver.
func (d *proactor) Open(id driver.ID, fd int) (int, error) {
	isTCP := fd == d.arriving || !sock.Local(fd)
	c := d.begin(id, open, d.direct(fd))
	if !isTCP {
		c.flow = local
	}
	d.receive(id, c)
	return int(c.fd), nil
}

// receive begins to receive, if nothing speaks against it.
func (d *proactor) receive(id driver.ID, c *conn) {
	if c.state != open || c.underWay&receive != 0 || c.flow&(paused|finished|starved|holding) != 0 {
		return
	}
	data := userData(receiving, c.generation, id)
	if c.flow &^= fed; c.flow&bulky == 0 {
		d.ring.Receive(int(c.fd), group, data)
	} else {
		c.flow |= polled
		d.ring.PollReadable(int(c.fd), data)
	}
	c.underWay |= receive
	d.underWay++
}

// Pause implements driver.Driver. The kernel may go on receiving: only if it
// does is it stopped.
func (d *proactor) Pause(id driver.ID) { d.alive(id).flow |= paused }

// Resume implements driver.Driver.
func (d *proactor) Resume(id driver.ID) {
	c := d.alive(id)
	c.flow &^= paused
	switch {
	case c.flow&holding == 0:
		d.receive(id, c)
	case c.flow&resumed == 0:
		c.flow |= resumed
		d.reports = append(d.reports, report{id: id, generation: c.generation})
	}
}

// received passes on what came for a connection.
func (d *proactor) received(id driver.ID, r *uring.Completion) {
	c := &d.conns[id]
	if !r.More() {
		c.underWay &^= receive | unreceive
		d.underWay--
	}
	was := c.state
	if c.flow&polled == 0 {
		d.arrived(id, c, r)
	} else if was == open && c.flow&paused == 0 && r.Result > 0 {
		d.read(id, c)
	}
	if r.More() {
		return
	}
	// The calls may have moved the connection, or shut it: then they saw that
	// nothing is received, and id has no new user before it is Closed.
	if c = &d.conns[id]; was == closing {
		d.join(id, c)
	} else {
		d.receive(id, c)
	}
}

// arrived passes on what the kernel received into a buffer, or why it did not.
func (d *proactor) arrived(id driver.ID, c *conn, r *uring.Completion) {
	i, taken := r.Buffer()
	switch err := r.Err(); {
	case r.Result > 0:
		c.flow |= fed
		if int(r.Result) == d.lent.size && c.state == open && c.flow&bulky == 0 && c.fd&uring.Fixed == 0 {
			c.flow |= bulky
			d.stop(id, c)
		}
		b := d.lent.blocks[i]
		d.bytes(id, c, b, b.Bytes()[:r.Result:r.Result])
	case err == nil:
		d.finish(id, c, io.EOF)
	case err == unix.ENOBUFS:
		d.starve(id, c)
	case err == unix.ECANCELED, err == unix.EINTR, err == unix.EAGAIN:
	default:
		d.finish(id, c, os.NewSyscallError("read", err))
	}
	if taken {
		d.lent.giveBack(i)
	}
}

// readSize is the most that one read brings, as in package reactor.
const readSize = 64 << 10

// read reads once from a connection that the poll found readable.
func (d *proactor) read(id driver.ID, c *conn) {
	p := d.scratch.Bytes()
	switch n, err := sock.Read(int(c.fd), p); {
	case n > 0:
		d.bytes(id, c, d.scratch, p[:n:n])
		if d.scratch.Shared() {
			d.scratch.Release()
			d.scratch = d.pool.Get(readSize)
		}
	case err == unix.EAGAIN:
	case err == nil:
		d.finish(id, c, io.EOF)
	default:
		d.finish(id, c, os.NewSyscallError("read", err))
	}
}

// starve notes that there was no buffer for c. Those go first that had none at
// all, or else one whose peer never stops would have every buffer.
func (d *proactor) starve(id driver.ID, c *conn) {
	c.flow |= starved
	d.starvings++
	s := report{id: id, generation: c.generation}
	if c.flow&fed != 0 {
		d.starved = append(d.starved, s)
	} else {
		d.hungry = append(d.hungry, s)
	}
}

// bytes reports p, which lies in b, or holds it back.
func (d *proactor) bytes(id driver.ID, c *conn, b *buffer.Block, p []byte) {
	switch {
	case c.state == closing && c.flow&detached == 0:
		// Nobody wants it any more.
	case c.flow&holding != 0 || c.flow&(paused|detached) == paused:
		b.Retain()
		h := d.hold(id, c)
		h.pieces = append(h.pieces, piece{b, p})
		if c.state == open && c.flow&paused != 0 {
			d.stop(id, c)
		}
	default:
		d.events.Received(id, b, p, nil)
	}
}

// hold returns what is held back for a connection.
func (d *proactor) hold(id driver.ID, c *conn) *held {
	h := d.held[id]
	if h == nil {
		h = &held{}
		d.held[id] = h
		c.flow |= holding
	}
	return h
}

// stop has the kernel end receiving, unless it does already.
func (d *proactor) stop(id driver.ID, c *conn) {
	if c.underWay&(receive|unreceive) == receive {
		c.underWay |= unreceive
		d.cancel(id, c, receiving)
	}
}

// finish reports the end of the flow of Received, or holds it back.
func (d *proactor) finish(id driver.ID, c *conn, err error) {
	switch {
	case c.state == closing && (c.flow&detached == 0 || err == io.EOF):
		// Nobody wants it any more, or it is still there for whoever takes over
		// the descriptor.
	case c.flow&holding != 0 || c.flow&(paused|detached) == paused:
		d.hold(id, c).err = err
	default:
		c.flow |= finished
		d.events.Received(id, nil, nil, err)
	}
}

// deliver reports what was held back, as far as it is wanted.
func (d *proactor) deliver(id driver.ID) {
	h := d.held[id]
	for d.held[id] == h && len(h.pieces) > 0 {
		if c := &d.conns[id]; c.flow&(paused|detached) == paused {
			return
		}
		next := h.pieces[0]
		h.pieces = h.pieces[1:]
		d.events.Received(id, next.block, next.p, nil)
		next.block.Release()
	}
	c := &d.conns[id]
	if d.held[id] != h || c.flow&(paused|detached) == paused {
		return // shut, or paused again
	}
	d.drop(id)
	if h.err != nil {
		d.finish(id, c, h.err)
	} else {
		d.receive(id, c)
	}
}

// drop gives up what is held back for id.
func (d *proactor) drop(id driver.ID) {
	if h := d.held[id]; h != nil {
		for _, p := range h.pieces {
			p.block.Release()
		}
		delete(d.held, id)
		d.conns[id].flow &^= holding
	}
}

// writeMin is from how many bytes on a Send writes what it can at once. With less
// it is cheaper to leave it to the ring, which sends what many connections have to
// say in one call; more would have left the cache by then.
const writeMin = 8 << 10

// Send implements driver.Driver.
func (d *proactor) Send(id driver.ID, bufs [][]byte) (sent int, err error) {
	c := d.must(id, open)
	if c.underWay&send != 0 {
		panic("proactor: Send while another is unanswered")
	}
	total := 0
	for _, p := range bufs {
		total += len(p)
	}
	if total >= writeMin && c.fd&uring.Fixed == 0 {
		if sent, _, err = d.writer.Write(int(c.fd), bufs); err != nil {
			return sent, os.NewSyscallError("write", err)
		}
	}
	if sent == total {
		return sent, nil
	}
	rest := sent
	for rest >= len(bufs[0]) {
		rest -= len(bufs[0])
		bufs = bufs[1:]
	}
	first := bufs[0]
	bufs[0] = first[rest:]
	d.ring.Send(int(c.fd), bufs[:min(len(bufs), uring.PiecesMax)], userData(sending, c.generation, id))
	bufs[0] = first
	c.underWay |= send
	d.underWay++
	return sent, nil
}

// sent passes on how a Send went.
func (d *proactor) sent(id driver.ID, r *uring.Completion) {
	c := &d.conns[id]
	c.underWay &^= send
	d.underWay--
	switch err := r.Err(); {
	case c.state == closing:
		d.join(id, c)
	case err == unix.EINTR || err == unix.EAGAIN:
		d.events.Sent(id, 0, nil)
	default:
		d.events.Sent(id, int(max(r.Result, 0)), os.NewSyscallError("write", err))
	}
}

// CloseWrite implements driver.Driver.
func (d *proactor) CloseWrite(id driver.ID) {
	// It is refused only if the connection is broken, which receiving tells.
	c := d.must(id, open)
	if c.fd&uring.Fixed == 0 {
		_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
		return
	}
	d.ring.CloseWrite(int(c.fd), userData(ending, c.generation, id))
	c.underWay |= end
	d.underWay++
}
