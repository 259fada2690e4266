package sluice

import (
	"bytes"
	"io"
	"testing"
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
