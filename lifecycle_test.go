package sluice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// everyMethod calls every method of a handle that can do something to a
// connection and returns those that claimed to have succeeded.
func everyMethod(c Conn) (worked []string) {
	var b buffer.LinkBuffer
	b.Append([]byte("stray"))
	note := func(name string, err error) {
		if !errors.Is(err, net.ErrClosed) {
			worked = append(worked, name)
		}
	}
	_, err := c.Write([]byte("stray"))
	note("Write", err)
	_, err = c.WriteString("stray")
	note("WriteString", err)
	_, err = c.Writev([][]byte{[]byte("stray")})
	note("Writev", err)
	note("Append", c.Append([]byte("stray")))
	note("WriteBuffer", c.WriteBuffer(&b))
	note("Flush", c.Flush())
	_, err = c.SendFile(os.Stdin, 0, 1)
	note("SendFile", err)
	note("Close", c.Close())
	note("Abort", c.Abort())
	note("CloseWrite", c.CloseWrite())
	note("PauseRead", c.PauseRead())
	note("ResumeRead", c.ResumeRead())
	note("Wake", c.Wake())
	note("Execute", c.Execute(func(Conn) { worked = append(worked, "Execute ran") }))
	note("Offload", c.Offload(func(Conn) { worked = append(worked, "Offload ran") }))
	note("SetDeadline", c.SetDeadline(time.Now()))
	note("SetReadDeadline", c.SetReadDeadline(time.Now()))
	note("SetWriteDeadline", c.SetWriteDeadline(time.Now()))
	note("SetIdleTimeout", c.SetIdleTimeout(time.Millisecond))
	note("SetReadIdle", c.SetReadIdle(time.Millisecond))
	_, err = c.AfterFunc(0, func(Conn) { worked = append(worked, "AfterFunc ran") })
	note("AfterFunc", err)
	note("SetNoDelay", c.SetNoDelay(false))
	note("SetKeepAlive", c.SetKeepAlive(0))
	note("SetWaterMarks", c.SetWaterMarks(0, 0, 0))
	_, err = c.NetConn()
	note("NetConn", err)
	note("Detach", c.Detach(func(*os.File, []byte, error) { worked = append(worked, "Detach ran") }))
	note("Dial", c.Dial(context.Background(), "tcp", "127.0.0.1:1", Funcs{}, func(Conn, error) {}))
	c.SetContext("stray")
	if c.Context() != nil || c.PendingWrite() != 0 || c.PendingRead() != 0 || c.IsOpen() {
		worked = append(worked, "a getter")
	}
	if c.LocalAddr() == nil || c.RemoteAddr() == nil {
		worked = append(worked, "a nil address")
	}
	return worked
}

func TestEveryMethodOfAStaleHandleFailsWhileItsDescriptorIsReused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var mu sync.Mutex
		var stale []Conn
		e := w.engine(t, Config{})
		ln := w.serve(t, e, w.ordered(t, Funcs{
			Open: func(c Conn) {
				if c.Context() != nil {
					t.Errorf("a new connection has the context %v", c.Context())
				}
			},
			Data:  echo,
			Close: func(c Conn, err error) { mu.Lock(); stale = append(stale, c); mu.Unlock() },
		}))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		var calls atomic.Int64
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					mu.Lock()
					var c Conn
					if n := len(stale); n > 0 {
						c = stale[rand.IntN(n)]
					}
					mu.Unlock()
					if c == (Conn{}) {
						continue
					}
					eventually(t, "OnClose to return", func() bool { return c.Context() == nil && !settling(c) })
					if worked := everyMethod(c); len(worked) > 0 {
						t.Errorf("on a closed connection these worked: %q", worked)
						return
					}
					calls.Add(1)
				}
			})
		}
		for range 60 { // connections that come and go over the same few descriptors
			c := w.connect(t, ln)
			for range 5 {
				mustEcho(t, c, pattern(200))
			}
			c.Close()
		}
		eventually(t, "many calls", func() bool { return calls.Load() > 200 })
		close(stop)
		wg.Wait()
		if worked := everyMethod(Conn{}); len(worked) > 0 {
			t.Errorf("on the zero Conn these worked: %q", worked)
		}
	})
}

// settling reports whether the slot of c still serves its connection.
func settling(c Conn) bool {
	s, err := c.lockAny()
	if err == nil {
		s.mu.Unlock()
	}
	return err == nil
}

