package buffer

import "sync"

// LinkBuffer is a queue of bytes that lie in a list of blocks. Bytes are
// written at the end and read from the front in place. The zero value is an
// empty buffer over the Default pool. It is not safe for concurrent use and
// must not be copied after its first use.
type LinkBuffer struct {
	pool *Pool
	// The list: head to read (exclusive) is consumed but perhaps lent, read
	// to tail is unread. All three are nil or none is. read has unread bytes
	// unless n is 0; then it is the tail.
	head, read, tail *node
	n                int // unread bytes
	// lent is true exactly when slices may be in use that were handed out
	// since the last Release, so that no node may leave the list. While it
	// is false, the list has no consumed nodes.
	lent bool
}

// A node is one piece of a LinkBuffer.
type node struct {
	next *node
	blk  *Block // nil when the memory is the caller's
	// buf is what was written. Behind it, up to its capacity, lies free room
	// that is this node's alone: everything handed out, and every other node
	// over the same block, ends at its own length.
	buf []byte
	off int // the first unread byte of buf
}

var nodePool = sync.Pool{New: func() any { return new(node) }}

func newNode() *node { return nodePool.Get().(*node) }

// free gives back the node and its reference to the block.
func (nd *node) free() {
	blk := nd.blk
	nd.next = nil
	if blk != nil && nd == &blk.node {
		blk.drop(nodeTaken + 1)
		return
	}
	*nd = node{}
	nodePool.Put(nd)
	if blk != nil {
		blk.drop(1)
	}
}

func (nd *node) unread() []byte { return nd.buf[nd.off:len(nd.buf):len(nd.buf)] }

// SetPool chooses where new blocks come from; nil means Default. Blocks that
// the buffer already holds go back to where they came from.
func (b *LinkBuffer) SetPool(p *Pool) { b.pool = p }

// Len returns the number of unread bytes.
func (b *LinkBuffer) Len() int { return b.n }

// Release ends the loan of everything that was read so far: the slices must
// not be used any more, and blocks without unread bytes go back to their
// pools. An empty buffer owns no block after it.
func (b *LinkBuffer) Release() {
	b.lent = false
	keep := b.read
	if b.n == 0 {
		keep = nil
	}
	nd := b.head
	for nd != keep {
		next := nd.next
		nd.free()
		nd = next
	}
	b.head = keep
	if keep == nil {
		b.read, b.tail = nil, nil
	}
}

// Close gives back everything, read or not. The buffer is empty then, and
// may be used again.
func (b *LinkBuffer) Close() {
	b.n = 0
	b.Release()
}

// Compact is Release for a buffer that will now wait for more: it also copies
// the last piece into a smaller block, or behind the piece before it, if it
// is small for the block that it keeps from its pool. A connection at rest
// thus does not hold 64 KiB for the sake of half a request. Bytes that were
// appended without a copy by Append stay where they are.
func (b *LinkBuffer) Compact() {
	b.Release()
	t := b.tail
	if t == nil || t.blk == nil || classOf(len(t.buf)-t.off) >= t.blk.class {
		return
	}
	if t != b.head && len(t.buf) < cap(t.buf) {
		return // not small but new: sizeFor chose it for what is to come
	}
	rest := t.unread()
	b.n -= len(rest)
	b.unlinkLast()
	b.Write(rest)
	t.free()
}

// unlinkLast takes the tail out of a list without consumed nodes.
func (b *LinkBuffer) unlinkLast() {
	if b.head == b.tail {
		b.head, b.read, b.tail = nil, nil, nil
		return
	}
	nd := b.head
	for nd.next != b.tail {
		nd = nd.next
	}
	nd.next, b.tail = nil, nd
}

// newBlock returns a node over a new block that this buffer may write into.
func (b *LinkBuffer) newBlock(size int) *node {
	p := b.pool
	if p == nil {
		p = &Default
	}
	blk := p.get(size, nodeTaken+1)
	nd := &blk.node
	nd.buf, nd.off = blk.mem[:0], 0
	return nd
}

// link puts nd at the end. The caller counts its bytes afterwards.
func (b *LinkBuffer) link(nd *node) {
	nd.next = nil
	if b.tail == nil {
		b.head, b.read, b.tail = nd, nd, nd
		return
	}
	b.tail.next = nd
	b.tail = nd
	if b.n == 0 {
		b.read = nd
	}
}
