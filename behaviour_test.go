package sluice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// logBuffer collects what an engine logs.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// panicky panics in the callback whose name a connection sends.
type panicky struct {
	closed chan error
	other  func(c Conn)
}

func (p panicky) OnOpen(c Conn) {
	if p.other != nil {
		p.other(c)
	}
}

func (p panicky) OnData(c Conn, in *buffer.LinkBuffer) {
	what := string(in.Bytes())
	_ = in.Skip(in.Len())
	boom := func(Conn) { panic(errTest) }
	switch what {
	case "OnData":
		panic(errTest)
	case "Execute":
		_ = c.Execute(boom)
	case "AfterFunc":
		_, _ = c.AfterFunc(time.Millisecond, boom)
	case "Offload":
		_ = c.Offload(boom)
	case "OnDrain":
		_ = c.SetWaterMarks(0, 1, 1<<20)
		_, _ = c.Write([]byte("much"))
	case "OnClose":
		c.SetContext(what)
		_ = c.Close()
	case "OnEOF":
	default:
		_, _ = c.WriteString(what)
	}
}

func (p panicky) OnEOF(c Conn)   { panic(errTest) }
func (p panicky) OnDrain(c Conn) { panic(errTest) }

func (p panicky) OnClose(c Conn, err error) {
	p.closed <- err
	if c.Context() != nil {
		panic(errTest)
	}
}

func TestAPanicCostsItsConnectionOnlyAndIsLogged(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if w.rough {
			t.Skip("the commands of this test must arrive whole")
		}
		for _, callback := range []string{"OnData", "Execute", "AfterFunc", "Offload", "OnDrain", "OnClose", "OnEOF"} {
			t.Run(callback, func(t *testing.T) {
				var logs logBuffer
				closed := make(chan error, 2)
				e := w.engine(t, Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
				ln := w.serve(t, e, panicky{closed: closed})
				defer ln.Close()
				witness, victim := w.connect(t, ln), w.connect(t, ln)
				mustEcho(t, witness, []byte("before"))
				if _, err := victim.Write([]byte(callback)); err != nil {
					t.Fatal(err)
				}
				if callback == "OnEOF" {
					_ = victim.CloseWrite()
				}
				if callback == "OnClose" {
					_, _ = io.Copy(io.Discard, victim)
					victim.Close()
				}
				var p *PanicError
				err := receive(t, "OnClose", closed)
				if callback != "OnClose" && (!errors.As(err, &p) || p.Callback != callback || !errors.Is(err, errTest)) {
					t.Errorf("OnClose got %v", err)
				}
				mustEcho(t, witness, []byte("after"))
				eventually(t, "the log", func() bool {
					s := logs.String()
					return strings.Contains(s, "callback="+callback) && strings.Contains(s, "behaviour_test.go")
				})
			})
		}
	})
}

func TestAPanicInOnOpenOrDialCostsThatConnection(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		closed := make(chan error, 1)
		e := w.engine(t, Config{Loops: 1})
		var n atomic.Int64
		ln := w.serve(t, e, Funcs{
			Open: func(c Conn) {
				if n.Add(1) == 1 {
					panic(errTest)
				}
			},
			Data:  echo,
			Close: func(c Conn, err error) { closed <- err },
		})
		if c, err := w.dial(ln.Addr()); err == nil { // or reset before Dial has returned
			defer c.Close()
		}
		if err := receive(t, "OnClose", closed); !errors.Is(err, errTest) {
			t.Errorf("OnClose got %v", err)
		}
		mustEcho(t, w.connect(t, ln), []byte("after"))
	})
}

func TestAHandlerThatWakesOrExecutesItselfForEverDoesNotStarveOthers(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var wakes, runs atomic.Int64
		e := w.engine(t, Config{Loops: 1})
		ln := w.serve(t, e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			if p := in.Bytes(); len(p) > 0 && p[0] == 'w' || c.Context() != nil {
				_ = in.Skip(in.Len())
				c.SetContext("wakes")
				wakes.Add(1)
				_ = c.Wake()
				return
			} else if len(p) > 0 && p[0] == 'x' {
				_ = in.Skip(in.Len())
				var again func(c Conn)
				again = func(c Conn) { runs.Add(1); _ = c.Execute(again) }
				again(c)
				return
			}
			echo(c, in)
		}})
		for _, p := range []string{"w", "x"} {
			if _, err := w.connect(t, ln).Write([]byte(p)); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "both to spin", func() bool { return wakes.Load() > 100 && runs.Load() > 100 })
		c := w.connect(t, ln)
		for range 20 {
			mustEcho(t, c, []byte("still served"))
		}
	})
}

