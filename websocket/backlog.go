package websocket

import (
	"errors"
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

// heldCost is what a frame that waits counts in addition to its bytes, of which it may
// have few: its place in lists.
const heldCost = 64

// linkMin is the length of a prepared frame from which it is linked into what a
// connection sends; the link for a shorter one would take more memory than its copy.
const linkMin = 128

// outbound is what a connection has only while its peer is slow or a message is
// written in parts. Conn.mu guards it.
type outbound struct {
	held   []held // frames that wait, the oldest first
	bytes  int    // of them, with heldCost for each
	loose  int    // of that, those that may be dropped
	last   []byte // the Close frame that is to follow them; nil if there is none, or if it has left
	raised bool   // true exactly when the marks of the connection beneath are ours, and OnDrain is to come
	aging  bool   // true exactly when a timer looks after Backlog.Age
	writer *Writer
	room   *sync.Cond // of those who wait for room; nil unless somebody has
}

// held is a frame that waits.
type held struct {
	frame []byte
	since time.Time // when it was broadcast; zero if it must not be dropped
}

// cost is what the frame counts.
func (h *held) cost() int { return len(h.frame) + heldCost }

// busy reports whether frames of messages have to wait. o may be nil.
func (o *outbound) busy() bool { return o != nil && (o.writer != nil || o.raised || len(o.held) > 0) }

// wake wakes those who wait for room. o may be nil.
func (o *outbound) wake() {
	if o != nil && o.room != nil {
		o.room.Broadcast()
	}
}

// drop forgets what waits, with mu held. A Close frame that waited behind it leaves now.
func (c *Conn) drop() {
	o := c.out()
	if o == nil {
		return
	}
	last := o.last
	o.held, o.bytes, o.loose, o.last, o.writer = nil, 0, 0, nil, nil
	o.wake()
	if last != nil {
		_ = c.append(last) // fails only if nothing can be sent any more
	}
}

// link queues a prepared frame without a copy, or holds it if others wait, with mu
// held.
func (c *Conn) link(frame []byte) error {
	switch {
	case c.out().busy():
		return c.hold(frame, true)
	case c.conn.PendingWrite()+len(frame) > onTheWay:
		return c.fill(frame)
	}
	err := c.append(frame)
	if errors.Is(err, sluice.ErrWriteLimit) { // a Config's, which is even lower
		return c.fill(frame)
	}
	return err
}

// fill queues the frame beyond which others wait, with mu held.
func (c *Conn) fill(frame []byte) error {
	c.raise()
	err := c.append(frame)
	c.lower()
	return err
}

// append gives a frame to the connection beneath, without a copy unless it is short, with
// mu held.
func (c *Conn) append(frame []byte) (err error) {
	if len(frame) < linkMin {
		_, err = c.conn.Write(frame)
	} else {
		err = c.conn.Append(frame)
	}
	if err == nil {
		c.queued += uint32(len(frame))
	}
	return err
}

// raise has OnDrain tell when there is room, if there is none now, with mu held. lower
// follows.
func (c *Conn) raise() {
	if o := &c.extra().out; !o.raised {
		o.raised = true
		_ = c.conn.SetWaterMarks(refill, onTheWay, noLimit) // fails if nothing can be written any more
	}
}

// lower ends what raise began if there is room, with mu held.
func (c *Conn) lower() {
	if o := c.out(); o.raised && !c.conn.AboveHighWater() {
		o.raised = false
		_ = c.conn.SetWaterMarks(0, 0, 0)
	}
}

// hold has a frame wait, with mu held. droppable says whether it was broadcast.
func (c *Conn) hold(frame []byte, droppable bool) error {
	o, limit := &c.extra().out, &c.of.backlog
	count := c.of.count(c.conn.Loop())
	entry := held{frame: frame}
	room := limit.Bytes - entry.cost()
	switch {
	case !droppable:
		if o.bytes > room {
			return ErrBacklog
		}
	case limit.Policy == CloseSlow:
		if o.bytes > room {
			c.tooSlow()
			return ErrSlow
		}
	case limit.Policy == KeepNewest: // which is kept however long it is
		count.replaced.Add(int64(o.shed(func(*held) bool { return true })))
	case o.bytes-o.loose > room: // others must not be dropped for it
		count.oldest.Add(1)
		return nil
	default:
		count.oldest.Add(int64(o.shed(func(*held) bool { return o.bytes > room })))
	}
	if droppable {
		entry.since = time.Now()
		o.loose += entry.cost()
	}
	o.held = append(o.held, entry)
	o.bytes += entry.cost()
	if droppable && limit.Age > 0 && !o.aging {
		o.aging = true
		_, _ = c.conn.AfterFunc(limit.Age, c.aged)
	}
	return nil
}

// shed drops the frames that may be dropped, the oldest first, as long as which
// says so, and returns how many. It looks no further than that.
func (o *outbound) shed(which func(*held) bool) (dropped int) {
	n := 0 // frames that were looked at
	for left := o.loose; n < len(o.held) && left > 0; n++ {
		h := &o.held[n]
		if h.since.IsZero() {
			continue
		}
		if !which(h) {
			break
		}
		left -= h.cost()
		o.forget(h)
		dropped++
	}
	at := n // those that are kept move up to the next
	for i := n - 1; i >= 0; i-- {
		if o.held[i].frame != nil {
			at--
			o.held[at], o.held[i] = o.held[i], o.held[at]
		}
	}
	o.held = o.held[at:]
	return dropped
}

// forget takes a frame out of what waits, but for its place.
func (o *outbound) forget(h *held) {
	o.bytes -= h.cost()
	if !h.since.IsZero() {
		o.loose -= h.cost()
	}
	*h = held{}
}

// oldest returns the frame that may be dropped and has waited longest, nil if there
// is none.
func (o *outbound) oldest() *held {
	for i := range o.held {
		if h := &o.held[i]; !h.since.IsZero() {
			return h
		}
	}
	return nil
}

// aged deals with what has waited for Backlog.Age. Loop only.
func (c *Conn) aged(sluice.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o, limit, now := c.out(), &c.of.backlog, time.Now()
	o.aging = false
	old := func(h *held) bool { return now.Sub(h.since) >= limit.Age }
	h := o.oldest()
	if h != nil && limit.Policy == CloseSlow && old(h) {
		c.tooSlow()
		return
	}
	c.of.count(c.conn.Loop()).expired.Add(int64(o.shed(old)))
	if h = o.oldest(); h != nil {
		o.aging = true
		_, _ = c.conn.AfterFunc(h.since.Add(limit.Age).Sub(now), c.aged)
	}
}

// tooSlow closes a connection that does not keep up, with mu held.
func (c *Conn) tooSlow() {
	if c.is(isClosing) {
		return
	}
	c.of.count(c.conn.Loop()).slow.Add(1)
	c.drop()
	c.writeClose(c.of.backlog.Status, "too slow")
	c.end(slowError(c.of.backlog.Status))
	_ = c.conn.Close()
}

// release gives what waits to the connection beneath, as far as there is room, with
// mu held. OnDrain tells when there is more.
func (c *Conn) release() {
	o := c.out()
	if o.writer != nil { // its end does
		if o.raised {
			c.lower()
		}
		return
	}
	if len(o.held) > 0 {
		c.raise()
	}
	for len(o.held) > 0 && !c.conn.AboveHighWater() {
		h := &o.held[0]
		if c.append(h.frame) != nil {
			break // the end of the connection will be told
		}
		o.forget(h)
		o.held = o.held[1:]
	}
	if len(o.held) == 0 {
		o.held = nil
		if o.last != nil {
			_ = c.append(o.last)
			o.last = nil
		}
		c.lower()
	}
}
