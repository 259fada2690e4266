package sluice

import (
	"fmt"

	"github.com/sluice-go/sluice/buffer"
)

// waterMarks bound the bytes that wait to be sent on one connection.
type waterMarks struct{ low, high, limit int }

// SetWaterMarks sets for this connection what Config.LowWater, HighWater and
// WriteLimit set for all: bytes, with 0 <= low <= high <= limit <= 1 GiB. Three
// zeros make those for all hold again.
func (c Conn) SetWaterMarks(low, high, limit int) error {
	if low < 0 || low > high || high > limit || limit > maxWriteLimit {
		return fmt.Errorf("sluice: water marks %d, %d, %d; they must ascend from 0 to at most %d", low, high, limit, maxWriteLimit)
	}
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	if a := c.act(); limit == 0 {
		a.marks = nil
	} else {
		a.marks = &waterMarks{low, high, limit}
	}
	c.notify(s)
	return nil
}

// SetBackpressure says whether reading pauses while the connection is above its
// high-water mark, as it does at first. Without it WriteLimit alone keeps a peer that
// does not take answers from asking for more and more. It suits clients, since two
// sides that both wait to be read from wait for ever, and protocols with a flow
// control of their own, whose updates must be read.
func (c Conn) SetBackpressure(on bool) error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	if s.flags |= flagReadsOn; on {
		s.flags &^= flagReadsOn
	}
	c.notify(s)
	return nil
}

// water returns the marks that hold for a connection whose active part is a.
func (l *eventLoop) water(a *active) *waterMarks {
	if a != nil && a.marks != nil {
		return a.marks
	}
	return &l.eng.water
}

// PendingWrite returns how many bytes wait to be sent, and 0 if the
// connection has ended. Bytes that the kernel holds are not among them.
func (c Conn) PendingWrite() int {
	s, err := c.lockAny()
	if err != nil {
		return 0
	}
	defer s.mu.Unlock()
	return int(s.pending)
}

// PendingRead returns how many received bytes the last OnData left unread,
// and 0 if the connection has ended. In OnClose it still tells, which shows
// whether the peer ended in the middle of a message.
func (c Conn) PendingRead() int {
	s, err := c.lockAny()
	if err != nil {
		return 0
	}
	defer s.mu.Unlock()
	if a := c.part(); a != nil {
		return a.unread
	}
	return 0
}

// AboveHighWater returns true exactly when more was waiting to be sent than
// the high-water mark allows and it has not yet fallen to the low-water mark.
// One that writes much, such as an offloaded job, then waits for OnDrain, which
// is sure to follow unless the connection ends, and of that OnHangup tells if a
// job is unfinished, otherwise OnClose. It is false once writes fail.
func (c Conn) AboveHighWater() bool {
	s, err := c.lockOpen()
	if err != nil {
		return false
	}
	defer s.mu.Unlock()
	return s.flags&(flagHigh|flagWriteBroken) == flagHigh
}

// directMin is the size, in bytes, from which Write does not copy what the
// descriptor takes at once: then a copy costs more than the system call that
// sending it together with what follows might save.
const directMin = 16 << 10

// directMax is how many bytes a callback sends so at most: beyond it they wait
// and count against the high-water mark, so that a callback which writes until
// that is reached comes to an end though the peer takes all of it.
const directMax = 256 << 10

// writable locks c's slot if n more bytes may be queued.
func (c Conn) writable(n int) (*slot, error) {
	s, err := c.lockOpen()
	if err != nil {
		return nil, err
	}
	switch w := c.ch.loop.water(c.part()); {
	case s.flags&flagWriteBroken != 0:
		err = fmt.Errorf("%w: %w", ErrClosed, c.act().cause)
	case s.flags&flagFinWanted != 0:
		err = ErrWriteClosed
	case s.flags&flagWriteLate != 0:
		err = ErrWriteTimeout
	case n > w.limit-int(s.pending):
		err = ErrWriteLimit
		if c.ch.loop.eng.cfg.AbortOnLimit {
			c.abortLocked(s, err)
			return nil, err
		}
	default:
		return s, nil
	}
	s.mu.Unlock()
	return nil, err
}

// wrote unlocks s after n bytes were queued.
func (c Conn) wrote(s *slot, n int) {
	s.pending += int32(n)
	if s.flags&flagHigh == 0 && int(s.pending) > c.ch.loop.water(c.part()).high {
		s.flags |= flagHigh
	}
	c.notify(s)
}

// Write queues a copy of p; the loop sends it at the end of the callback or
// pass. It never blocks and takes all of p or, with an error, nothing of it:
// ErrClosed, ErrWriteClosed, ErrWriteLimit or ErrWriteTimeout; once sending has
// failed, ErrClosed together with what the system said. If nothing is queued it
// writes 16 KiB or more to the descriptor itself, which saves the copy, and from
// another goroutine while the loop sleeps any p, which saves waking the loop; then
// it may be the first to find that sending fails.
func (c Conn) Write(p []byte) (int, error) { return c.write(p, len(p)) }