func TestShutdownLosesNothingAndLeavesNothing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const size = 4 << 20
		want := pattern(size)
		release := make(chan struct{})
		var closed atomic.Int64
		e := w.engine(t, Config{})
		ln := w.serve(t, e, w.ordered(t, Funcs{
			Data: func(c Conn, in *buffer.LinkBuffer) {
				what := in.Bytes()[0]
				_ = in.Skip(in.Len())
				switch what {
				case 'd': // draining: much is written and not yet read
					_, _ = c.Write(want)
				case 'b': // busy: the answer is still being made
					_ = c.Offload(func(c Conn) { <-release; _, _ = c.Write(want) })
				}
				_, _ = c.WriteString("+")
			},
			Close: func(c Conn, err error) {
				closed.Add(1)
				if err != nil {
					t.Errorf("OnClose got %v", err)
				}
			},
		}))
		idle, draining, busy := w.connect(t, ln), w.connect(t, ln), w.connect(t, ln)
		_, _ = idle.Write([]byte("i"))
		_, _ = draining.Write([]byte("d"))
		_, _ = busy.Write([]byte("b"))
		for _, c := range []net.Conn{idle, busy} {
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := io.ReadFull(draining, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- e.Shutdown(ctx) }()
		var wg sync.WaitGroup
		read := func(c net.Conn, want []byte) {
			got, err := io.ReadAll(c)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("read %d of %d bytes, %v", len(got), len(want), err)
			}
			c.Close()
		}
		wg.Go(func() { read(idle, nil) })
		wg.Go(func() { read(draining, append(slices.Clone(want[1:]), '+')) })
		eventually(t, "the idle connection to close", func() bool { return closed.Load() >= 1 })
		if _, err := w.dial(ln.Addr()); err == nil && w.network == "unix" {
			t.Error("a connection was accepted during Shutdown")
		}
		close(release)
		wg.Go(func() { read(busy, want) })
		wg.Wait()
		if err := receive(t, "Shutdown", done); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := e.Wait(); !errors.Is(err, ErrEngineClosed) {
			t.Errorf("Wait: %v", err)
		}
		if _, err := e.Listen(w.network, w.address, Funcs{}); !errors.Is(err, ErrEngineClosed) {
			t.Errorf("Listen after Shutdown: %v", err)
		}
		if _, err := e.Dial(ctx, w.network, ln.Addr().String(), Funcs{}); !errors.Is(err, ErrEngineClosed) {
			t.Errorf("Dial after Shutdown: %v", err)
		}
	})
}

func TestShutdownAbortsWhatIsLeftWhenItsContextEnds(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		closed := make(chan error, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{
			Open:  func(c Conn) { _, _ = c.Write(make([]byte, 10<<20)) },
			Close: func(c Conn, err error) { closed <- err },
		})
		c := w.connect(t, ln)
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if err := e.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if err := receive(t, "OnClose", closed); !errors.Is(err, ErrEngineClosed) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestOffloadedJobsRunInOrderAndAreDoneBeforeOnClose(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		type state struct {
			jobs    []byte
			running atomic.Int64
		}
		got := make(chan string, 10)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{
			Open: func(c Conn) { c.SetContext(new(state)) },
			Data: func(c Conn, in *buffer.LinkBuffer) {
				for in.Len() > 0 {
					p, _ := in.Next(1)
					b := p[0]
					_ = c.Offload(func(c Conn) {
						s := c.Context().(*state)
						if s.running.Add(1) != 1 {
							t.Error("two jobs of one connection at once")
						}
						time.Sleep(100 * time.Microsecond)
						s.jobs = append(s.jobs, b)
						_, _ = c.Write([]byte{b})
						s.running.Add(-1)
					})
				}
			},
			Close: func(c Conn, err error) {
				s := c.Context().(*state)
				if s.running.Load() != 0 {
					t.Error("OnClose while a job runs")
				}
				got <- string(s.jobs)
			},
		})
		c := w.connect(t, ln)
		msg := pattern(500)
		if _, err := c.Write(msg); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite() // the jobs are done all the same
		answer, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(answer, msg) {
			t.Errorf("%d of %d answers came, %v", len(answer), len(msg), err)
		}
		if s := receive(t, "OnClose", got); s != string(msg) {
			t.Errorf("the jobs ran out of order")
		}
	})
}

func TestJobsNotYetStartedAreDroppedWhenTheConnectionBreaks(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		started, release, closed := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		var late atomic.Int64
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{
			Open: func(c Conn) {
				_ = c.Offload(func(Conn) { close(started); <-release })
				_ = c.Offload(func(Conn) { late.Add(1) })
			},
			Close: func(c Conn, err error) { closed <- err },
		})
		conns := w.connect(t, ln)
		receive(t, "the first job", started)
		w.reset(conns)
		if w.network == "unix" { // no reset there: an orderly end waits for the jobs
			close(release)
			receive(t, "OnClose", closed)
			return
		}
		select {
		case err := <-closed:
			t.Errorf("OnClose came while a job was running, with %v", err)
		case <-time.After(50 * time.Millisecond):
		}
		close(release)
		receive(t, "OnClose", closed)
		if late.Load() != 0 {
			t.Error("a job started on a broken connection")
		}
	})
}

