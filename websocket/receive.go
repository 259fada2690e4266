package websocket

import (
	"sync"
	"unicode/utf8"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/ws"
)

// receiver reads messages from a connection's bytes. It stays with the connection
// while a frame or a message has come in part; otherwise it goes back to its pool
// when OnData returns. It is the loop's.
type receiver struct {
	dec      ws.Decoder
	message  *scratch // what has come of a message in parts; nil if nothing has
	inflated int      // bytes that were inflated in this callback, with inflateCost for each message
	told     bool     // true exactly when the handler was told something in this callback
	given    bool     // true exactly when parts of the message under way were delivered by themselves
}

var receivers = sync.Pool{New: func() any { return new(receiver) }}

// inflateMax is how many bytes a connection has inflated, beside inflateCost for each
// message, when the loop attends to the others first: a few bytes that come can be a
// thousand times as many.
const (
	inflateMax  = 256 << 10
	inflateCost = 4 << 10
)

// receive takes messages from in until that is empty or the handler wants no more.
func (c *Conn) receive(in *buffer.LinkBuffer) {
	rx := c.rx
	c.rx = nil // so that a panic costs it
	if rx == nil {
		rx = receivers.Get().(*receiver)
		rx.dec.Reset(ws.Role(c.of.client), c.is(isDeflated), c.of.limits)
	}
	rx.inflated, rx.told = 0, false
	var piece [1][]byte
	for more := true; more && in.Len() > 0; {
		var used int
		used, more = c.consume(rx, in.Buffers(piece[:0], 1)[0])
		_ = in.Skip(used) // cannot fail
	}
	switch {
	case c.is(isDeaf):
	case rx.dec.Resting():
		if rx.message != nil { // its rest came after Close
			rx.message.free()
			rx.message = nil
		}
		rx.given = false
		receivers.Put(rx)
	default:
		c.rx = rx
	}
}

// consume takes parts of messages from p, and unmasks them in place: what is
// received is ours until it is left unread. It returns how many bytes it used and
// whether more are wanted.
func (c *Conn) consume(rx *receiver, p []byte) (used int, more bool) {
	for used < len(p) {
		if rx.told && !c.of.client && c.conn.AboveHighWater() {
			c.holdBack() // the answers to what came before wait; OnDrain goes on
			return used, false
		}
		part, n, err := rx.dec.Next(p[used:])
		used += n
		if err != nil {
			c.refuse(err)
			return used, false
		}
		if part.Opcode == ws.Continuation {
			continue // a beginning
		}
		rx.told = true
		c.take(rx, &part)
		switch {
		case c.is(isDeaf | isPaused):
			return used, false
		case rx.inflated >= inflateMax:
			c.giveWay()
			return used, false
		}
	}
	return used, true
}

// holdBack leaves what is unread until Wake.
func (c *Conn) holdBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(isHeld)
	_ = c.conn.PauseRead()
}

// giveWay has the loop attend to others before it goes on with what is unread.
func (c *Conn) giveWay() {
	c.holdBack()
	_ = c.conn.Execute(func(conn sluice.Conn) { _ = conn.Wake() })
}

// take deals with a part.
func (c *Conn) take(rx *receiver, part *ws.Part) {
	switch {
	case part.Opcode.IsControl():
		c.control(part)
	case c.is(isClosing): // the peer had not heard of it
	case part.First && part.Last:
		c.whole(rx, part, part.Data)
	case !part.Compressed && rx.message == nil && (c.of.parts != nil || c.is(isViewed)):
		if part.Last {
			c.of.count(c.conn.Loop()).in.Add(1)
		}
		if part.Last || len(part.Data) > 0 {
			first := !rx.given
			rx.given = !part.Last
			c.deliver(part.Opcode, part.Data, first, part.Last)
		}
	default:
		rx.collect(part)
		if part.Last {
			message := rx.message
			rx.message = nil
			c.whole(rx, part, message.b)
			message.free()
		}
	}
}

// collect keeps a part until the message is whole. Its memory grows with what has
// come, not with what is announced.
func (rx *receiver) collect(part *ws.Part) {
	switch m := rx.message; {
	case m == nil:
		rx.message = newScratch(len(part.Data))
	case cap(m.b)-len(m.b) < len(part.Data):
		need := len(m.b) + len(part.Data)
		more := max(int64(need/4), part.Left) // there may be many frames
		rx.message = m.grow(need + int(min(int64(need), more)))
	}
	rx.message.b = append(rx.message.b, part.Data...)
}

// whole delivers a message whose payload has come.
func (c *Conn) whole(rx *receiver, part *ws.Part, data []byte) {
	if part.Compressed {
		plain := newScratch(int(min(int64(4*len(data)), c.of.limits.Message)))
		var err error
		if plain.b, err = c.inflate(plain.b, data); err == nil && part.Opcode == Text && !utf8.Valid(plain.b) {
			err = ws.ErrNotUTF8
		}
		rx.inflated += len(plain.b) + inflateCost
		if err != nil {
			plain.free()
			c.refuse(err)
			return
		}
		data = plain.b
		defer plain.free()
	}
	c.of.count(c.conn.Loop()).in.Add(1)
	c.deliver(part.Opcode, data, true, true)
}

// inflate appends the message whose compressed payload p is.
func (c *Conn) inflate(dst, p []byte) ([]byte, error) {
	if c.is(inTakes) {
		return c.more.inflater.Append(dst, p, c.of.limits.Message) // there since the handshake
	}
	var alone ws.Inflater // of a message that refers to none before
	return alone.Append(dst, p, c.of.limits.Message)
}

// deliver gives a message, or a part of one, to whoever takes them.
func (c *Conn) deliver(op Opcode, data []byte, first, last bool) {
	switch v := c.view(); {
	case v != nil:
		v.push(op, data, first, last)
	case c.of.parts != nil:
		c.of.parts.OnPart(c, op, data, last)
	default:
		c.of.h.OnMessage(c, op, data)
	}
}

// control deals with a control frame.
func (c *Conn) control(part *ws.Part) {
	s := c.of
	switch part.Opcode {
	case ws.Close:
		c.peerClosed(part.Data)
	case ws.Ping:
		_ = c.writeControl(ws.Pong, part.Data)
		if s.ping != nil && !c.is(isViewed) {
			s.ping.OnPing(c, part.Data)
		}
	case ws.Pong:
		if s.pong != nil && !c.is(isViewed) {
			s.pong.OnPong(c, part.Data)
		}
	}
}
