package sluice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

func TestEcho(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, mode := range []AcceptMode{AcceptMain, AcceptPerLoop} {
			e := w.engine(t, Config{Accept: mode})
			ln := w.serve(t, e, w.ordered(t, Funcs{Data: echo}))
			for _, size := range []int{1, 100, 70_000, 500_000} {
				c := w.connect(t, ln)
				for range 3 {
					mustEcho(t, c, pattern(size))
				}
				c.Close()
			}
			ln.Close()
		}
	})
}

func TestUnreadBytesAreKeptForTheNextOnData(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const frame = 20_000
		e := w.engine(t, Config{})
		ln := w.serve(t, e, w.ordered(t, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			for in.Len() >= frame {
				p, err := in.Next(frame)
				if err != nil {
					t.Error(err)
				}
				_, _ = c.Write(p)
			}
		}}))
		c := w.connect(t, ln)
		msg := pattern(5 * frame)
		go func() {
			for rest := msg; len(rest) > 0; {
				n := min(len(rest), 777)
				if _, err := c.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
		}()
		got := make([]byte, len(msg))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("the frames came back wrong, err %v", err)
		}
	})
}

func TestCloseDeliversWhatWasWrittenToASlowReader(t *testing.T) {
	const size = 8 << 20
	writes := map[string]func(c Conn, p []byte) error{
		"Write":       func(c Conn, p []byte) error { _, err := c.Write(p); return err },
		"Append":      func(c Conn, p []byte) error { return c.Append(p) },
		"Writev4":     func(c Conn, p []byte) error { _, err := c.Writev(split(p, 4)); return err },
		"Writev2000":  func(c Conn, p []byte) error { _, err := c.Writev(split(p, 2000)); return err },
		"Append2000":  func(c Conn, p []byte) error { return appendAll(c, split(p, 2000)) },
		"WriteBuffer": func(c Conn, p []byte) error { return writeBuffer(c, p) },
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for name, write := range writes {
			t.Run(name, func(t *testing.T) {
				want := pattern(size)
				closed := make(chan error, 1)
				e := w.engine(t, Config{})
				ln := w.serve(t, e, Funcs{
					Open: func(c Conn) {
						if err := write(c, want); err != nil {
							t.Error(err)
						}
						if err := c.Close(); err != nil {
							t.Error(err)
						}
					},
					Close: func(c Conn, err error) { closed <- err },
				})
				c := w.connect(t, ln)
				got := readSlowly(t, c)
				if !bytes.Equal(got, want) {
					t.Fatalf("%d bytes arrived, %d were written", len(got), len(want))
				}
				c.Close()
				if err := receive(t, "OnClose", closed); err != nil {
					t.Errorf("OnClose got %v after all was delivered", err)
				}
			})
		}
	})
}

// readSlowly reads to the end, pausing now and then.
func readSlowly(t *testing.T, c net.Conn) []byte {
	t.Helper()
	time.Sleep(50 * time.Millisecond)
	var got bytes.Buffer
	for {
		n, err := io.CopyN(&got, c, 1<<20)
		if err == io.EOF {
			return got.Bytes()
		}
		if err != nil {
			t.Fatalf("after %d bytes: %v", got.Len(), err)
		}
		if n > 0 {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

func split(p []byte, n int) (pieces [][]byte) {
	size := len(p) / n
	for i := range n - 1 {
		pieces = append(pieces, p[i*size:(i+1)*size])
	}
	return append(pieces, p[(n-1)*size:])
}

func appendAll(c Conn, pieces [][]byte) error {
	for _, p := range pieces {
		if err := c.Append(p); err != nil {
			return err
		}
	}
	return nil
}

func writeBuffer(c Conn, p []byte) error {
	var b buffer.LinkBuffer
	copy(b.Malloc(1000), p)
	_, _ = b.Write(p[1000 : len(p)/2])
	b.Append(p[len(p)/2:])
	err := c.WriteBuffer(&b)
	if b.Len() != 0 {
		return errors.New("WriteBuffer left bytes behind")
	}
	return err
}

func TestEveryByteBeforeTheFINIsDeliveredToASlowHandler(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const size = 3 << 20
		var got bytes.Buffer
		closed := make(chan error, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, w.ordered(t, Funcs{
			Data: func(c Conn, in *buffer.LinkBuffer) {
				time.Sleep(500 * time.Microsecond)
				_, _ = in.Read(make([]byte, 0))
				p, _ := in.Next(in.Len())
				got.Write(p)
			},
			Close: func(c Conn, err error) { closed <- err },
		}))
		c := w.connect(t, ln)
		msg := pattern(size)
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, "OnClose", closed); err != io.EOF {
			t.Errorf("OnClose got %v, not io.EOF", err)
		}
		if !bytes.Equal(got.Bytes(), msg) {
			t.Errorf("%d of %d bytes were delivered before OnClose", got.Len(), size)
		}
	})
}

func TestDialOnTheSameLoops(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		out := w.outsideEcho(t)
		data := make(chan string, 1)
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		c, err := e.Dial(ctx, w.network, out.Addr().String(), Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			if in.Len() == 5 {
				data <- string(in.Bytes())
				_ = in.Skip(5)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.WriteString("hello"); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, "the echo", data); got != "hello" {
			t.Errorf("got %q", got)
		}
		if c.RemoteAddr().String() != out.Addr().String() {
			t.Errorf("RemoteAddr is %v, dialed %v", c.RemoteAddr(), out.Addr())
		}
	})
}
