package buffer

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// FuzzLinkBuffer runs a script of operations on three buffers over one pool
// and compares them with plain byte slices after every step.
func FuzzLinkBuffer(f *testing.F) {
	f.Add([]byte{})
	// A request in two arrivals, read over the seam, echoed and released.
	f.Add([]byte{opAppendBlock, 0, 40, opAppendBlock, 0, 60, opPeek, 0, 80, opNext, 0, 80,
		opWrite, 1, 80, opBuffers, 1, 5, opSkip, 1, 80, opCompact, 0, 0, opRelease, 1, 0})
	// A proxy: slices with and without loans, the source closed first.
	f.Add([]byte{opWrite, 0, 0xff, opSlice, 0, 30, opPeek, 0, 9, opSlice, 0, 200, opClose, 0, 0,
		opAppendBuffer, 1, 1, opBytes, 2, 0, opWrite, 2, 50, opRelease, 2, 0, opUntil, 2, 4})
	// Everything that makes nodes, then one merge of all, then copies.
	f.Add([]byte{opWriteString, 0, 20, opAppend, 0, 30, opMalloc, 0, 0x8a, opWriteByte, 0, 1,
		opAppendBlock, 0, 0xa0, opWrite, 0, 0xf3, opBytes, 0, 0, opIndexByte, 0, 9,
		opRead, 0, 0x90, opRead, 0, 100, opSkip, 0, 0xc0, opRead, 0, 0xff})
	// Sizes that are negative and too large.
	f.Add([]byte{opAppend, 0, 50, opNext, 4, 3, opPeek, 0, 51, opSkip, 4, 1, opSlice, 0, 60,
		opSlice, 4, 1, opIndexByte, 4, 7, opBuffers, 4, 2, opCompact, 0, 0})
	// And for every run of the tests, scripts of anything.
	random := rand.New(rand.NewPCG(1, 2))
	for range 30 {
		script := make([]byte, 3*80)
		for i := range script {
			script[i] = byte(random.Uint32())
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		m := newModel(t)
		for ; len(script) >= 3 && m.steps < 300; script = script[3:] {
			m.step(script[0]%opCount, script[1], script[2])
			m.checkAll()
		}
		m.finish()
	})
}

const (
	opWrite = iota
	opWriteString
	opWriteByte
	opMalloc
	opAppend
	opAppendBlock
	opAppendBuffer
	opSlice
	opPeek
	opNext
	opSkip
	opUntil
	opIndexByte
	opRead
	opBytes
	opBuffers
	opRelease
	opCompact
	opClose
	opCount
)

// maxModelLen bounds what a buffer holds, for the fuzzer's speed.
const maxModelLen = 400 << 10

type loan struct{ got, want []byte }

// modelled is a buffer with what it should hold and what it has lent.
type modelled struct {
	LinkBuffer
	unread []byte
	loans  []loan
}

func (b *modelled) lend(got []byte) {
	b.loans = append(b.loans, loan{got, bytes.Clone(got)})
}

type model struct {
	*testing.T
	pool    Pool
	buffers [3]modelled
	given   []loan   // memory that was handed in and must not change
	blocks  []*Block // those of it that are blocks, with a reference each
	counter uint32   // makes every byte of the input different from its neighbours
	steps   int
}

func newModel(t *testing.T) *model {
	m := &model{T: t}
	for i := range m.buffers {
		m.buffers[i].SetPool(&m.pool)
	}
	return m
}

func (m *model) bytes(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		m.counter = m.counter*1664525 + 1013904223
		p[i] = byte(m.counter >> 24)
	}
	return p
}

// size spreads a script byte from single bytes to more than the largest block.
func size(arg byte) int {
	switch n := int(arg & 0x3f); arg >> 6 {
	case 0:
		return n
	case 1:
		return n * 17
	case 2:
		return n * 257
	default:
		return n * 1499
	}
}

func (m *model) step(op, which, arg byte) {
	m.steps++
	b := &m.buffers[which%3]
	other := &m.buffers[(which%3+1)%3]
	n := size(arg)
	if which&4 != 0 {
		n = -n
	}
	switch op {
	case opWrite, opWriteString, opWriteByte, opMalloc, opAppend, opAppendBlock:
		if n = max(n, -n); len(b.unread)+n+1 <= maxModelLen {
			m.write(b, op, n)
		}
	case opAppendBuffer:
		if arg&1 != 0 && len(b.unread)+len(other.unread) <= maxModelLen {
			b.AppendBuffer(&other.LinkBuffer)
			b.unread = append(b.unread, other.unread...)
			other.unread = nil
		} else {
			b.AppendBuffer(&b.LinkBuffer)
		}
	case opRelease, opCompact, opClose:
		m.release(b, op)
	case opUntil, opIndexByte, opBuffers, opBytes:
		m.look(b, op, n)
	default:
		m.read(b, other, op, n)
	}
}

