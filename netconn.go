package sluice

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// NetConn turns the connection into a blocking net.Conn, for code that wants
// one. From then on OnData and OnDrain are not called; bytes that the last
// OnData left unread are the first that Read returns. The connection does not
// close by itself any more when the peer ends its direction. OnClose is still
// called, and OnReadIdle as long as SetReadIdle asks for it. Read and Write
// must not be called from a callback, which they would block.
func (c Conn) NetConn() (net.Conn, error) {
	s, err := c.lockOpen()
	if err != nil {
		return nil, err
	}
	a := c.act()
	if a.detach != nil {
		s.mu.Unlock()
		return nil, errors.New("sluice: NetConn after Detach")
	}
	if a.view == nil {
		l := c.ch.loop
		n := &netConn{c: c, local: l.drv.LocalAddr(int(s.fd)), remote: l.drv.RemoteAddr(int(s.fd)), high: l.water(a).high}
		if n.remote == nil { // reset already
			n.remote = c.ch.peers[c.key&slotMask].netAddr()
		}
		n.cond.L = &n.mu
		n.in.SetPool(&l.pool)
		a.view = n
		s.flags &^= flagPausedUser // from here on reading pauses by what is unread
		s.want |= wantWake         // brings what is unread
	}
	n := a.view
	c.notify(s)
	return n, nil
}

// netConn is a connection's blocking view. Its lock is taken before slot.mu,
// never after.
type netConn struct {
	c             Conn
	local, remote net.Addr
	high          int // unread bytes above which reading pauses

	writing sync.Mutex // held by the one Write that goes on

	mu     sync.Mutex
	cond   sync.Cond // of every change below
	in     buffer.LinkBuffer
	paused bool  // true exactly when more than high bytes were unread and not yet half of it read
	closed bool  // true exactly when Close was called
	err    error // what Read returns when in is empty
	rd, wd deadline
}

// deadline is a read or write deadline. netConn.mu guards it.
type deadline struct {
	timer  *time.Timer
	passed bool
}

// feed takes the bytes that the loop received.
func (n *netConn) feed(in *buffer.LinkBuffer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if in.Len() > copyMax {
		n.in.AppendBuffer(in)
	} else {
		_, _ = n.in.Write(in.Bytes())
		_ = in.Skip(in.Len())
	}
	if n.closed {
		n.in.Close()
	}
	if !n.paused && n.in.Len() > n.high {
		n.paused = true
		_ = n.c.pause(flagPausedView, true)
	}
	n.cond.Broadcast()
}

// fail makes reads return err after the bytes that came before it.
func (n *netConn) fail(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.err == nil {
		n.err = err
	}
	n.cond.Broadcast()
}

// drained tells writers that there is room again.
func (n *netConn) drained() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cond.Broadcast()
}

// Read returns bytes that have arrived and waits for some if there are none.
func (n *netConn) Read(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for {
		switch {
		case n.closed:
			return 0, n.opError("read", ErrClosed)
		case n.rd.passed:
			return 0, n.opError("read", os.ErrDeadlineExceeded)
		case len(p) == 0:
			return 0, nil
		case n.in.Len() > 0:
			k, err := n.in.Read(p)
			n.in.Release()
			if n.paused && n.in.Len() <= n.high/2 {
				n.paused = false
				_ = n.c.pause(flagPausedView, false)
			}
			return k, err
		case n.err == io.EOF:
			return 0, io.EOF
		case n.err != nil:
			return 0, n.opError("read", n.err)
		}
		n.cond.Wait()
	}
}

// Write queues p and waits while more than the high-water mark waits to be
// sent. With an error it returns how much of p was queued.
func (n *netConn) Write(p []byte) (int, error) {
	n.writing.Lock()
	defer n.writing.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	done := 0
	for {
		switch {
		case n.closed:
			return done, n.opError("write", ErrClosed)
		case n.wd.passed:
			return done, n.opError("write", os.ErrDeadlineExceeded)
		case n.err != nil && n.err != io.EOF:
			return done, n.opError("write", n.err)
		}
		if !n.c.AboveHighWater() {
			// The loop must not wait for n.mu while bytes are copied. The
			// limit is for those who do not wait at the high-water mark.
			piece := p[done:min(len(p), done+copyMax)]
			n.mu.Unlock()
			k, err := n.c.write(piece, 0)
			n.mu.Lock()
			if done += k; err != nil {
				return done, n.opError("write", err)
			}
			if done == len(p) {
				return done, nil
			}
			continue
		}
		n.cond.Wait()
	}
}

// Close closes the connection as Conn.Close does. What waits to be sent is
// still sent; blocked reads and writes return.
func (n *netConn) Close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rd.stop()
	n.wd.stop()
	if n.closed {
		return n.opError("close", ErrClosed)
	}
	n.closed = true
	n.in.Close()
	n.cond.Broadcast()
	_ = n.c.Close() // an error would say that it has ended already
	return nil
}

// CloseWrite ends this side's direction after what was written.
func (n *netConn) CloseWrite() error {
	if err := n.c.CloseWrite(); err != nil {
		return n.opError("close", err)
	}
	return nil
}

func (n *netConn) LocalAddr() net.Addr  { return n.local }
func (n *netConn) RemoteAddr() net.Addr { return n.remote }

func (n *netConn) SetDeadline(t time.Time) error      { return n.setDeadline(t, &n.rd, &n.wd) }
func (n *netConn) SetReadDeadline(t time.Time) error  { return n.setDeadline(t, &n.rd) }
func (n *netConn) SetWriteDeadline(t time.Time) error { return n.setDeadline(t, &n.wd) }

func (n *netConn) setDeadline(t time.Time, ds ...*deadline) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return n.opError("set", ErrClosed)
	}
	for _, d := range ds {
		d.stop()
		wait := time.Until(t)
		d.passed = !t.IsZero() && wait <= 0
		if t.IsZero() || d.passed {
			continue
		}
		var timer *time.Timer
		timer = time.AfterFunc(wait, func() {
			n.mu.Lock()
			defer n.mu.Unlock()
			if d.timer == timer {
				d.passed = true
				n.cond.Broadcast()
			}
		})
		d.timer = timer
	}
	n.cond.Broadcast()
	return nil
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
}

func (n *netConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: n.local.Network(), Source: n.local, Addr: n.remote, Err: err}
}