func TestAPeerThatFloodsDoesNotStarveOthers(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{Loops: 1})
		ln := w.serve(t, e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			if p := in.Bytes(); p[0] == 'f' {
				_ = in.Skip(in.Len())
				return
			}
			echo(c, in)
		}})
		flood, stop := w.connect(t, ln), make(chan struct{})
		var sent atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			p := bytes.Repeat([]byte("f"), 1<<20)
			for {
				select {
				case <-stop:
					return
				default:
				}
				n, err := flood.Write(p)
				sent.Add(int64(n))
				if err != nil {
					return
				}
			}
		})
		eventually(t, "the flood", func() bool { return sent.Load() > 4<<20 })
		c := w.connect(t, ln)
		for range 20 {
			mustEcho(t, c, []byte("still served"))
		}
		close(stop)
		flood.Close()
		wg.Wait()
	})
}

func TestAPeerThatNeverReadsIsHeldAtTheWaterMarks(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const high = 256 << 10
		var most atomic.Int64
		drained := make(chan struct{}, 100)
		e := w.engine(t, Config{Loops: 1, HighWater: high})
		idle := e.Stats().Loops[0].LiveBytes // what the driver receives into
		ln := w.serve(t, e, Funcs{
			Data: func(c Conn, in *buffer.LinkBuffer) {
				echo(c, in)
				most.Store(max(most.Load(), int64(c.PendingWrite())))
			},
			Drain: func(c Conn) {
				if n := c.PendingWrite(); n > high/4 {
					t.Errorf("OnDrain with %d bytes pending", n)
				}
				drained <- struct{}{}
			},
		})
		c := w.connect(t, ln)
		const size = 24 << 20
		msg := pattern(size)
		wrote := make(chan error, 1)
		go func() { _, err := c.Write(msg); wrote <- err }()
		eventually(t, "the queue to fill", func() bool { return most.Load() > high })
		time.Sleep(100 * time.Millisecond) // it must not grow on
		if n := e.Stats().Loops[0].LiveBytes - idle; n > 2*high+1<<20 {
			t.Errorf("%d bytes of blocks are in use", n)
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, msg) {
			t.Errorf("the echo is wrong, err %v", err)
		}
		if err := receive(t, "the writer", wrote); err != nil {
			t.Error(err)
		}
		if n := most.Load(); n > 2*high {
			t.Errorf("%d bytes were pending; the high-water mark is %d", n, high)
		}
		receive(t, "OnDrain", drained)
	})
}

func TestWithoutBackpressureAPeerMayWriteAllBeforeItReads(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const size = 12 << 20 // more than the kernel's buffers take, both ways
		var came atomic.Int64
		ln := w.serve(t, w.engine(t, Config{Loops: 1}), Funcs{
			Open: func(c Conn) {
				if err := c.SetBackpressure(false); err != nil {
					t.Error(err)
				}
				if _, err := c.Write(pattern(size)); err != nil || !c.AboveHighWater() {
					t.Error("it is not above the high-water mark", err)
				}
			},
			Data: func(_ Conn, in *buffer.LinkBuffer) {
				came.Add(int64(in.Len()))
				_ = in.Skip(in.Len())
			},
		})
		c := w.connect(t, ln)
		if _, err := c.Write(make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, size)
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, pattern(size)) {
			t.Error("what was sent is wrong", err)
		}
		eventually(t, "all to be received", func() bool { return came.Load() == size })
	})
}

func TestTimeouts(t *testing.T) {
	const soon = 60 * time.Millisecond
	stuff := func(c Conn) { // more than the kernel's buffers take
		for range 3 {
			_, _ = c.Write(make([]byte, 5<<20))
		}
	}
	cases := []struct {
		name string
		cfg  Config
		open func(c Conn)
		want error
	}{
		{"IdleTimeoutOfTheConfig", Config{IdleTimeout: soon}, nil, ErrIdleTimeout},
		{"IdleTimeoutOfTheConnection", Config{}, func(c Conn) { _ = c.SetIdleTimeout(soon) }, ErrIdleTimeout},
		{"IdleTimeoutWithAStuckWriter", Config{}, func(c Conn) { _ = c.SetIdleTimeout(soon); stuff(c) }, ErrIdleTimeout},
		{"ReadDeadline", Config{}, func(c Conn) { _ = c.SetReadDeadline(time.Now().Add(soon)) }, ErrReadTimeout},
		{"ReadDeadlineInThePast", Config{}, func(c Conn) { _ = c.SetDeadline(time.Now().Add(-soon)) }, ErrReadTimeout},
		{"WriteDeadline", Config{}, func(c Conn) { _ = c.SetWriteDeadline(time.Now().Add(soon)); stuff(c) }, ErrWriteTimeout},
		{"WriteDeadlineOfWhatWaits", Config{}, func(c Conn) { stuff(c); _ = c.SetWriteDeadline(time.Now().Add(-soon)) }, ErrWriteTimeout},
		{"Linger", Config{LingerTimeout: soon}, func(c Conn) { stuff(c); _ = c.Close() }, ErrLingerTimeout},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for _, tc := range cases {
			t.Run(tc.name, func(t *testing.T) {
				closed := make(chan error, 1)
				e := w.engine(t, tc.cfg)
				ln := w.serve(t, e, w.ordered(t, Funcs{Open: tc.open, Close: func(c Conn, err error) { closed <- err }}))
				defer ln.Close()
				start := time.Now()
				if c, err := w.dial(ln.Addr()); err == nil { // or reset before Dial has returned
					defer c.Close()
				}
				err := receive(t, "OnClose", closed)
				if !errors.Is(err, tc.want) || !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("OnClose got %v, not %v", err, tc.want)
				}
				if early := !strings.Contains(tc.name, "Past") && !strings.Contains(tc.name, "Waits"); early && time.Since(start) < soon {
					t.Errorf("fired after %v, before its time", time.Since(start))
				}
			})
		}
	})
}

