//go:build linux

package proactor

import (
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/uring"
)

// group is that of the only ring of buffers.
const group = 0

// lending are the buffers that the kernel receives into for all connections, each
// for the time of a Received. They suit messages that fit in one. Longer ones would
// come in pieces, each of which costs as much as a message, and would be sent when
// they have left the cache. So a connection that filled one is served as over epoll
// from then on: it is polled, read into one block that all of these share, and what
// is sent on it is written at once.
type lending struct {
	ring   *uring.BufferRing
	pool   *buffer.Pool
	size   int             // of a buffer, in bytes
	blocks []*buffer.Block // those that are the kernel's, by number
	back   bool            // true exactly when some were given back and not published
}

func newLending(ring *uring.Ring, pool *buffer.Pool, n, size int) (*lending, error) {
	r, err := ring.NewBufferRing(group, n)
	if err != nil {
		return nil, err
	}
	l := &lending{ring: r, pool: pool, size: size, blocks: make([]*buffer.Block, n)}
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
