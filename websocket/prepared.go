package websocket

import (
	"sync"

	"github.com/sluice-go/sluice/ws"
)

// Prepared is a message for many connections. It is framed once, and compressed
// once for each size of window, however many connections it is sent to; all of them
// send the same memory. It may be used by many goroutines, for as long as one likes.
type Prepared struct {
	op    Opcode
	frame []byte // not compressed, as a server sends it
	data  []byte // of it

	mu    sync.Mutex
	small [16][]byte // compressed frames, by bits of the window
}

// Prepare returns a message that is Text or Binary; it panics if op is neither. data
// is copied. Text must be valid UTF-8, which is not checked.
func Prepare(op Opcode, data []byte) *Prepared {
	if op != Text && op != Binary {
		panic(errKind)
	}
	h := ws.Header{Fin: true, Opcode: op, Length: int64(len(data))}
	frame := h.Append(make([]byte, 0, ws.MaxHeader+len(data)))
	begin := len(frame)
	frame = append(frame, data...)
	return &Prepared{op: op, frame: frame, data: frame[begin:]}
}

// check panics, in the caller of a public method, if p was not made by Prepare.
func (p *Prepared) check() {
	if p == nil || p.frame == nil {
		panic("websocket: the *Prepared is nil or was not made by Prepare")
	}
}

// compressed returns the frame compressed for a window of some bits.
func (p *Prepared) compressed(bits uint8, level int) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.small[bits] == nil {
		d := ws.Deflater{Side: ws.Side{Bits: int(bits)}, Level: level}
		payload := d.Append(nil, p.data)
		if len(payload) >= len(p.data) {
			p.small[bits] = p.frame
			return p.frame
		}
		h := ws.Header{Fin: true, Compressed: true, Opcode: p.op, Length: int64(len(payload))}
		p.small[bits] = append(h.Append(make([]byte, 0, ws.MaxHeader+len(payload))), payload...)
	}
	return p.small[bits]
}

// WritePrepared queues p without a copy. If the peer does not keep up, p meets the
// Policy of Backlog: it may be dropped, which is no error, or cost the connection.
// The errors are ErrClosed, ErrSlow, and those of sluice.Conn.Append.
func (c *Conn) WritePrepared(p *Prepared) error {
	p.check()
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.writePrepared(p)
	if err == nil {
		c.of.count(c.conn.Loop()).out.Add(1)
	}
	return err
}

// writePrepared is WritePrepared with mu held.
func (c *Conn) writePrepared(p *Prepared) error {
	switch {
	case c.is(isClosing):
		return ErrClosed
	case c.of.client: // whose frames are masked, each in its own way
		return c.writeMessage(p.op, p.data)
	case !c.compresses(len(p.data)):
		return c.link(p.frame)
	}
	frame := p.compressed(c.window, c.of.compression.Level)
	err := c.link(frame)
	if c.is(outTakes) && &frame[0] != &p.frame[0] { // then nothing waits, so that it is not dropped: later messages may refer to it
		if err != nil {
			c.note(isPlain)
		}
		c.more.deflater.Sent(p.data)
	}
	return err
}