// write is Write, with n bytes in place of len(p) held against the limit.
func (c Conn) write(p []byte, n int) (int, error) {
	s, err := c.writable(n)
	if err != nil {
		return 0, err
	}
	rest := p
	if now := c.direct(s, p); len(now) > 0 {
		n, err := c.writeNow(s, now)
		if err != nil {
			return 0, err
		}
		rest = p[n:]
	}
	if len(rest) == 0 {
		s.mu.Unlock()
		return len(p), nil
	}
	_, _ = c.act().out.Write(rest)
	c.wrote(s, len(rest))
	return len(p), nil
}

// direct returns the part of p that is to go to the descriptor at once, with s
// locked.
func (c Conn) direct(s *slot, p []byte) []byte {
	switch {
	case s.pending > 0 || s.flags&(flagSending|flagTLS) != 0:
		return nil
	case s.flags&flagBusy == 0 && (len(p) >= directMin || s.flags&flagQueued == 0 && c.ch.loop.parked.Load()):
		return p[:min(len(p), directMax)]
	case s.flags&flagBusy == 0 || len(p) < directMin:
		return nil
	}
	a := c.act()
	p = p[:min(len(p), directMax-a.direct)]
	a.direct += len(p)
	return p
}

// writeNow writes what the descriptor takes at once. On an error it unlocks s.
func (c Conn) writeNow(s *slot, p []byte) (int, error) {
	l := c.ch.loop
	n, err := l.drv.TryWrite(int(s.fd), p)
	if err != nil {
		c.writeFailed(s, err)
		c.notify(s)
		return 0, fmt.Errorf("%w: %w", ErrClosed, err)
	}
	l.bytesDirect.Add(int64(n))
	s.acted(l.time())
	return n, nil
}

// writeFailed notes that nothing can be sent any more, with s locked: what
// waits is dropped, writes fail and no more jobs start. What the peer sent
// before, such as the reason why it refuses more, is still received, for
// finWait at most and unless reading is paused.
func (c Conn) writeFailed(s *slot, err error) {
	a := c.act()
	a.end(err)
	a.out.Close()
	a.jobs.drop()
	s.pending = 0
	s.flags = s.flags&^flagSending | flagWriteBroken
	s.writeEnd = c.ch.loop.deadline(finWait)
	s.want |= wantTimer
}

// WriteString is Write for a string.
func (c Conn) WriteString(p string) (int, error) {
	s, err := c.writable(len(p))
	if err != nil {
		return 0, err
	}
	_, _ = c.act().out.WriteString(p)
	c.wrote(s, len(p))
	return len(p), nil
}

// Writev queues copies of bufs, in order and with no other write between.
// Like Write it takes all or nothing, and it returns their total length.
func (c Conn) Writev(bufs [][]byte) (int64, error) {
	n := 0
	for _, p := range bufs {
		n += len(p)
	}
	s, err := c.writable(n)
	if err != nil {
		return 0, err
	}
	out := &c.act().out
	for _, p := range bufs {
		_, _ = out.Write(p)
	}
	c.wrote(s, n)
	return int64(n), nil
}

// Append queues p itself, without a copy. The caller must not change it until
// it has been sent; bytes that never change suit best, such as a message that
// is sent to many connections.
func (c Conn) Append(p []byte) error {
	s, err := c.writable(len(p))
	if err != nil {
		return err
	}
	c.act().out.Append(p)
	c.wrote(s, len(p))
	return nil
}

// WriteBuffer queues all unread bytes of src and leaves src empty. src is what
// Malloc, Write and Append have composed, what LinkBuffer.Slice took from
// another connection's input, or that input itself. Nothing is copied but
// pieces that are small for the block that they would keep, and of a callback's
// own input not even those. With an error src keeps its bytes.
func (c Conn) WriteBuffer(src *buffer.LinkBuffer) error {
	n := src.Len()
	s, err := c.writable(n)
	if err != nil {
		return err
	}
	out := &c.act().out
	if src == &c.ch.loop.view && s.pending == 0 && s.flags&(flagBusy|flagSending) == flagBusy {
		// Its own input, of which most likely nothing is left once the callback
		// has returned: even a small piece need not be copied.
		_ = src.Slice(out, n) // cannot fail
	} else {
		out.AppendBuffer(src)
	}
	c.wrote(s, n)
	return nil
}

// Flush sends from the calling goroutine what the descriptor takes at once of
// the bytes that wait, instead of leaving that to the end of the callback or
// pass. It suits a callback that goes on working after it has answered. With TLS,
// which the loop alone encrypts, it does nothing.
func (c Conn) Flush() error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	a := c.part()
	for a != nil && s.flags&(flagSending|flagTLS) == 0 && s.pending > 0 {
		var piece [1][]byte
		p := a.out.Buffers(piece[:0], 1)[0]
		n, err := c.writeNow(s, p)
		if err != nil {
			return err
		}
		c.ch.loop.unqueue(s, a, n)
		if n < len(p) {
			break
		}
	}
	c.notify(s)
	return nil
}

// unqueue removes n sent bytes from the front of what waits.
func (l *eventLoop) unqueue(s *slot, a *active, n int) {
	_ = a.out.Skip(n)
	a.out.Release()
	s.pending -= int32(n)
}