func TestAWriteAfterItsDeadlineFailsUntilTheDeadlineMoves(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		conns := make(chan Conn, 1)
		ln := w.serve(t, e, Funcs{Open: func(c Conn) { conns <- c }})
		p := w.connect(t, ln)
		c := receive(t, "OnOpen", conns)
		_ = c.SetWriteDeadline(time.Now().Add(-time.Second))
		if _, err := c.Write([]byte("x")); err != ErrWriteTimeout {
			t.Errorf("got %v", err)
		}
		_ = c.SetWriteDeadline(time.Time{})
		if _, err := c.Write([]byte("y")); err != nil {
			t.Error(err)
		}
		var b [1]byte
		if _, err := p.Read(b[:]); err != nil || b[0] != 'y' {
			t.Errorf("read %q, %v", b, err)
		}
	})
}

func TestActivityPutsTheIdleTimeoutOff(t *testing.T) {
	s := newStepped(t, Config{IdleTimeout: time.Second})
	closed := error(errTest)
	p := s.connect(Funcs{Data: echo, Close: func(c Conn, err error) { closed = err }})
	for range 5 {
		s.advance(900 * time.Millisecond)
		_, _ = p.TryWrite([]byte("x"))
		s.settle()
	}
	if closed != errTest {
		t.Fatalf("closed with %v though bytes came in time", closed)
	}
	s.advance(900 * time.Millisecond)
	if closed != errTest {
		t.Fatalf("closed with %v before its time", closed)
	}
	s.advance(200 * time.Millisecond)
	_ = p.Close()
	s.advance(0)
	if closed != ErrIdleTimeout {
		t.Errorf("OnClose got %v", closed)
	}
}

// halfOpen echoes, and answers the end of the peer's direction.
type halfOpen struct{ Funcs }

func (halfOpen) OnEOF(c Conn) {
	_, _ = c.WriteString(" and goodbye")
	_ = c.CloseWrite()
}

func TestHalfCloseByThePeer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		closed := make(chan error, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, halfOpen{Funcs{Data: echo, Close: func(c Conn, err error) { closed <- err }}})
		c := w.connect(t, ln)
		if _, err := c.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c)
		if string(got) != "hello and goodbye" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if err := receive(t, "OnClose", closed); err != nil {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestHalfCloseByUs(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		closed := make(chan error, 1)
		got := make(chan string, 10)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{
			Open: func(c Conn) {
				_, _ = c.WriteString("question")
				_ = c.CloseWrite()
				if _, err := c.WriteString("more"); err != ErrWriteClosed {
					t.Errorf("Write after CloseWrite: %v", err)
				}
			},
			Data: func(c Conn, in *buffer.LinkBuffer) {
				if in.Len() == 6 {
					got <- string(in.Bytes())
					_ = in.Skip(6)
				}
			},
			Close: func(c Conn, err error) { closed <- err },
		})
		c := w.connect(t, ln)
		if p, err := io.ReadAll(c); string(p) != "question" || err != nil {
			t.Errorf("read %q, %v", p, err)
		}
		if _, err := c.Write([]byte("answer")); err != nil {
			t.Fatal(err)
		}
		if s := receive(t, "the answer", got); s != "answer" {
			t.Errorf("got %q", s)
		}
		c.Close()
		if err := receive(t, "OnClose", closed); err != nil && err != io.EOF {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestAResetInTheMiddleOfASendIsTheCause(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if w.network == "unix" {
			t.Skip("Unix sockets know no reset")
		}
		closed := make(chan error, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{
			Open:  func(c Conn) { _, _ = c.Write(make([]byte, 8<<20)) },
			Close: func(c Conn, err error) { closed <- err },
		})
		c := w.connect(t, ln)
		if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		w.reset(c)
		err := receive(t, "OnClose", closed)
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestAbortResetsThePeer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		closed := make(chan error, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{
			Data: func(c Conn, in *buffer.LinkBuffer) {
				_ = in.Skip(in.Len())
				_, _ = c.Write(make([]byte, 1<<20))
				_ = c.Abort()
				if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
					t.Errorf("Write after Abort: %v", err)
				}
			},
			Close: func(c Conn, err error) { closed <- err },
		})
		c := w.connect(t, ln)
		_, _ = c.Write([]byte("x"))
		if err := receive(t, "OnClose", closed); err != ErrAborted {
			t.Errorf("OnClose got %v", err)
		}
		if n, err := io.Copy(io.Discard, c); w.network == "tcp" && err == nil {
			t.Errorf("the peer read %d bytes and an orderly end", n)
		}
	})
}

