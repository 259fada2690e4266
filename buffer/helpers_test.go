package buffer

import (
	"bytes"
	"runtime/debug"
	"testing"
)

// newPool returns a pool that must have all its blocks back when the test ends.
func newPool(t *testing.T) *Pool {
	t.Helper()
	p := new(Pool)
	t.Cleanup(func() {
		if p.Live() != 0 || p.LiveBytes() != 0 {
			t.Errorf("%d blocks of %d bytes were not released", p.Live(), p.LiveBytes())
		}
	})
	return p
}

// newBuffer returns a buffer over p that holds the given pieces, each in a
// block of its own.
func newBuffer(p *Pool, pieces ...string) *LinkBuffer {
	b := new(LinkBuffer)
	b.SetPool(p)
	for _, s := range pieces {
		blk := p.Get(len(s))
		b.AppendBlock(blk, blk.Bytes()[:copy(blk.Bytes(), s)])
		blk.Release()
	}
	return b
}

// pattern returns n bytes that differ from their neighbours and repeat late.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8)
	}
	return p
}

// scribble overwrites every block that lies unused in the pool, so that a
// slice into a block that came back too early shows.
func scribble(p *Pool) {
	for class := range p.free {
		var all []*Block
		for {
			blk, _ := p.free[class].Get().(*Block)
			if blk == nil {
				break
			}
			clear(blk.mem)
			all = append(all, blk)
		}
		for _, blk := range all {
			p.free[class].Put(blk)
		}
	}
}

func want(t *testing.T, got []byte, err error, s string) {
	t.Helper()
	if err != nil || string(got) != s {
		t.Fatalf("got %.40q (%d bytes), %v; want %.40q (%d bytes)", got, len(got), err, s, len(s))
	}
}

// wantAll checks that the buffer's unread bytes are s, without reading them.
func wantAll(t *testing.T, b *LinkBuffer, s string) {
	t.Helper()
	got := bytes.Join(b.Buffers(nil, 1<<20), nil)
	if string(got) != s || b.Len() != len(s) {
		t.Fatalf("the buffer holds %.40q, Len %d; want %.40q, Len %d", got, b.Len(), s, len(s))
	}
}

func wantPanic(t *testing.T, message string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if got := recover(); got != message {
			t.Fatalf("panic %v, want %q", got, message)
		}
	}()
	f()
}

// raceEnabled tells whether the race detector watches this test binary.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
