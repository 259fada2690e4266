package websocket

import (
	"sync"
	"unicode/utf8"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/ws"
)

// keepMax is the capacity up to which scratch memory goes back to a pool.
const keepMax = 64 << 10

// receiver reads messages from a connection's bytes. It stays with the connection
// while a frame or a message has come in part; otherwise it goes back to its pool
// when OnData returns. It is the loop's.
type receiver struct {
	dec     ws.Decoder
	message []byte // what has come of a message in parts
	plain   []byte // scratch for an inflated message
}

var receivers = sync.Pool{New: func() any { return new(receiver) }}

// receive takes messages from in until that is empty or the handler wants no more.
func (c *Conn) receive(in *buffer.LinkBuffer) {
	rx := c.rx
	c.rx = nil // so that a panic costs it
	if rx == nil {
		rx = receivers.Get().(*receiver)
		rx.dec.Reset(ws.Role(c.of.client), c.is(isDeflated), c.of.limits)
	}
	var piece [1][]byte
	for more := true; more && in.Len() > 0; {
		var used int
		used, more = c.consume(rx, in.Buffers(piece[:0], 1)[0])
		_ = in.Skip(used) // cannot fail
	}
	if cap(rx.plain) > keepMax {
		rx.plain = nil
	}
	if cap(rx.message) > keepMax && len(rx.message) == 0 {
		rx.message = nil
	}
	switch {
	case c.is(isDeaf):
	case rx.dec.Resting():
		receivers.Put(rx)
	default:
		// A slow peer is not to hold scratch memory.
		if rx.plain = nil; len(rx.message) == 0 {
			rx.message = nil
		}
		c.rx = rx
	}
}

// consume takes parts of messages from p, and unmasks them in place: what is
// received is ours until it is left unread. It returns how many bytes it used and
// whether more are wanted.
func (c *Conn) consume(rx *receiver, p []byte) (used int, more bool) {
	for used < len(p) {
		part, n, err := rx.dec.Next(p[used:])
		used += n
		if err != nil {
			c.refuse(err)
			return used, false
		}
		if part.Opcode == ws.Continuation {
			continue // a beginning
		}
		c.take(rx, &part)
		if c.is(isDeaf | isPaused) {
			return used, false
		}
	}
	return used, true
}

// take deals with a part.
func (c *Conn) take(rx *receiver, part *ws.Part) {
	switch {
	case part.Opcode.IsControl():
		c.control(part)
	case c.is(isClosing): // the peer had not heard of it
	case part.First && part.Last:
		c.whole(rx, part, part.Data)
	case !part.Compressed && (c.of.parts != nil || c.is(isViewed)):
		if part.Last {
			c.of.count(c.conn.Loop()).in.Add(1)
		}
		if part.Last || len(part.Data) > 0 {
			c.deliver(part.Opcode, part.Data, part.First, part.Last)
		}
	default:
		rx.collect(part)
		if part.Last {
			message := rx.message
			rx.message = rx.message[:0]
			c.whole(rx, part, message)
		}
	}
}

// collect keeps a part until the message is whole. Its memory grows with what has
// come, not with what is announced.
func (rx *receiver) collect(part *ws.Part) {
	if part.First {
		rx.message = rx.message[:0]
	}
	need := len(rx.message) + len(part.Data)
	if cap(rx.message) < need {
		grown := need
		if len(rx.message) > 0 {
			grown = 2 * need
			if part.Left > 0 {
				grown = int(min(int64(grown), int64(need)+part.Left))
			}
		}
		rx.message = append(make([]byte, 0, grown), rx.message...)
	}
	rx.message = append(rx.message, part.Data...)
}

// whole delivers a message whose payload has come.
func (c *Conn) whole(rx *receiver, part *ws.Part, data []byte) {
	if part.Compressed {
		var err error
		if data, err = c.inflate(rx, data); err == nil && part.Opcode == Text && !utf8.Valid(data) {
			err = ws.ErrNotUTF8
		}
		if err != nil {
			c.refuse(err)
			return
		}
	}
	c.of.count(c.conn.Loop()).in.Add(1)
	c.deliver(part.Opcode, data, true, true)
}

// inflate returns the message whose compressed payload p is. It lies in rx.
func (c *Conn) inflate(rx *receiver, p []byte) ([]byte, error) {
	var alone ws.Inflater // of a message that refers to none before
	i := &alone
	if c.is(inTakes) {
		i = &c.more.inflater // there since the handshake
	}
	var err error
	rx.plain, err = i.Append(rx.plain[:0], p, c.of.limits.Message)
	return rx.plain, err
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
