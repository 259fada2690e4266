package buffer

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"weak"
)

func TestWrittenBytesAreReadInOrder(t *testing.T) {
	b := newBuffer(newPool(t))
	content := pattern(900 << 10)
	rest := content
	take := func(n int) []byte {
		p := rest[:n]
		rest = rest[n:]
		return p
	}
	b.Write(take(5))
	copy(b.Malloc(9<<10), take(9<<10))
	b.Append(take(20 << 10))
	b.WriteString(string(take(3000)))
	b.WriteByte(take(1)[0])
	copy(b.Malloc(100<<10), take(100<<10)) // larger than any pooled block
	b.Write(take(len(rest)))
	wantAll(t, b, string(content))
	if !bytes.Equal(b.Bytes(), content) {
		t.Error("in one piece the bytes differ from what was written")
	}
	b.Close()
}

func TestHugeWriteUsesPooledBlocks(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	content := pattern(5<<20 + 1)
	if n, err := b.Write(content); n != len(content) || err != nil {
		t.Fatal(n, err)
	}
	if p.liveExact.Load() != 0 || p.LiveBytes() > int64(len(content)+sizeLarge) {
		t.Errorf("%d bytes lie in %d", len(content), p.LiveBytes())
	}
	wantAll(t, b, string(content))
	b.Close()
}

func TestSmallWritesShareABlock(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	for range 1024 {
		b.WriteByte('x')
	}
	if p.Live() != 1 || len(b.Buffers(nil, 9)) != 1 {
		t.Errorf("1024 bytes lie in %d blocks", p.Live())
	}
	b.WriteByte('x')
	if p.Live() != 2 {
		t.Errorf("%d blocks", p.Live())
	}
	b.Close()
}

func TestBlocksGrowWithTheBuffer(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	for range 10000 {
		b.Write(pattern(100))
	}
	if p.Live() > 25 || p.LiveBytes() > 1000000+sizeLarge {
		t.Errorf("1000000 bytes lie in %d blocks of %d bytes", p.Live(), p.LiveBytes())
	}
	b.Close()
}

func TestMallocIsOnePieceAndCountsAtOnce(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	b.WriteString("ab")
	first := b.Malloc(3)
	second := b.Malloc(2000) // does not fit behind
	if len(first) != 3 || len(second) != 2000 || b.Len() != 2005 {
		t.Fatalf("%d, %d, Len %d", len(first), len(second), b.Len())
	}
	copy(first, "cde")
	text := bytes.Repeat([]byte("f"), 2000)
	copy(second, text)
	b.WriteString("g")
	wantAll(t, b, "abcde"+string(text)+"g")
	wantPanic(t, "buffer: negative size", func() { b.Malloc(-1) })
	b.Close()
}

func TestAppendLinksTheCallersMemory(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	mine := append(make([]byte, 0, 100), "mine"...)
	b.Append(mine)
	b.WriteString(" theirs")
	got, err := b.Peek(4)
	want(t, got, err, "mine")
	if &got[0] != &mine[0] {
		t.Error("Append copied")
	}
	if room := mine[4:10]; !bytes.Equal(room, make([]byte, 6)) {
		t.Errorf("the room behind the caller's bytes was written: %q", room)
	}
	b.Next(11)
	mine[0] = 'M' // the merged copy is not the caller's memory
	if s := string(mine); s != "Mine" {
		t.Errorf("the caller's bytes were changed to %q", s)
	}
	b.Release()
}

func TestAppendedMemoryIsNotKeptAfterRelease(t *testing.T) {
	b := newBuffer(newPool(t))
	mine := new([4096]byte)
	seen := weak.Make(mine)
	b.Append(mine[:])
	b.Next(len(mine))
	mine = nil
	b.Release()
	b.WriteString("the buffer and the node live on")
	runtime.GC()
	if seen.Value() != nil {
		t.Error("the caller's memory is still referred to")
	}
	b.Close()
}

func TestReleasedBlocksDoNotKeepTheirNeighbours(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	first, second := p.Get(1), p.Get(sizeLarge+1) // the second goes to no pool
	b.AppendBlock(first, first.Bytes())
	b.AppendBlock(second, second.Bytes())
	seen := weak.Make(second)
	second.Release()
	second = nil
	b.Close()
	runtime.GC()
	if seen.Value() != nil {
		t.Error("a block that was linked behind another is still referred to")
	}
	first.Release()
}

func TestAppendBlockNeverWritesIntoTheBlock(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	blk := p.Get(100)
	clear(blk.Bytes())
	copy(blk.Bytes(), "abcdef")
	b.AppendBlock(blk, blk.Bytes()[:3])
	b.WriteString("XYZ")
	b.AppendBlock(blk, blk.Bytes()[3:6])
	b.Malloc(3)[0] = 'Q'
	b.Peek(8)
	if got := string(blk.Bytes()[:8]); got != "abcdef\x00\x00" {
		t.Errorf("the block holds %q", got)
	}
	blk.Release()
	got, err := b.Peek(9)
	want(t, got, err, "abcXYZdef")
	b.Close()
}

