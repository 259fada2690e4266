package websocket

import (
	"errors"
	"io"
	"sync"

	"github.com/sluice-go/sluice/ws"
)

// fragment is how many bytes a Writer sends at a time.
const fragment = 32 << 10

// Writer writes one message in parts, so that a long one need not be held. While it
// is open, messages that others write wait behind it; pings, pongs and the Close frame
// do not. It is for one goroutine at a time and for goroutines and offloaded jobs
// only, since Write and Close wait while the connection is above its high-water mark.
type Writer struct {
	c      *Conn
	op     Opcode // of the next frame
	buf    []byte
	closed bool
}

var errWriting = errors.New("websocket: another message is being written in parts; close its Writer first")

// Writer begins a message that is written in parts. It is not compressed. The error is
// ErrClosed, or tells that another Writer is open. Text must be valid UTF-8 as a whole,
// which is not checked.
func (c *Conn) Writer(op Opcode) (*Writer, error) {
	if op != Text && op != Binary {
		return nil, errKind
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.is(isClosing):
		return nil, ErrClosed
	case c.extra().out.writer != nil:
		return nil, errWriting
	}
	w := &Writer{c: c, op: op}
	if len(c.more.out.held) > 0 {
		c.waitFor(func() bool { return !c.more.out.busy() })
		if c.is(isClosing | isHungUp) {
			return nil, ErrClosed
		}
	}
	c.more.out.writer = w
	return w, nil
}

// Write appends p to the message. The error is ErrClosed, or one of
// sluice.Conn.Write.
func (w *Writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, ErrClosed
	}
	done := 0
	for {
		if w.buf == nil {
			w.buf = make([]byte, 0, min(fragment, len(p)))
		}
		n := min(len(p)-done, fragment-len(w.buf))
		w.buf = append(w.buf, p[done:done+n]...)
		done += n
		if len(w.buf) < fragment {
			return done, nil
		}
		if err := w.flush(false); err != nil {
			return done, err
		}
	}
}

// Flush sends what was written.
func (w *Writer) Flush() error {
	if w.closed {
		return ErrClosed
	}
	if len(w.buf) == 0 {
		return nil
	}
	return w.flush(false)
}

// Close ends the message. The messages of others that waited follow.
func (w *Writer) Close() error {
	if w.closed {
		return ErrClosed
	}
	w.closed = true
	return w.flush(true)
}

// flush sends a frame with what was written, when there is room.
func (w *Writer) flush(last bool) error {
	c := w.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitFor(func() bool { return !c.conn.AboveHighWater() })
	if c.is(isClosing|isHungUp) || c.more.out.writer != w {
		return ErrClosed
	}
	err := c.send(ws.Header{Fin: last, Opcode: w.op}, w.buf)
	if err != nil { // the message cannot be completed
		_ = c.conn.Abort()
		return err
	}
	w.op, w.buf = ws.Continuation, w.buf[:0]
	if last {
		c.of.count(c.conn.Loop()).out.Add(1)
		c.more.out.writer = nil
		c.more.out.wake()
		c.release()
	}
	return nil
}

// waitFor waits until ready says true or the connection closes, with mu held.
func (c *Conn) waitFor(ready func() bool) {
	for !c.is(isClosing|isHungUp) && !ready() {
		o := &c.extra().out
		if o.room == nil {
			o.room = sync.NewCond(&c.mu)
		}
		o.room.Wait()
	}
}

var _ io.WriteCloser = (*Writer)(nil)