func TestExecuteAndTimersRunOnTheLoopInOrder(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		conns := make(chan Conn, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{Open: func(c Conn) { conns <- c }})
		p := w.connect(t, ln)
		c := receive(t, "OnOpen", conns)
		var got []int // touched by the loop alone
		done := make(chan struct{})
		for i := range 100 {
			_ = c.Execute(func(Conn) { got = append(got, i) })
		}
		start := time.Now()
		for i := range 3 {
			d := time.Duration(3-i) * 20 * time.Millisecond
			_, _ = c.AfterFunc(d, func(Conn) {
				if time.Since(start) < d {
					t.Errorf("a timer of %v fired after %v", d, time.Since(start))
				}
				if got = append(got, 1000-i); i == 0 {
					close(done)
				}
			})
		}
		stopped, _ := c.AfterFunc(10*time.Millisecond, func(Conn) { t.Error("a stopped timer fired") })
		if !stopped.Stop() || stopped.Stop() {
			t.Error("Stop must succeed once")
		}
		hour, _ := c.AfterFunc(time.Hour, func(Conn) { t.Error("an hour has passed") })
		receive(t, "the timers", done)
		want := make([]int, 0, 103)
		for i := range 100 {
			want = append(want, i)
		}
		if want = append(want, 998, 999, 1000); !slices.Equal(got, want) {
			t.Errorf("got %v", got)
		}
		p.Close()
		eventually(t, "the timer to end with its connection", func() bool { return !hour.Stop() })
	})
}

func TestWritesFromOtherGoroutinesArriveInOrder(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		conns := make(chan Conn, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{Open: func(c Conn) { conns <- c }})
		p := w.connect(t, ln)
		c := receive(t, "OnOpen", conns)
		want := pattern(400_000)
		go func() {
			for rest := want; len(rest) > 0; {
				n := min(len(rest), 1+rand.IntN(3000))
				if rand.IntN(20) == 0 {
					time.Sleep(time.Millisecond) // the loop falls asleep
				}
				if _, err := c.Write(rest[:n]); err != nil {
					t.Error(err)
					return
				}
				if rand.IntN(10) == 0 {
					_ = c.Flush()
				}
				rest = rest[n:]
			}
			_ = c.Close()
		}()
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes, %v", len(got), len(want), err)
		}
		eventually(t, "the statistics to count every byte", func() bool {
			out := e.Stats().Loops
			return out[0].BytesOut+out[1].BytesOut == int64(len(want))
		})
	})
}

func TestPausedReadingHoldsThePeerBack(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var got atomic.Int64
		conns := make(chan Conn, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{
			Open: func(c Conn) { _ = c.PauseRead(); conns <- c },
			Data: func(c Conn, in *buffer.LinkBuffer) { got.Add(int64(in.Len())); _ = in.Skip(in.Len()) },
		})
		p := w.connect(t, ln)
		const size = 10 << 20
		go func() { _, _ = p.Write(make([]byte, size)) }()
		c := receive(t, "OnOpen", conns)
		time.Sleep(50 * time.Millisecond)
		if n := got.Load(); n != 0 {
			t.Errorf("%d bytes came while paused", n)
		}
		_ = c.ResumeRead()
		eventually(t, "all bytes", func() bool { return got.Load() == size })
	})
}

func TestTheLimitsOfOneConnection(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, abort := range []bool{false, true} {
			conns, closed := make(chan Conn, 1), make(chan error, 1)
			e := w.engine(t, Config{HighWater: 1 << 20, WriteLimit: 1 << 20, AbortOnLimit: abort, ReadLimit: 100_000})
			ln := w.serve(t, e, Funcs{
				Open:  func(c Conn) { conns <- c },
				Data:  func(c Conn, in *buffer.LinkBuffer) {}, // reads nothing
				Close: func(c Conn, err error) { closed <- err },
			})
			p := w.connect(t, ln)
			c := receive(t, "OnOpen", conns)
			if _, err := c.Write(make([]byte, 1<<20+1)); err != ErrWriteLimit {
				t.Errorf("a write beyond the limit: %v", err)
			}
			if c.IsOpen() == abort {
				t.Errorf("AbortOnLimit %v: open is %v", abort, c.IsOpen())
			}
			want := ErrWriteLimit
			if !abort {
				want = ErrReadLimit
				_, _ = p.Write(make([]byte, 200_000))
			}
			if err := receive(t, "OnClose", closed); err != want {
				t.Errorf("OnClose got %v, not %v", err, want)
			}
			ln.Close()
		}
	})
}