func TestWritesLeaveBytesThatAreBeingSentAlone(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	b.WriteString("being ")
	b.Append([]byte("sent"))
	b.WriteString(" now")
	flight := b.Buffers(nil, 16)
	b.WriteString(", later")
	b.Write(pattern(100 << 10))
	b.Skip(3) // the kernel took a part and keeps the rest
	b.Release()
	scribble(p)
	if got := string(bytes.Join(flight, nil)); got != "being sent now" {
		t.Errorf("the kernel reads %q", got)
	}
	b.Skip(11)
	b.Release()
	wantAll(t, b, ", later"+string(pattern(100<<10)))
	b.Close()
}

func TestBuffersObeysItsLimit(t *testing.T) {
	b := newBuffer(newPool(t), "a", "b", "c")
	dst := [][]byte{[]byte("before")}
	for limit, pieces := range map[int]string{-1: "", 0: "", 1: "a", 2: "ab", 3: "abc", 4: "abc"} {
		got := b.Buffers(dst, limit)
		if s := string(bytes.Join(got, nil)); s != "before"+pieces {
			t.Errorf("limit %d: %q", limit, s)
		}
	}
	b.Close()
}

func TestAppendBufferMovesEverything(t *testing.T) {
	p := newPool(t)
	for _, lent := range []bool{false, true} {
		b, src := newBuffer(p, "dst "), newBuffer(p, "xsrc ", "more ")
		src.WriteString("own")
		src.Skip(1)
		live := p.Live()
		var peeked []byte
		if lent {
			peeked, _ = src.Peek(3)
		}
		b.AppendBuffer(src)
		if p.Live() != live {
			t.Error("AppendBuffer took blocks")
		}
		wantAll(t, b, "dst src more own")
		wantAll(t, src, "")
		src.WriteString("src again")
		b.WriteString("!")
		wantAll(t, src, "src again")
		b.Close()
		scribble(p)
		if lent {
			want(t, peeked, nil, "src")
		}
		src.Close()
	}
}

func TestAppendBufferDoesNotPinLargeBlocksForSmallPieces(t *testing.T) {
	for _, size := range []int{1, 100, 5000} {
		for _, lent := range []bool{false, true} {
			p := newPool(t)
			b, in, piece := newBuffer(p), newBuffer(p), newBuffer(p)
			content, total := pattern(size), 300*size
			for range 300 {
				scratch := p.Get(sizeLarge) // as if the last one were kept elsewhere
				in.AppendBlock(scratch, scratch.Bytes()[:copy(scratch.Bytes(), content)])
				scratch.Release()
				if err := in.Slice(piece, size); err != nil {
					t.Fatal(err)
				}
				var peeked []byte
				if lent {
					peeked = piece.Bytes()
				}
				b.AppendBuffer(piece)
				scribble(p)
				if lent && !bytes.Equal(peeked, content) {
					t.Fatal("a loan ended before Release")
				}
				piece.Release()
				in.Release()
			}
			if held := p.LiveBytes(); held > int64(total)+sizeLarge {
				t.Errorf("%d bytes in pieces of %d hold %d", total, size, held)
			}
			wantAll(t, b, strings.Repeat(string(content), 300))
			b.Close()
		}
	}
}

func TestAppendBufferLinksLargePieces(t *testing.T) {
	p := newPool(t)
	b, src := newBuffer(p, "dst"), newBuffer(p)
	scratch := p.Get(sizeLarge)
	large, small := scratch.Bytes()[:sizeMedium+1], scratch.Bytes()[sizeMedium+1:][:sizeMedium]
	own := []byte("the caller's")
	src.AppendBlock(scratch, large)
	src.AppendBlock(scratch, small)
	src.Append(own)
	b.AppendBuffer(src)
	pieces := b.Buffers(nil, 10)
	for i, same := range map[int][]byte{1: large, len(pieces) - 1: own} {
		if &pieces[i][0] != &same[0] {
			t.Errorf("piece %d was copied", i)
		}
	}
	if &pieces[2][0] == &small[0] {
		t.Error("a small piece was linked")
	}
	wantAll(t, b, "dst"+string(scratch.Bytes()[:2*sizeMedium+1])+string(own))
	b.Close()
	scratch.Release()
}

func TestEchoDoesNotAllocate(t *testing.T) {
	if raceEnabled() {
		t.Skip("the race detector makes sync.Pool drop items at random")
	}
	e := newEcho(newPool(t))
	defer e.scratch.Release()
	if n := testing.AllocsPerRun(1000, func() { e.pass(1 << 10) }); n != 0 {
		t.Errorf("%v allocations for one echo", n)
	}
}

// echo is what a loop and an echo handler do with a message: link what the
// driver lends, read it in place, write it, send it, release both sides.
type echo struct {
	scratch *Block
	in, out LinkBuffer
	pieces  [][]byte
}

func newEcho(p *Pool) *echo {
	e := &echo{scratch: p.Get(sizeLarge), pieces: make([][]byte, 0, 16)}
	e.in.SetPool(p)
	e.out.SetPool(p)
	return e
}

func (e *echo) pass(n int) {
	e.in.AppendBlock(e.scratch, e.scratch.Bytes()[:n])
	message, _ := e.in.Next(n)
	e.out.Write(message)
	sent := 0
	for _, p := range e.out.Buffers(e.pieces, 16) {
		sent += len(p)
	}
	e.out.Skip(sent)
	e.in.Release()
	e.out.Release()
}
