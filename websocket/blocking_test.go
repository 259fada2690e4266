package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

// blocking is a server whose connections are turned into Blocking ones, which come
// through the channel.
func blocking(t *testing.T, w *world, s *websocket.Server) (*site, *recorder, <-chan *websocket.Blocking) {
	t.Helper()
	views := make(chan *websocket.Blocking, 100)
	rec := newRecorder(t)
	rec.open = func(c *websocket.Conn) { views <- c.Blocking() }
	s.Handler = rec
	return w.serve(t, s), rec, views
}

// bounded is a context that ends before a test does.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	t.Cleanup(cancel)
	return ctx
}

// expectMessage reads a message and checks it.
func expectMessage(t *testing.T, b *websocket.Blocking, op websocket.Opcode, want string) {
	t.Helper()
	gotOp, got, err := b.Read(bounded(t))
	if err != nil || gotOp != op || string(got) != want {
		t.Fatalf("Read returns %v %.60q of %d bytes, %v; want %v %.60q of %d", gotOp, got, len(got), err, op, want, len(want))
	}
}

func TestABlockingConnectionReadsAndWrites(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st, rec, views := blocking(t, w, &websocket.Server{Compression: &websocket.Compression{}})
		c := st.dial()
		c.send(hello("Sec-WebSocket-Extensions: permessage-deflate"), frame(text, "early"))
		c.switched()
		b := receive(t, "OnOpen", views)
		if b.Conn().Blocking() != b {
			t.Error("a second Blocking")
		}
		expectMessage(t, b, websocket.Text, "early")
		c.send(frame(bin, ""), frame(ping, "p"), frame(text&^fin, ""), frame(cont, ""), frame(cont, "a"), frame(cont|fin, "b"))
		expectMessage(t, b, websocket.Binary, "")
		expectMessage(t, b, websocket.Text, "ab")
		c.expect(pong, "p")
		c.send(frame(text&^fin, ""), frame(cont|fin, ""), frame(bin&^fin, "c"), frame(cont|fin, ""))
		expectMessage(t, b, websocket.Text, "")
		expectMessage(t, b, websocket.Binary, "c")
		go c.send(frame(bin, pattern(300_000)))
		expectMessage(t, b, websocket.Binary, pattern(300_000))
		if err := b.Write(bounded(t), websocket.Text, []byte("answer")); err != nil {
			t.Error(err)
		}
		c.expect(text, "answer")
		if err := b.Close(4000, "bye"); err != nil {
			t.Error(err)
		}
		c.expect(closing, closePayload(4000, "bye"))
		c.send(closeFrame(4000, ""))
		c.over()
		if err := rec.end(); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
		if _, _, err := b.Read(bounded(t)); !errors.Is(err, websocket.ErrClosed) {
			t.Errorf("Read after the end returns %v", err)
		}
		if err := b.Write(bounded(t), websocket.Text, nil); !errors.Is(err, websocket.ErrClosed) {
			t.Errorf("Write after the end returns %v", err)
		}
		rec.expect("close")
	})
}

func TestABlockingReaderSeesBytesAsTheyCome(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st, _, views := blocking(t, w, &websocket.Server{MaxMessage: 1 << 30})
		c := st.open()
		b := receive(t, "OnOpen", views)
		whole := frame(bin, "abcdef")
		c.send(whole[:9]) // "abc"
		op, r, err := b.Reader(bounded(t))
		if err != nil || op != websocket.Binary {
			t.Fatal(op, err)
		}
		p := make([]byte, 10)
		if n, err := r.Read(p); string(p[:n]) != "abc" || err != nil {
			t.Errorf("Read returns %q, %v", p[:n], err)
		}
		c.send(whole[9:])
		if rest, err := io.ReadAll(r); string(rest) != "def" || err != nil {
			t.Errorf("the rest is %q, %v", rest, err)
		}
		// What is not read to its end is skipped, also what comes later of it.
		c.send(frame(text&^fin, "not"), frame(cont, "read"))
		if _, r, err = b.Reader(bounded(t)); err != nil {
			t.Fatal(err)
		}
		c.send(frame(cont, "to its"), frame(cont|fin, "end"), frame(text, "next"))
		expectMessage(t, b, websocket.Text, "next")
		if rest, err := io.ReadAll(r); err == nil || strings.Contains(string(rest), "next") {
			t.Errorf("a reader that was left returns %q, %v", rest, err)
		}
		// A reader that waits when its connection ends.
		c.send(frame(bin&^fin, "x"))
		if _, r, err = b.Reader(bounded(t)); err != nil {
			t.Fatal(err)
		}
		c.closeWrite()
		if rest, err := io.ReadAll(r); string(rest) != "x" || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("at the end it returns %q, %v", rest, err)
		}
	})
}