func TestDialThatFails(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		l, err := w.listen()
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().String()
		l.Close()
		_, err = e.Dial(ctx, w.network, addr, Funcs{})
		var op *net.OpError
		refused := errors.Is(err, syscall.ECONNREFUSED) || w.network == "unix" && errors.Is(err, syscall.ENOENT)
		if !errors.As(err, &op) || !refused || !strings.Contains(err.Error(), addr) {
			t.Errorf("nobody listens: %v", err)
		}
		over, end := context.WithCancel(ctx)
		end()
		if _, err := e.Dial(over, w.network, addr, Funcs{}); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled before: %v", err)
		}
		for _, bad := range [][2]string{{"udp", "127.0.0.1:1"}, {"tcp", "127.0.0.1"}, {"tcp", "127.0.0.1:nosuchport"}, {"", ""}} {
			if _, err := e.Dial(ctx, bad[0], bad[1], Funcs{}); err == nil {
				t.Errorf("Dial %q succeeded", bad)
			}
		}
	})
}

func TestDialToSomeoneWhoNeverAnswersEndsWithItsContext(t *testing.T) {
	test := func(t *testing.T, w *world, addr string) {
		e := w.engine(t, Config{})
		for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
			if cause == context.Canceled {
				cancel()
				ctx, cancel = context.WithCancel(context.Background())
				time.AfterFunc(30*time.Millisecond, cancel)
			}
			_, err := e.Dial(ctx, "tcp", addr, Funcs{})
			cancel()
			if !errors.Is(err, cause) {
				t.Errorf("%v, not %v", err, cause)
			}
		}
		eventually(t, "the attempts to be forgotten", func() bool {
			return e.loops[0].assigned.Load()+e.loops[1].assigned.Load() == 0
		})
	}
	t.Run("sim", func(t *testing.T) { test(t, simWorld(t, sim.Config{Live: true}), "192.0.2.1:80") })
	for _, sys := range systems() {
		t.Run(sys.Name(), func(t *testing.T) {
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			fillBacklog(t, ln)
			test(t, realWorld(t, sys, "tcp"), ln.Addr().String())
		})
	}
}

// fillBacklog makes connections that are never accepted until the kernel
// answers no more of them.
func fillBacklog(t *testing.T, ln net.Listener) {
	t.Helper()
	raw, err := ln.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(shortenBacklog); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		c, err := net.DialTimeout("tcp", ln.Addr().String(), 100*time.Millisecond)
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system accepts connections beyond the backlog")
}

func TestListenThatFails(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{Accept: AcceptMain})
		ln := w.serve(t, e, Funcs{})
		addr := ln.Addr().String()
		if _, err := e.Listen(w.network, addr, Funcs{}); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), addr) {
			t.Errorf("a taken address: %v", err)
		}
		for _, bad := range [][2]string{{"udp", "127.0.0.1:0"}, {"tcp", "127.0.0.1"}, {"tcp", "127.0.0.1:99999"}, {"unix", ""}, {"", ""}} {
			if l, err := e.Listen(bad[0], bad[1], Funcs{}); err == nil {
				t.Errorf("Listen %q succeeded: %v", bad, l.Addr())
			}
		}
		if _, err := e.Listen(w.network, w.address, nil); err == nil {
			t.Error("a nil handler was accepted")
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		if err := ln.Close(); !errors.Is(err, ErrClosed) {
			t.Errorf("closing again: %v", err)
		}
		again, err := e.Listen(w.network, addr, Funcs{})
		if err != nil {
			t.Fatalf("the address is not free after Close: %v", err)
		}
		again.Close()
	})
}