func (m *model) write(b *modelled, op byte, n int) {
	p := m.bytes(n)
	switch op {
	case opWrite:
		if got, err := b.Write(p); got != n || err != nil {
			m.Fatalf("Write of %d: %d, %v", n, got, err)
		}
	case opWriteString:
		if got, err := b.WriteString(string(p)); got != n || err != nil {
			m.Fatalf("WriteString of %d: %d, %v", n, got, err)
		}
	case opWriteByte:
		p = []byte{byte(n)}
		b.WriteByte(byte(n))
	case opMalloc:
		if room := b.Malloc(n); copy(room, p) != n || len(room) != n {
			m.Fatalf("Malloc(%d) has %d bytes", n, len(room))
		}
	case opAppend:
		p = append(p, "behind"...)
		m.given = append(m.given, loan{p, bytes.Clone(p)})
		p = p[:n]
		b.Append(p)
	case opAppendBlock:
		blk := m.pool.Get(n + 10)
		clear(blk.Bytes())
		p = blk.Bytes()[5 : 5+copy(blk.Bytes()[5:], p)]
		m.given = append(m.given, loan{blk.Bytes(), bytes.Clone(blk.Bytes())})
		m.blocks = append(m.blocks, blk)
		b.AppendBlock(blk, p)
	}
	b.unread = append(b.unread, p...)
}

// read checks the operations that take a count of bytes to read.
func (m *model) read(b, other *modelled, op byte, n int) {
	var got []byte
	var err error
	switch op {
	case opPeek:
		got, err = b.Peek(n)
	case opNext:
		got, err = b.Next(n)
	case opSkip:
		err = b.Skip(n)
	case opSlice:
		if err = b.Slice(&b.LinkBuffer, n); err == nil {
			m.Fatal("Slice into itself succeeded")
		}
		err = b.Slice(&other.LinkBuffer, n)
	case opRead:
		m.readCopy(b, max(n, -n))
		return
	}
	if n < 0 || n > len(b.unread) {
		if len(got) != 0 || err == nil || errors.Is(err, ErrShort) != (n >= 0) {
			m.Fatalf("op %d of %d bytes of %d: %d bytes, %v", op, n, len(b.unread), len(got), err)
		}
		return
	}
	if err != nil {
		m.Fatalf("op %d of %d bytes of %d: %v", op, n, len(b.unread), err)
	}
	if op == opPeek || op == opNext {
		if !bytes.Equal(got, b.unread[:n]) {
			m.Fatalf("op %d read other bytes than were written", op)
		}
		b.lend(got)
	}
	if op == opSlice {
		other.unread = append(other.unread, b.unread[:n]...)
	}
	if op != opPeek {
		b.unread = b.unread[n:]
	}
}

func (m *model) readCopy(b *modelled, n int) {
	p := make([]byte, n)
	got, err := b.Read(p)
	if want := min(n, len(b.unread)); got != want || (err == io.EOF) != (n > 0 && want == 0) {
		m.Fatalf("Read of %d from %d: %d, %v", n, len(b.unread), got, err)
	}
	if !bytes.Equal(p[:got], b.unread[:got]) {
		m.Fatal("Read copied other bytes than were written")
	}
	b.unread = b.unread[got:]
}

// look checks the operations that search or show what there is.
func (m *model) look(b *modelled, op byte, n int) {
	delim := byte(n)
	switch op {
	case opUntil:
		got, err := b.Until(delim)
		end := bytes.IndexByte(b.unread, delim) + 1
		if !bytes.Equal(got, b.unread[:end]) || (err == nil) != (end > 0) {
			m.Fatalf("Until read %d bytes, want %d: %v", len(got), end, err)
		}
		b.lend(got)
		b.unread = b.unread[end:]
	case opIndexByte:
		from := min(max(n, 0), len(b.unread))
		want := bytes.IndexByte(b.unread[from:], delim)
		if want >= 0 {
			want += from
		}
		if got := b.IndexByte(delim, n); got != want {
			m.Fatalf("IndexByte(%d, %d) = %d, want %d", delim, n, got, want)
		}
	case opBytes:
		got := b.Bytes()
		if !bytes.Equal(got, b.unread) {
			m.Fatal("Bytes are other bytes than were written")
		}
		b.lend(got)
	case opBuffers:
		pieces := b.Buffers(nil, n)
		if len(pieces) > max(n, 0) || len(pieces) < n && !bytes.Equal(bytes.Join(pieces, nil), b.unread) {
			m.Fatalf("Buffers gave %d pieces of at most %d", len(pieces), n)
		}
		for _, p := range pieces {
			b.lend(p)
		}
	}
}