func TestReadGivesUpWithItsContext(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st, _, views := blocking(t, w, &websocket.Server{})
		c := st.open()
		b := receive(t, "OnOpen", views)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() {
			time.Sleep(2 * time.Millisecond)
			cancel(cause)
		}()
		if _, _, err := b.Read(ctx); err != cause {
			t.Errorf("Read returns %v", err)
		}
		c.send(frame(text&^fin, "half"))
		ctx, cancel = context.WithCancelCause(context.Background())
		time.AfterFunc(5*time.Millisecond, func() { cancel(cause) })
		if _, _, err := b.Read(ctx); err != cause {
			t.Errorf("Read in the midst of a message returns %v", err)
		}
		if _, _, err := b.Reader(ctx); err != cause {
			t.Errorf("Reader returns %v", err)
		}
		c.send(frame(cont|fin, "lost"), frame(text, "next"))
		expectMessage(t, b, websocket.Text, "next")
		c.bye()
	})
}

func TestMessagesOfManyReadersAreWholeAndNoneIsLost(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const n, readers = 600, 5
		st, rec, views := blocking(t, w, &websocket.Server{})
		c := st.open()
		b := receive(t, "OnOpen", views)
		var mu sync.Mutex
		var got []string
		var wg sync.WaitGroup
		for range readers {
			wg.Go(func() {
				for {
					_, p, err := b.Read(context.Background())
					if err != nil {
						return
					}
					mu.Lock()
					got = append(got, string(p))
					mu.Unlock()
				}
			})
		}
		var want []string
		for i := range n {
			m := fmt.Sprint(i, " ", prose(i))
			want = append(want, m)
			c.send(frame(text&^fin, m[:1]), frame(cont, m[1:2]), frame(cont|fin, m[2:]))
			if i%50 == 0 {
				time.Sleep(time.Millisecond) // so that they wait
			}
		}
		c.bye()
		wg.Wait()
		_ = rec.end()
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%d messages were read, want %d, or they are not what was sent", len(got), len(want))
		}
	})
}

func TestWhatNobodyReadsIsBounded(t *testing.T) {
	const tiny = 50_000
	floods := []struct {
		name, begin, one string
		times            int
		message          string // that one is, "" if it is none
	}{
		{"messages of 1 KB", "", frame(bin, prose(1000)), 20_000, prose(1000)}, // more than kernels hold
		{"empty messages", "", frame(text, ""), tiny, ""},
		{"frames of 1 byte", frame(bin&^fin, "begun"), frame(cont, "x"), tiny, ""},
		{"empty frames", frame(bin&^fin, "begun"), frame(cont, ""), tiny, ""},
	}
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.ReadLimit = 160 << 10 // and not more with every pause
		for _, f := range floods {
			st, _, views := blocking(t, w, &websocket.Server{KeepAlive: -1, MaxMessage: 1 << 30})
			c := st.open()
			b := receive(t, "OnOpen", views)
			all := f.begin + strings.Repeat(f.one, f.times)
			sent := make(chan error, 1)
			before := heap()
			go func() {
				_, err := io.WriteString(c, all)
				sent <- err
			}()
			time.Sleep(40 * time.Millisecond)
			if n := heap() - before; n > 1<<20 {
				t.Errorf("%s: %d bytes of heap for what nobody reads", f.name, n)
			}
			ctx := bounded(t)
			if f.begin != "" {
				go func() { _, _, _ = b.Read(context.Background()) }() // until the connection ends
			} else {
				for i := range f.times {
					if _, p, err := b.Read(ctx); err != nil || string(p) != f.message {
						t.Fatalf("%s: message %d is %q, %v", f.name, i, p, err)
					}
				}
			}
			if err := receive(t, "all to be sent", sent); err != nil {
				t.Errorf("%s: %v", f.name, err)
			}
			_ = c.Close()
		}
	})
}

