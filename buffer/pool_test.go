package buffer

import (
	"runtime"
	"sync"
	"testing"
	"weak"
)

func TestPoolGivesTheSmallestSizeThatFits(t *testing.T) {
	p := newPool(t)
	for _, c := range []struct{ n, size int }{
		{0, 1 << 10}, {1, 1 << 10}, {1 << 10, 1 << 10},
		{1<<10 + 1, 8 << 10}, {8 << 10, 8 << 10},
		{8<<10 + 1, 64 << 10}, {64 << 10, 64 << 10},
		{64<<10 + 1, 64<<10 + 1}, {1 << 20, 1 << 20},
	} {
		b := p.Get(c.n)
		if len(b.Bytes()) != c.size {
			t.Errorf("Get(%d) has %d bytes, want %d", c.n, len(b.Bytes()), c.size)
		}
		if p.Live() != 1 || p.LiveBytes() != int64(c.size) {
			t.Errorf("after Get(%d): Live %d, LiveBytes %d", c.n, p.Live(), p.LiveBytes())
		}
		b.Release()
	}
	wantPanic(t, "buffer: negative size", func() { p.Get(-1) })
}

func TestPoolReusesReleasedBlocks(t *testing.T) {
	if raceEnabled() {
		t.Skip("the race detector makes sync.Pool drop items at random")
	}
	p := newPool(t)
	b := p.Get(1)
	b.Release()
	again := p.Get(1)
	defer again.Release()
	if again != b {
		t.Error("a new block was made although one lay in the pool")
	}
}

func TestPoolShrinksWhenItsBlocksAreNotUsed(t *testing.T) {
	p := newPool(t)
	var blocks []*Block
	var seen []weak.Pointer[Block]
	for range 100 {
		b := p.Get(sizeLarge)
		blocks = append(blocks, b)
		seen = append(seen, weak.Make(b))
	}
	for _, b := range blocks {
		b.Release()
	}
	clear(blocks)
	for range 3 { // two empty the pool, the third frees what was in it
		runtime.GC()
	}
	for _, w := range seen {
		if w.Value() != nil {
			t.Fatal("an unused block is still kept")
		}
	}
	runtime.KeepAlive(p)
}

func TestReleaseByTheLastOwnerAlone(t *testing.T) {
	p := newPool(t)
	b := p.Get(1)
	if b.Shared() {
		t.Error("a new block is shared")
	}
	b.Retain()
	if !b.Shared() {
		t.Error("a retained block is not shared")
	}
	b.Release()
	if b.Shared() || p.Live() != 1 {
		t.Error("the block of one owner is shared or gone")
	}
	b.Release()
	if p.Live() != 0 {
		t.Error("the last Release did not give the block back")
	}
}

func TestReleaseBelowZeroPanics(t *testing.T) {
	const message = "buffer: Release of a Block without references"
	p := newPool(t)

	sole := p.Get(1)
	sole.Release()
	wantPanic(t, message, sole.Release)

	p = newPool(t)
	shared := p.Get(1)
	shared.Retain()
	shared.Release()
	shared.Release()
	wantPanic(t, message, shared.Release)

	// A block that a buffer made has its node in use when it comes back.
	p = newPool(t)
	b := newBuffer(p)
	b.Malloc(1)
	written := b.tail.blk
	b.Close()
	wantPanic(t, message, written.Release)

	// One whose references were counted down to zero.
	p = newPool(t)
	counted := p.Get(1)
	b = newBuffer(p)
	b.AppendBlock(counted, counted.Bytes())
	counted.Release()
	b.Close()
	wantPanic(t, message, counted.Release)
}

func TestRetainOfAReleasedBlockPanics(t *testing.T) {
	const message = "buffer: Retain of a Block without references"
	p := newPool(t)
	b := p.Get(1)
	b.Release()
	wantPanic(t, message, b.Retain)
	wantPanic(t, message, func() { newBuffer(p).AppendBlock(b, b.Bytes()) })
}

func TestBlockIsSharedByGoroutines(t *testing.T) {
	p := newPool(t)
	for range 200 {
		blk := p.Get(100)
		text := blk.Bytes()[:copy(blk.Bytes(), "shared by many")]
		var wg sync.WaitGroup
		for range 4 {
			blk.Retain()
			wg.Go(func() {
				b := newBuffer(p)
				b.AppendBlock(blk, text)
				b.AppendBlock(blk, text)
				blk.Release()
				b.Skip(3)
				if got, err := b.Next(len(text)); err != nil || string(got) != "red by manysha" {
					t.Errorf("got %q, %v", got, err)
				}
				b.Close()
			})
		}
		blk.Release()
		wg.Wait()
	}
}
