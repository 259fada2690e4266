package websocket

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/sluice-go/sluice/ws"
)

// maxControl is the greatest payload of a control frame (RFC 6455 5.5).
const maxControl = 125

var errKind = errors.New("websocket: a message is Text or Binary")

// WriteMessage queues a message; it leaves at the end of the callback or of the
// loop's pass, as sluice.Conn.Write says. data is copied. Text must be valid UTF-8,
// which is not checked; peers end a connection on which other text comes. It takes all
// or, with an error, nothing: ErrClosed, ErrBacklog, or one of sluice.Conn.Write.
// Messages of several goroutines are not mixed.
func (c *Conn) WriteMessage(op Opcode, data []byte) error {
	if op != Text && op != Binary {
		return errKind
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of.bounded && !c.out().busy() && c.conn.PendingWrite() > onTheWay+c.of.backlog.Bytes {
		return ErrBacklog
	}
	return c.message(op, data)
}

// message is WriteMessage with mu held, for one who has waited for room.
func (c *Conn) message(op Opcode, data []byte) error {
	if c.is(isClosing) {
		return ErrClosed
	}
	err := c.writeMessage(op, data)
	if err == nil {
		c.of.count(c.conn.Loop()).out.Add(1)
	}
	return err
}

// WriteString is WriteMessage for a text in a string.
func (c *Conn) WriteString(text string) error {
	s := newScratch(len(text))
	defer s.free()
	s.b = append(s.b, text...)
	return c.WriteMessage(Text, s.b)
}

// writeMessage queues a message, with mu held.
func (c *Conn) writeMessage(op Opcode, data []byte) error {
	h := ws.Header{Fin: true, Opcode: op}
	if !c.compresses(len(data)) {
		return c.writeFrame(h, data)
	}
	small := newScratch(len(data))
	defer small.free()
	takes := c.is(outTakes)
	if takes {
		small.b = c.more.deflater.Append(small.b, data)
	} else {
		alone := ws.Deflater{Side: ws.Side{Bits: int(c.window)}, Level: c.of.compression.Level}
		small.b = alone.Append(small.b, data)
	}
	if !takes && len(small.b) >= len(data) {
		return c.writeFrame(h, data)
	}
	h.Compressed = true
	err := c.writeFrame(h, small.b)
	if err != nil && takes {
		c.note(isPlain) // later messages must not refer to one that was not sent
	}
	return err
}

// compresses reports whether a message of n bytes is to be compressed, with mu
// held. While others wait that may be dropped, none may refer to those before it.
func (c *Conn) compresses(n int) bool {
	return c.bits.Load()&(isDeflated|isPlain) == isDeflated && n >= c.of.compression.Threshold &&
		!(c.is(outTakes) && c.out().busy())
}

// writeFrame queues a frame of a message, with mu held: behind those that wait.
func (c *Conn) writeFrame(h ws.Header, payload []byte) error {
	if c.out().busy() {
		return c.hold(c.compose(nil, h, payload), false)
	}
	return c.send(h, payload)
}

// send gives a frame to the connection beneath, with mu held.
func (c *Conn) send(h ws.Header, payload []byte) error {
	if c.of.client {
		s := newScratch(ws.MaxHeader + len(payload))
		defer s.free()
		s.b = c.compose(s.b, h, payload)
		n, err := c.conn.Write(s.b)
		c.queued += uint32(n)
		return err
	}
	var header [ws.MaxHeader]byte
	h.Length = int64(len(payload))
	n, err := c.conn.Writev([][]byte{h.Append(header[:0]), payload})
	c.queued += uint32(n)
	return err
}

// compose appends a frame as it is sent.
func (c *Conn) compose(dst []byte, h ws.Header, payload []byte) []byte {
	h.Length = int64(len(payload))
	if c.of.client {
		// ChaCha8, seeded by the system: nobody can foresee it (RFC 6455 5.3).
		h.Masked, h.Key = true, rand.Uint32()
	}
	dst = h.Append(dst)
	begin := len(dst)
	dst = append(dst, payload...)
	if h.Masked {
		ws.Mask(h.Key, 0, dst[begin:])
	}
	return dst
}

// Ping sends a ping with a payload of up to 125 bytes. It overtakes messages that
// wait because the peer is slow. The answer comes to a PongHandler. Pings that keep
// the connection alive are sent without it: see KeepAlive.
func (c *Conn) Ping(payload []byte) error {
	if len(payload) > maxControl {
		return fmt.Errorf("websocket: a ping of %d bytes; %d are allowed", len(payload), maxControl)
	}
	return c.writeControl(ws.Ping, payload)
}

// writeControl queues a ping or a pong.
func (c *Conn) writeControl(op Opcode, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.is(isClosing) {
		return ErrClosed
	}
	return c.send(ws.Header{Fin: true, Opcode: op}, payload)
}

// writeClose queues a Close frame, with mu held, behind all that waits. From then
// on nothing is written. If it cannot be queued, the connection is aborted.
func (c *Conn) writeClose(status Status, reason string) {
	var payload [maxControl]byte
	p := ws.AppendClose(payload[:0], status, reason)
	h := ws.Header{Fin: true, Opcode: ws.Close}
	c.note(isClosing)
	if o := c.out(); o != nil {
		if o.writer != nil { // what waits would come within its message
			c.drop()
		}
		o.wake()
		if len(o.held) > 0 {
			o.last = c.compose(nil, h, p)
			return
		}
	}
	if err := c.send(h, p); err != nil {
		_ = c.conn.Abort()
	}
}