// heap is how many bytes live.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestCloseOfABlockingConnectionThatNobodyReadsIsAnswered(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st, rec, views := blocking(t, w, &websocket.Server{CloseTimeout: bound})
		c := st.open()
		b := receive(t, "OnOpen", views)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for range 64 {
				_, _ = io.WriteString(c, frame(bin, prose(64<<10)))
			}
			_, _ = io.WriteString(c, closeFrame(1000, ""))
		}()
		time.Sleep(10 * time.Millisecond)
		if err := b.Close(1000, ""); err != nil {
			t.Error(err)
		}
		<-sent
		c.drain()
		if err := rec.end(); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestABlockingWriterWaitsForThePeer(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.HighWater = 128 << 10
		w.cfg.WriteLimit = 1 << 20 // which fails if it does not wait
		st, _, views := blocking(t, w, &websocket.Server{})
		c := st.narrow()
		b := receive(t, "OnOpen", views)
		const n = 200
		written := make(chan error, 1)
		go func() {
			for i := range n {
				if err := b.Write(context.Background(), websocket.Binary, []byte(pattern(50_000+i))); err != nil {
					written <- err
					return
				}
			}
			written <- nil
		}()
		for i := range n {
			if i%40 == 0 {
				time.Sleep(3 * time.Millisecond)
			}
			c.expect(bin, pattern(50_000+i))
		}
		if err := receive(t, "the writer", written); err != nil {
			t.Error(err)
		}
		// One that waits hears of its context's end and of the connection's.
		fill := func(ctx context.Context) error {
			for {
				if err := b.Write(ctx, websocket.Binary, make([]byte, 100_000)); err != nil {
					return err
				}
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		if err := fill(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Write returns %v", err)
		}
		go func() { written <- fill(context.Background()) }()
		time.Sleep(2 * time.Millisecond)
		c.reset()
		if err := receive(t, "the writer", written); !errors.Is(err, websocket.ErrClosed) {
			t.Errorf("Write returns %v", err)
		}
	})
}

func TestBlockingEarlyAndLate(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		conn := rec.conn()
		c.send(frame(text, "before"), frame(text&^fin, "half "))
		rec.expect("text before")
		time.Sleep(2 * time.Millisecond)
		b := conn.Blocking() // in the midst of a message
		c.send(frame(cont, "of it"), frame(cont|fin, "."), frame(text, "after"))
		expectMessage(t, b, websocket.Text, "half of it.")
		expectMessage(t, b, websocket.Text, "after")
		c.bye()
		var e *websocket.CloseError
		if err := rec.end(); !errors.As(err, &e) {
			t.Errorf("OnClose(%v)", err)
		}
		if _, _, err := b.Read(bounded(t)); !errors.As(err, &e) || e.Reason != "bye" {
			t.Errorf("Read returns %v", err)
		}
		rec.expect("text before", "close")

		c = st.open()
		conn = rec.conn()
		_ = conn.Abort()
		_ = rec.end()
		b = conn.Blocking() // of one that has ended
		if _, _, err := b.Read(bounded(t)); !errors.Is(err, sluice.ErrAborted) {
			t.Errorf("Read returns %v", err)
		}
	})
}

func TestAJobMayBlock(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		rec.open = func(c *websocket.Conn) {
			b := c.Blocking()
			_ = c.Offload(func(*websocket.Conn) {
				for {
					op, p, err := b.Read(context.Background())
					if err != nil {
						return
					}
					_ = b.Write(context.Background(), op, p)
				}
			})
		}
		st := w.serve(t, &websocket.Server{Handler: rec})
		for _, end := range []func(c *client){(*client).bye, (*client).reset, func(c *client) { c.closeWrite(); c.over() }} {
			c := st.open()
			for i := range 50 {
				c.send(frame(text, fmt.Sprint(i)))
				c.expect(text, fmt.Sprint(i))
			}
			end(c)
			_ = rec.end() // which waits for the job
		}
	})
}
