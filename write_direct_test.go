package sluice

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

func TestALargeWriteIsNotCopiedUnlessSomethingWaits(t *testing.T) {
	s := newStepped(t, Config{})
	var pending []int
	write := func(c Conn, n int) {
		if m, err := c.Write(bytes.Repeat([]byte{byte('a' + len(pending))}, n)); m != n || err != nil {
			t.Errorf("Write: %d, %v", m, err)
		}
		pending = append(pending, c.PendingWrite())
	}
	p := s.connect(Funcs{Open: func(c Conn) {
		write(c, directMin)
		write(c, directMin-1)
		write(c, directMin)
	}})
	s.settle()
	if len(pending) != 3 || pending[0] != 0 || pending[1] != directMin-1 || pending[2] != 2*directMin-1 {
		t.Errorf("pending after each write: %v", pending)
	}
	got := make([]byte, 0, 4*directMin)
	for {
		piece := make([]byte, 4*directMin)
		n, err := p.TryRead(piece)
		if got = append(got, piece[:n]...); n == 0 || err == io.EOF {
			break
		}
		s.settle()
	}
	want := bytes.Join([][]byte{
		bytes.Repeat([]byte("a"), directMin), bytes.Repeat([]byte("b"), directMin-1), bytes.Repeat([]byte("c"), directMin),
	}, nil)
	if !bytes.Equal(got, want) {
		t.Errorf("the peer got %d bytes, want %d in order", len(got), len(want))
	}
}

func TestWhatALargeWriteCannotSendAtOnceFollows(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const size = 8 << 20
		e := w.engine(t, Config{Loops: 1})
		want := pattern(size)
		_, p := w.pair(t, e, Funcs{Open: func(c Conn) {
			for rest := want; len(rest) > 0; rest = rest[min(len(rest), 100<<10):] {
				_, _ = c.Write(rest[:min(len(rest), 100<<10)])
			}
			_ = c.Close()
		}})
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes: %v", len(got), size, err)
		}
	})
}

// A peer that takes everything at once does not keep a callback for ever.
func TestACallbackThatWritesUntilTheHighWaterMarkEnds(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const most = 64 << 20
		e := w.engine(t, Config{Loops: 1, HighWater: 64 << 10})
		written := make(chan int, 1)
		_, p := w.pair(t, e, Funcs{Open: func(c Conn) {
			n := 0
			for piece := make([]byte, 64<<10); !c.AboveHighWater() && n < most; n += len(piece) {
				_, _ = c.Write(piece)
			}
			written <- n
			_ = c.Close()
		}})
		go io.Copy(io.Discard, p)
		if n := receive(t, "the callback to end", written); n > directMax+256<<10 {
			t.Errorf("%d bytes were written in one callback", n)
		}
	})
}

func TestTheCauseOfAFailedLargeWriteIsThatOfASmallOne(t *testing.T) {
	for _, size := range []int{100, directMin} {
		s := newStepped(t, Config{})
		closed := make(chan error, 1)
		var c Conn
		p := s.connect(Funcs{
			Open:  func(opened Conn) { c = opened },
			EOF:   func(Conn) {},
			Close: func(_ Conn, err error) { closed <- err },
		})
		_ = p.Close()
		s.settle()
		for range 2 { // the first makes the peer's kernel answer with a reset
			_ = c.Execute(func(c Conn) {
				if _, err := c.Write(make([]byte, size)); err != nil {
					c.Abort()
				}
			})
			s.settle()
		}
		eventually(t, "OnClose", func() bool { s.advance(time.Second); return len(closed) > 0 })
		if err := <-closed; errors.Is(err, ErrAborted) || err == nil {
			t.Errorf("%d bytes: OnClose got %v", size, err)
		}
	}
}

// What a callback links of its own input outlives the block it was read into.
func TestInputWrittenBackSurvivesAPeerThatStalls(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{Loops: 1})
		_, p := w.pair(t, e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) { _ = c.WriteBuffer(in) }})
		want := pattern(8 << 20)
		go func() {
			for rest := want; len(rest) > 0; rest = rest[min(len(rest), 1000):] {
				if _, err := p.Write(rest[:min(len(rest), 1000)]); err != nil {
					return
				}
			}
		}()
		time.Sleep(50 * time.Millisecond) // meanwhile the answers pile up
		got := make([]byte, len(want))
		if _, err := io.ReadFull(p, got); err != nil || !bytes.Equal(got, want) {
			t.Errorf("the bytes came back changed: %v", err)
		}
	})
}
