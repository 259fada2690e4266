package websocket

import (
	"context"
	"errors"
	"io"
	"sync"
)

// unreadMax is how many bytes of messages may wait for Blocking.Read before reading
// from the connection pauses.
const unreadMax = 64 << 10

// partCost is what a part counts in addition to its bytes, of which it may have none.
const partCost = 64

// Blocking is a connection for code that waits for messages, in a goroutine of its
// own or in an offloaded job. It must not be used in a callback. Several goroutines
// may call Read, and several write; each message goes to one of them. Reader is for a
// goroutine that reads alone.
type Blocking struct {
	c *Conn

	mu     sync.Mutex
	change sync.Cond
	parts  []part         // that nobody has read
	bytes  int            // of them, with partCost for each
	held   bool           // true exactly when reading is paused because of them
	taken  bool           // true exactly when somebody waits for a message or is in the midst of one
	reader *messageReader // of a message that has not been read to its end, otherwise nil
	err    error          // why nothing more will come
}

// part is a part of a message that waits to be read.
type part struct {
	op          Opcode
	data        []byte
	first, last bool
}

// Blocking turns c into one that is read by waiting: OnMessage, OnPart, OnPing and
// OnPong are not called any more, and pings are still answered. OnClose is still
// called. Call it in OnOpen: messages that came before it went to OnMessage and are not
// read again. Server.UpgradeBlocking does so.
func (c *Conn) Blocking() *Blocking {
	b := &Blocking{c: c}
	b.change.L = &b.mu
	c.mu.Lock()
	defer c.mu.Unlock()
	if x := c.extra(); x.view != nil {
		return x.view
	}
	c.more.view = b
	c.note(isViewed)
	if c.is(isHungUp | isEnded) {
		b.fail(c.cause())
	}
	return b
}

// full reports whether nothing is read because nobody has read what came. b may be nil.
func (b *Blocking) full() bool {
	if b == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

// push takes a part. Loop only.
func (b *Blocking) push(op Opcode, data []byte, first, last bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parts = append(b.parts, part{op, append([]byte(nil), data...), first, last})
	b.bytes += len(data) + partCost
	if b.bytes > unreadMax && !b.held {
		b.held = true
		_ = b.c.PauseRead()
	}
	b.change.Broadcast()
}

// fail notes why nothing more will come. b may be nil.
func (b *Blocking) fail(err error) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		err = ErrClosed
	}
	b.err = err
	b.change.Broadcast()
}

// await waits until ready says true, with mu held. The error is that of ctx.
func (b *Blocking) await(ctx context.Context, ready func() bool) error {
	if ready() {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.change.Broadcast()
	})
	defer stop()
	for !ready() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		b.change.Wait()
	}
	return nil
}

// take waits for the next part and removes it, with mu held. r is who reads it, if it
// goes on with a message.
func (b *Blocking) take(ctx context.Context, r *messageReader) (part, error) {
	left := func() bool { return r != nil && r.left }
	if err := b.await(ctx, func() bool { return len(b.parts) > 0 || b.err != nil || left() }); err != nil {
		return part{}, err
	}
	switch {
	case left():
		return part{}, errLeft
	case len(b.parts) == 0:
		return part{}, b.err
	}
	p := b.parts[0]
	b.parts[0] = part{}
	if b.parts = b.parts[1:]; len(b.parts) == 0 {
		b.parts = nil
	}
	b.bytes -= len(p.data) + partCost
	if b.held && b.bytes <= unreadMax/2 {
		b.held = false
		_ = b.c.ResumeRead()
	}
	return p, nil
}

// first waits for its turn and for a message, and returns the message's first part, with
// mu held. Without an error done follows.
func (b *Blocking) first(ctx context.Context) (part, error) {
	if err := b.await(ctx, func() bool { return !b.taken }); err != nil {
		return part{}, err
	}
	b.taken = true
	if b.reader != nil {
		b.reader.left = true
		b.reader = nil
		b.change.Broadcast()
	}
	for {
		p, err := b.take(ctx, nil)
		if err != nil {
			b.done()
			return part{}, err
		}
		if p.first { // not of a message that nobody wanted to read to its end
			return p, nil
		}
	}
}

// done lets others have their turn, with mu held.
func (b *Blocking) done() {
	b.taken = false
	b.change.Broadcast()
}

// Read waits for the next message and returns it; the bytes are the caller's. The error
// is that of ctx, and then the connection goes on, or what OnClose is given: ErrClosed,
// in place of nil, if this side has closed it, as Server.Shutdown does. A message of
// which a part has been read when ctx ends is lost.
func (b *Blocking) Read(ctx context.Context) (Opcode, []byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.first(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer b.done()
	op, data := p.op, p.data
	for !p.last {
		if p, err = b.take(ctx, nil); err != nil {
			return 0, nil, err
		}
		data = append(data, p.data...)
	}
	return op, data, nil
}

// Reader waits for the next message and returns its kind and a reader of its bytes,
// which waits for them as they come, until ctx ends. Then what is left of the message
// before, if its reader has not read it to its end, is skipped.
func (b *Blocking) Reader(ctx context.Context) (Opcode, io.Reader, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := b.first(ctx)
	if err != nil {
		return 0, nil, err
	}
	defer b.done()
	r := &messageReader{b: b, ctx: ctx, rest: p.data, last: p.last}
	if !p.last {
		b.reader = r
	}
	return p.op, r, nil
}

// messageReader reads a message.
type messageReader struct {
	b    *Blocking
	ctx  context.Context
	rest []byte
	last bool // true exactly when nothing of the message follows rest
	left bool // true exactly when another message is being read
}

var errLeft = errors.New("websocket: the next message is being read")

// Read returns bytes of the message, and io.EOF at its end.
func (r *messageReader) Read(p []byte) (int, error) {
	b := r.b
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(r.rest) == 0 {
		if r.last {
			return 0, io.EOF
		}
		next, err := b.take(r.ctx, r)
		if err != nil {
			return 0, err
		}
		if r.rest, r.last = next.data, next.last; r.last {
			b.reader = nil
		}
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Write sends a message, and waits while the connection is above its high-water mark.
// The error is that of ctx, with nothing sent, or one of Conn.WriteMessage.
func (b *Blocking) Write(ctx context.Context, op Opcode, data []byte) error {
	c := b.c
	stop := context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.out().wake()
	})
	defer stop()
	if op != Text && op != Binary {
		return errKind
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitFor(func() bool { return ctx.Err() != nil || !c.conn.AboveHighWater() && !c.out().busy() })
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return c.message(op, data)
}

// Writer begins a message that is written in parts, as Conn.Writer does.
func (b *Blocking) Writer(op Opcode) (*Writer, error) { return b.c.Writer(op) }

// Conn returns the connection.
func (b *Blocking) Conn() *Conn { return b.c }

// Close closes the connection, as Conn.Close does.
func (b *Blocking) Close(status Status, reason string) error { return b.c.Close(status, reason) }