func (m *model) release(b *modelled, op byte) {
	switch op {
	case opRelease:
		b.Release()
	case opCompact:
		b.Compact()
	case opClose:
		b.Close()
		b.unread = nil
	}
	b.loans = nil
	if b.lent {
		m.Fatal("a released buffer believes that something is lent")
	}
}

// checkAll compares every buffer with its model, and what all of them refer
// to with the counts of the blocks and of the pool.
func (m *model) checkAll() {
	m.Helper()
	scribble(&m.pool)
	refs := make(map[*Block]int)
	for _, blk := range m.blocks {
		refs[blk]++
	}
	var nodes []*node
	for i := range m.buffers {
		b := &m.buffers[i]
		m.checkList(b)
		for _, l := range b.loans {
			if !bytes.Equal(l.got, l.want) {
				m.Fatal("a lent slice has changed")
			}
		}
		for nd := b.head; nd != nil; nd = nd.next {
			nodes = append(nodes, nd)
			if nd.blk != nil {
				refs[nd.blk]++
			}
		}
	}
	for _, l := range m.given {
		if !bytes.Equal(l.got, l.want) {
			m.Fatal("memory of the caller was written to")
		}
	}
	var size int64
	for blk, n := range refs {
		size += int64(len(blk.mem))
		if int(int32(blk.state.Load())) != n {
			m.Fatalf("a block counts %d references and has %d", int32(blk.state.Load()), n)
		}
	}
	if m.pool.Live() != int64(len(refs)) || m.pool.LiveBytes() != size {
		m.Fatalf("%d blocks live, %d referred to", m.pool.Live(), len(refs))
	}
	m.checkRoom(nodes)
}

// checkList checks the contents of b and the order of its list.
func (m *model) checkList(b *modelled) {
	m.Helper()
	var got []byte
	consumed := true
	var last *node
	for nd := b.head; nd != nil; nd = nd.next {
		if nd == b.read {
			consumed = false
		}
		if empty := nd.off == len(nd.buf); empty != consumed && b.n > 0 {
			m.Fatal("a node is on the wrong side of the first unread one")
		}
		got = append(got, nd.unread()...)
		last = nd
	}
	if last != b.tail || (b.head == nil) != (b.read == nil) || b.n == 0 && b.read != b.tail {
		m.Fatal("the list is broken")
	}
	if !b.lent && b.head != nil && (b.head != b.read || b.n == 0) {
		m.Fatal("consumed nodes are kept although nothing is lent")
	}
	if b.Len() != len(b.unread) || !bytes.Equal(got, b.unread) {
		m.Fatalf("the buffer holds %d bytes, Len %d, other than the %d it should", len(got), b.Len(), len(b.unread))
	}
}

// checkRoom checks that nobody else refers to the room that a node may yet
// write into.
func (m *model) checkRoom(nodes []*node) {
	m.Helper()
	for _, nd := range nodes {
		if cap(nd.buf) == len(nd.buf) {
			continue
		}
		start := uintptr(unsafe.Pointer(unsafe.SliceData(nd.buf)))
		room, end := start+uintptr(len(nd.buf)), start+uintptr(cap(nd.buf))
		for _, other := range nodes {
			if other == nd || len(other.buf) == 0 {
				continue
			}
			from := uintptr(unsafe.Pointer(unsafe.SliceData(other.buf)))
			if from < end && from+uintptr(cap(other.buf)) > room {
				m.Fatal("two nodes share room to write into")
			}
		}
	}
}

func (m *model) finish() {
	for i := range m.buffers {
		m.release(&m.buffers[i], opClose)
	}
	m.checkAll()
	for _, blk := range m.blocks {
		blk.Release()
	}
	if m.pool.Live() != 0 || m.pool.LiveBytes() != 0 {
		m.Fatalf("%d blocks, %d bytes were not released", m.pool.Live(), m.pool.LiveBytes())
	}
}
