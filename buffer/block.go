package buffer

import "sync/atomic"

// Block is a piece of memory that several owners share. It begins with one
// reference; whoever gives back the last one returns it to its Pool. Retain,
// Release and Shared may be called from any goroutine that holds a reference,
// or to which one is lent for the time of the call.
type Block struct {
	// state counts the references in its low half. The bit nodeTaken is set
	// exactly when some LinkBuffer uses the node below, so that taking or
	// giving back reference and node together is one atomic operation.
	state atomic.Int64
	pool  *Pool
	class int
	// live is true exactly when the block is handed out. It is not atomic:
	// only Pool and the last owner write it.
	live bool
	mem  []byte
	// node saves the first buffer that links the block a node of its own.
	node node
}

// nodeTaken lies above the count, which is therefore int32(state).
const nodeTaken = 1 << 32

// Bytes returns the whole memory of the block. It may be used for as long as
// a reference is held; owners must agree on who writes where.
func (b *Block) Bytes() []byte { return b.mem }

// Shared reports whether more than one reference is held.
func (b *Block) Shared() bool { return int32(b.state.Load()) > 1 }

// Retain takes one more reference. It panics if there was none left.
func (b *Block) Retain() {
	b.mustLive("Retain")
	b.state.Add(1)
}

// Release gives one reference back, and with the last the block, which goes
// to its Pool and must not be touched any more. It panics if there was none
// left.
func (b *Block) Release() { b.drop(1) }

// take retains the block together with a node to link it by: the block's own
// if no other buffer uses it.
func (b *Block) take() *node {
	b.mustLive("Retain")
	for {
		s := b.state.Load()
		if s&nodeTaken != 0 {
			b.state.Add(1)
			return newNode()
		}
		if b.state.CompareAndSwap(s, s+nodeTaken+1) {
			return &b.node
		}
	}
}

// drop takes share from the state: one reference, perhaps with the node.
func (b *Block) drop(share int64) {
	// A sole owner needs no atomic write: nobody else is left who could
	// change the state, and the load has seen what all others did before.
	if b.state.Load() != share {
		s := int32(b.state.Add(-share))
		if s > 0 {
			return
		}
		if s < 0 {
			panic("buffer: Release of a Block without references")
		}
	}
	b.mustLive("Release")
	b.live = false
	b.pool.put(b)
}

func (b *Block) mustLive(verb string) {
	if !b.live {
		panic("buffer: " + verb + " of a Block without references")
	}
}
