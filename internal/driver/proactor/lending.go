//go:build linux

package proactor

import (
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/uring"
)

// buffers are those of one ring of them.
type buffers struct {
	n    int // a power of two
	size int // in bytes
}

// lending are the buffers that the kernel receives into for many connections.
// There are two kinds: messages that are larger than a small buffer would come in
// pieces, each of which costs as much as a message, and small ones in large buffers
// would be spread over more memory. A connection begins with small ones and has
// large ones from when it filled one.
type lending struct {
	buffers
	ring   *uring.BufferRing
	pool   *buffer.Pool
	blocks []*buffer.Block // those that are the kernel's, by number
	back   bool            // true exactly when some were given back and not published
}

func newLending(ring *uring.Ring, pool *buffer.Pool, group uint16, b buffers) (*lending, error) {
	r, err := ring.NewBufferRing(group, b.n)
	if err != nil {
		return nil, err
	}
	l := &lending{buffers: b, ring: r, pool: pool, blocks: make([]*buffer.Block, b.n)}
	for i := range l.blocks {
		l.provide(i)
	}
	l.ring.Publish()
	return l, nil
}

// provide gives the kernel a new block as buffer i.
func (l *lending) provide(i int) {
	l.blocks[i] = l.pool.Get(l.size)
	l.ring.Add(i, l.blocks[i].Bytes()[:l.size])
}

// giveBack lets the kernel have buffer i again. Whoever retained its block keeps
// it.
func (l *lending) giveBack(i int) {
	if b := l.blocks[i]; b.Shared() {
		b.Release()
		l.provide(i)
	} else {
		l.ring.Add(i, b.Bytes()[:l.size])
	}
	l.back = true
}

// publish shows the kernel what was given back.
func (l *lending) publish() {
	if l.back {
		l.back = false
		l.ring.Publish()
	}
}

// close takes all buffers back. Nothing may be received any more.
func (l *lending) close() error {
	for _, b := range l.blocks {
		b.Release()
	}
	return l.ring.Close()
}
