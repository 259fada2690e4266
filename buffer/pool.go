package buffer

import (
	"sync"
	"sync/atomic"
)

// The sizes of pooled blocks in bytes. The smallest is what a connection that
// keeps an unfinished request costs, the largest is about what one read from
// a busy socket brings; a factor of 8 between them keeps the classes few.
const (
	sizeSmall  = 1 << 10
	sizeMedium = 8 << 10
	sizeLarge  = 64 << 10
)

var classSize = [...]int{sizeSmall, sizeMedium, sizeLarge}

// classExact is the class of blocks that are larger than the pooled ones.
const classExact = len(classSize)

// Default is the pool of every LinkBuffer that was given none.
var Default Pool

// Pool hands out blocks and takes them back. Unused memory is not kept for
// ever: what nobody asked for during two garbage collections is freed. The
// zero value is ready. All methods may be called from any goroutine; a Pool
// must not be copied after its first use.
type Pool struct {
	free [len(classSize)]sync.Pool
	_    [64]byte // the counters change all the time, the pools' heads do not
	// live counts by class; the bytes follow from it, except the exact ones.
	live      [len(classSize) + 1]atomic.Int64
	liveExact atomic.Int64 // bytes
	_         [64]byte
}

// Get returns a block of at least n bytes with one reference, which is the
// caller's. Its content is undefined. Up to 64 KiB it comes from the pool in
// one of three sizes, 1, 8 and 64 KiB; larger ones are made to measure and
// left to the garbage collector. Get panics if n is negative.
func (p *Pool) Get(n int) *Block { return p.get(n, 1) }

// get is Get with a choice of the state that the block begins in.
func (p *Pool) get(n int, state int64) *Block {
	class := classOf(n)
	p.live[class].Add(1)
	var b *Block
	if class == classExact {
		p.liveExact.Add(int64(n))
		b = newBlock(p, class, n)
	} else if b, _ = p.free[class].Get().(*Block); b == nil {
		b = newBlock(p, class, classSize[class])
	}
	// Blocks mostly come back in the state they are wanted in.
	if b.state.Load() != state {
		b.state.Store(state)
	}
	b.live = true
	return b
}

// put takes back a block that has no references.
func (p *Pool) put(b *Block) {
	p.live[b.class].Add(-1)
	if b.class == classExact {
		p.liveExact.Add(-int64(len(b.mem)))
		return
	}
	p.free[b.class].Put(b)
}

// Live returns the number of blocks that are handed out and not yet released.
func (p *Pool) Live() int64 {
	var n int64
	for class := range p.live {
		n += p.live[class].Load()
	}
	return n
}

// LiveBytes returns the memory of these blocks in bytes.
func (p *Pool) LiveBytes() int64 {
	n := p.liveExact.Load()
	for class, size := range classSize {
		n += p.live[class].Load() * int64(size)
	}
	return n
}

func newBlock(p *Pool, class, size int) *Block {
	b := &Block{pool: p, class: class, mem: make([]byte, size)}
	b.node.blk = b
	return b
}

func classOf(n int) int {
	switch {
	case n < 0:
		panic("buffer: negative size")
	case n <= sizeSmall:
		return 0
	case n <= sizeMedium:
		return 1
	case n <= sizeLarge:
		return 2
	}
	return classExact
}
