package websocket

import (
	"sync"
	"time"

	"github.com/sluice-go/sluice"
)

// The marks of a connection that did not take at once what was broadcast: from
// onTheWay bytes on, messages wait here, where they can be dropped, until no more
// than refill are left beneath.
const (
	onTheWay = 64 << 10
	refill   = 16 << 10
	noLimit  = 1 << 30 // of what waits beneath: hold sees to it
)

// outbound is what a connection has only while its peer is slow or a message is
// written in parts. Conn.mu guards it.
type outbound struct {
	held   []held // frames that wait, the oldest first
	bytes  int    // of them
	raised bool   // true exactly when the marks of the connection beneath are ours
	aging  bool   // true exactly when a timer looks after Backlog.Age
	writer *Writer
	room   *sync.Cond // of those who wait for room; nil unless somebody has
}

// held is a frame that waits.
type held struct {
	frame []byte
	since time.Time // when it was broadcast; zero if it must not be dropped
}

// busy reports whether frames of messages have to wait. o may be nil.
func (o *outbound) busy() bool { return o != nil && (o.writer != nil || len(o.held) > 0) }

// wake wakes those who wait for room. o may be nil.
func (o *outbound) wake() {
	if o != nil && o.room != nil {
		o.room.Broadcast()
	}
}

// drop forgets what waits. o may be nil.
func (o *outbound) drop() {
	if o != nil {
		o.held, o.bytes, o.writer = nil, 0, nil
		o.wake()
	}
}

// link queues a prepared frame without a copy, or holds it if the peer is slow, with
// mu held.
func (c *Conn) link(frame []byte) error {
	o := c.out()
	if o.busy() || o != nil && o.raised && c.conn.AboveHighWater() {
		return c.hold(frame, true)
	}
	if c.conn.PendingWrite()+len(frame) > onTheWay && (o == nil || !o.raised) {
		// From here on OnDrain tells when there is room.
		if err := c.conn.SetWaterMarks(refill, onTheWay, noLimit); err != nil {
			return err
		}
		c.extra().out.raised = true
	}
	return c.conn.Append(frame)
}

// hold has a frame wait, with mu held. droppable says whether it was broadcast.
func (c *Conn) hold(frame []byte, droppable bool) error {
	o, limit := &c.extra().out, &c.of.backlog
	count := c.of.count(c.conn.Loop())
	entry := held{frame: frame}
	if droppable {
		entry.since = time.Now()
		if limit.Policy == KeepNewest {
			count.replaced.Add(int64(o.shed(func(*held) bool { return true })))
		}
	}
	if o.bytes+len(frame) > limit.Bytes {
		switch {
		case !droppable:
			return ErrBacklog
		case limit.Policy == CloseSlow:
			c.tooSlow()
			return ErrSlow
		}
		count.oldest.Add(int64(o.shed(func(*held) bool { return o.bytes+len(frame) > limit.Bytes })))
		if o.bytes+len(frame) > limit.Bytes { // of what must not be dropped
			count.oldest.Add(1)
			return nil
		}
	}
	o.held = append(o.held, entry)
	o.bytes += len(frame)
	if droppable && limit.Age > 0 && !o.aging {
		o.aging = true
		_, _ = c.conn.AfterFunc(limit.Age, c.aged)
	}
	return nil
}

// shed drops the frames that may be dropped, the oldest first, as long as which
// says so, and returns how many.
func (o *outbound) shed(which func(*held) bool) int {
	kept, dropped := o.held[:0], 0
	for i := range o.held {
		h := &o.held[i]
		if !h.since.IsZero() && which(h) {
			o.bytes -= len(h.frame)
			dropped++
			continue
		}
		kept = append(kept, *h)
	}
	clear(o.held[len(kept):])
	o.held = kept
	return dropped
}

// aged deals with what has waited for Backlog.Age. Loop only.
func (c *Conn) aged(sluice.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, limit, now := c.out(), &c.of.backlog, time.Now()
	o.aging = false
	old := func(h *held) bool { return now.Sub(h.since) >= limit.Age }
	if limit.Policy == CloseSlow {
		for i := range o.held {
			if h := &o.held[i]; !h.since.IsZero() && old(h) {
				c.tooSlow()
				return
			}
		}
	}
	c.of.count(c.conn.Loop()).expired.Add(int64(o.shed(old)))
	for i := range o.held {
		if h := &o.held[i]; !h.since.IsZero() {
			o.aging = true
			_, _ = c.conn.AfterFunc(h.since.Add(limit.Age).Sub(now), c.aged)
			return
		}
	}
}

// tooSlow closes a connection that does not keep up, with mu held.
func (c *Conn) tooSlow() {
	if c.is(isClosing) {
		return
	}
	c.of.count(c.conn.Loop()).slow.Add(1)
	c.out().drop()
	c.writeClose(c.of.backlog.Status, "too slow")
	c.end(ErrSlow)
	_ = c.conn.Close()
}

// release gives what waits to the connection beneath, as far as there is room, with
// mu held. Loop only.
func (c *Conn) release() {
	o := c.out()
	if o.writer != nil {
		return // its end does
	}
	n := 0
	for ; n < len(o.held) && !c.conn.AboveHighWater(); n++ {
		if c.conn.Append(o.held[n].frame) != nil {
			break // the end of the connection will be told
		}
		o.bytes -= len(o.held[n].frame)
		o.held[n] = held{}
	}
	if o.held = o.held[n:]; len(o.held) > 0 || c.conn.AboveHighWater() {
		return
	}
	o.held = nil
	if o.raised {
		o.raised = false
		_ = c.conn.SetWaterMarks(0, 0, 0)
	}
}
