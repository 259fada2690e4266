package sluice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// pair serves one connection with h and returns both of its ends.
func (w *world) pair(t *testing.T, e *Engine, h Funcs) (Conn, peer) {
	t.Helper()
	conns := make(chan Conn, 1)
	open := h.Open
	h.Open = func(c Conn) {
		if open != nil {
			open(c)
		}
		conns <- c
	}
	p := w.connect(t, w.serve(t, e, h))
	return receive(t, "OnOpen", conns), p
}

func TestARelayOfSingleBytesToAPeerThatDoesNotReadTakesLittleMemory(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const count = 1000
		e := w.engine(t, Config{Loops: 1, HighWater: 64 << 20, WriteLimit: 64 << 20})
		idle := e.Stats().Loops[0].LiveBytes // what the driver receives into
		conns, relayed := make(chan Conn, 2), make(chan int, count)
		var to Conn
		ln := w.serve(t, e, Funcs{
			Open: func(c Conn) { conns <- c },
			Data: func(c Conn, in *buffer.LinkBuffer) {
				n := in.Len()
				proxy(func(Conn) Conn { return to })(c, in)
				relayed <- n
			},
		})
		w.connect(t, ln) // which does not read
		to = receive(t, "OnOpen", conns)
		// More than the kernel takes, and no block of the pool.
		if err := to.Append(make([]byte, 32<<20)); err != nil {
			t.Fatal(err)
		}
		from := w.connect(t, ln)
		for range count { // each comes alone
			if _, err := from.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			receive(t, "the byte", relayed)
		}
		if n := to.PendingWrite(); n < count {
			t.Fatalf("only %d bytes wait; the test shows nothing", n)
		}
		if n := e.Stats().Loops[0].LiveBytes - idle; n > 1<<20 {
			t.Errorf("%d waiting bytes hold %d bytes of blocks", count, n)
		}
	})
}

func TestTimesInTheFarFutureDoNotComeEarly(t *testing.T) {
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	fired := false
	for name, set := range map[string]func(c Conn) error{
		"SetReadDeadline":  func(c Conn) error { return c.SetReadDeadline(far) },
		"SetWriteDeadline": func(c Conn) error { return c.SetWriteDeadline(far) },
		"SetDeadline":      func(c Conn) error { return c.SetDeadline(far) },
		"SetIdleTimeout":   func(c Conn) error { return c.SetIdleTimeout(math.MaxInt64) },
		"SetReadIdle":      func(c Conn) error { return c.SetReadIdle(math.MaxInt64) },
		"AfterFunc": func(c Conn) error {
			_, err := c.AfterFunc(math.MaxInt64, func(Conn) { fired = true })
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t, Config{})
			var c Conn
			s.connect(attentive{Funcs{
				Open:  func(opened Conn) { c = opened },
				Close: func(c Conn, err error) { t.Errorf("closed with %v", err) },
			}, func(Conn) { fired = true }})
			if err := set(c); err != nil {
				t.Fatal(err)
			}
			s.settle()
			for range 4 {
				s.advance(10 * 24 * time.Hour)
			}
			if _, err := c.Write([]byte("x")); err != nil || !c.IsOpen() {
				t.Errorf("Write: %v, open: %v", err, c.IsOpen())
			}
			if fired {
				t.Error("the timer fired")
			}
		})
	}
	t.Run("LingerTimeout", func(t *testing.T) {
		s := newStepped(t, Config{LingerTimeout: math.MaxInt64})
		closed := error(errTest)
		want := pattern(1 << 20)
		p := s.connect(Funcs{
			Open:  func(c Conn) { _, _ = c.Write(want); _ = c.Close() },
			Close: func(c Conn, err error) { closed = err },
		})
		s.advance(10 * 24 * time.Hour)
		if got, err := s.readAll(p, func() {}); err != io.EOF || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes came, %v", len(got), len(want), err)
		}
		_ = p.Close()
		s.settle()
		if closed != nil {
			t.Errorf("OnClose got %v", closed)
		}
	})
}

// readAll reads from p until its stream ends, with between called after every
// piece. The error io.ErrNoProgress means that no more comes.
func (s *stepped) readAll(p *sim.Peer, between func()) (got []byte, err error) {
	buf := make([]byte, 4<<10)
	for empty := 0; empty < 3; {
		n, err := p.TryRead(buf)
		if got = append(got, buf[:n]...); err != nil {
			return got, err
		}
		between()
		if s.settle(); n > 0 {
			empty = 0
		} else {
			empty++
		}
	}
	return got, io.ErrNoProgress
}

func TestAClosedConnectionWaitsForAPeerThatReadsSlowlyAndGoesOnAsking(t *testing.T) {
	for name, size := range map[string]int{
		"WhatTheKernelTookAtOnce": 60 << 10,
		"WithASendUnderWay":       200 << 10,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t, Config{})
			for range 4 { // with each personality of the driver
				closed := error(errTest)
				var c Conn
				want := pattern(size)
				p := s.connect(Funcs{
					Open:  func(opened Conn) { c = opened; _, _ = c.Write(want) },
					Close: func(c Conn, err error) { closed = err },
				})
				_ = c.Close()
				s.settle()
				unread := size
				got, err := s.readAll(p, func() {
					if unread -= 4 << 10; unread <= 0 {
						return
					}
					if _, err := p.TryWrite([]byte("more")); err != nil || closed != errTest {
						t.Fatalf("with %d bytes unread: the peer's write %v, OnClose %v", unread, err, closed)
					}
					s.advance(150 * time.Millisecond) // in all less than the linger time
				})
				if err != io.EOF || !bytes.Equal(got, want) {
					t.Fatalf("%d of %d bytes came, %v", len(got), size, err)
				}
				_ = p.Close()
				s.settle()
				if closed != nil {
					t.Errorf("OnClose got %v", closed)
				}
			}
		})
	}
}

func TestASlowPeerThatGoesOnAskingGetsEveryByteWrittenBeforeClose(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if w.name == "sim" {
			t.Skip("the test before this one is for the simulation")
		}
		e := w.engine(t, Config{LingerTimeout: time.Minute})
		conns := make(chan Conn, 2)
		ln := w.serve(t, e, Funcs{Open: func(c Conn) { conns <- c }})
		var peers sync.WaitGroup
		defer peers.Wait()
		for _, size := range []int{1 << 20, 16 << 20} { // the kernel takes it at once, and not
			p := w.connect(t, ln)
			c := receive(t, "OnOpen", conns)
			want := pattern(size)
			if _, err := c.Write(want); err != nil {
				t.Fatal(err)
			}
			_ = c.Flush()
			s, err := c.lock()
			if err != nil {
				t.Fatal(err)
			}
			tells := s.pending > 0 || c.ch.loop.drv.Unsent(int(s.fd)) > 0
			s.mu.Unlock()
			if !tells {
				t.Log("this system does not tell what a peer has not got")
				continue
			}
			_ = c.Close()
			peers.Go(func() {
				defer p.Close()
				got := make([]byte, 0, size)
				slow := time.Now().Add(2 * finWait) // reads slowly until the wait for its FIN is over
				for piece := make([]byte, 8<<10); len(got) < size; {
					n, err := p.Read(piece)
					if got = append(got, piece[:n]...); err != nil {
						t.Errorf("after %d of %d bytes: %v", len(got), size, err)
						return
					}
					if time.Now().After(slow) {
						piece = piece[:cap(piece)]
						continue
					}
					if _, err := p.Write([]byte("more")); err != nil {
						t.Errorf("after %d of %d bytes: writing: %v", len(got), size, err)
						return
					}
					time.Sleep(20 * time.Millisecond)
				}
				if !bytes.Equal(got, want) {
					t.Error("the bytes are wrong")
				}
			})
		}
	})
}

func TestTheLastWordsOfThePeerAreDeliveredWhenOurWriteFailsFirst(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const words = "413 too large"
		e := w.engine(t, Config{})
		closed := make(chan error, 1)
		var got bytes.Buffer
		c, p := w.pair(t, e, Funcs{
			Open:  func(c Conn) { _ = c.PauseRead(); _, _ = c.WriteString("hello") },
			Data:  func(c Conn, in *buffer.LinkBuffer) { _, _ = io.Copy(&got, in) },
			Close: func(c Conn, err error) { closed <- err },
		})
		if _, err := p.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte(words)); err != nil {
			t.Fatal(err)
		}
		_ = p.Close() // with bytes unread, or over TCP upon the next that come: a reset
		eventually(t, "a write to fail", func() bool {
			failed := make(chan bool, 1)
			err := c.Execute(func(c Conn) {
				// A write that is answered later must not fail while reading is
				// paused: there would be no last words then.
				if s := c.slot(); s.flags&flagSending != 0 {
					failed <- false
					return
				}
				_ = c.ResumeRead() // with effect at the end of this function
				_, err := c.WriteString("more")
				broken := errors.Join(err, c.Flush()) != nil
				if !broken && c.slot().pending == 0 {
					_ = c.PauseRead()
				}
				failed <- broken
			})
			return err != nil || receive(t, "the outcome", failed)
		})
		if err := receive(t, "OnClose", closed); err == nil || got.String() != words {
			t.Errorf("OnData got %q, OnClose %v", got.String(), err)
		}
	})
}

func TestAListenerThatIsClosedBeforeItHasStartedDoesNotStart(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		// The halves of Listen, with the beginning of Shutdown in between.
		ln, err := e.bindListener(context.Background(), w.network, w.address, Funcs{})
		if err != nil {
			t.Fatal(err)
		}
		e.refuse()
		for _, a := range ln.acceptors {
			started := make(chan error, 1)
			a.loop.do(func() {
				started <- a.start()
				for _, other := range a.loop.acceptors {
					if other == a {
						t.Error("the loop has it as one that accepts")
					}
				}
			})
			if err := receive(t, "the start", started); !errors.Is(err, ErrClosed) {
				t.Errorf("starting it over a closed descriptor: %v", err)
			}
		}
		if _, err := e.Listen(w.network, w.address, Funcs{}); !errors.Is(err, ErrEngineClosed) {
			t.Errorf("Listen: %v", err)
		}
	})
}

func TestShutdownEndsThoughAPeerKeepsAsking(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		var jobs atomic.Int64
		_, p := w.pair(t, e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			_ = in.Skip(in.Len())
			for range 8 {
				_ = c.Offload(func(Conn) { time.Sleep(time.Millisecond); jobs.Add(1) })
			}
		}})
		var asking sync.WaitGroup
		asking.Go(func() {
			for {
				if _, err := p.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
		asking.Go(func() {
			_, _ = io.Copy(io.Discard, p) // until the engine says that it ends
			_ = p.Close()
		})
		eventually(t, "jobs to run", func() bool { return jobs.Load() > 8 })
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := e.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		_ = p.Close()
		asking.Wait()
	})
}

func TestNilArgumentsAreRefused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		c, p := w.pair(t, e, Funcs{Data: echo})
		var none context.Context
		ctx, addr := context.Background(), c.LocalAddr().String()
		done := func(Conn, error) { t.Error("done was called") }
		for name, call := range map[string]func() error{
			"Listen":                 func() error { _, err := e.Listen(w.network, w.address, nil); return err },
			"Dial without a context": func() error { _, err := e.Dial(none, w.network, addr, Funcs{}); return err },
			"Dial without a handler": func() error { _, err := e.Dial(ctx, w.network, addr, nil); return err },
			"Conn.Dial, no context":  func() error { return c.Dial(none, w.network, addr, Funcs{}, done) },
			"Conn.Dial, no handler":  func() error { return c.Dial(ctx, w.network, addr, nil, done) },
			"Conn.Dial, no function": func() error { return c.Dial(ctx, w.network, addr, Funcs{}, nil) },
			"Detach":                 func() error { return c.Detach(nil) },
			"EventLoop.Execute":      func() error { return c.EventLoop().Execute(nil) },
		} {
			if call() == nil {
				t.Errorf("%s: no error", name)
			}
		}
		mustEcho(t, p, []byte("all goes on"))
	})
}

func TestChunksAreGivenBackWhateverTheOrderOfClosing(t *testing.T) {
	const count = 20 * chunkSize
	for name, next := range map[string]func(left int) int{ // of those left, the index to close
		"oldest first": func(left int) int { return 0 },
		"newest first": func(left int) int { return left - 1 },
		"any order":    rand.New(rand.NewPCG(1, 2)).IntN,
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t, Config{})
			l, r := s.eng.loops[0], newRoute(s.eng, Funcs{}, nil)
			var open []Conn
			for range count {
				ch, i := l.alloc()
				ch.slots[i].route = l.bind(r)
				open = append(open, ch.conn(i))
			}
			for len(open) > 0 {
				k := next(len(open))
				c := open[k]
				l.unbind(c.slot().route)
				l.release(c.ch, uint32(c.key&slotMask))
				open = append(open[:k], open[k+1:]...)
			}
			kept := 0
			for _, ch := range l.chunks {
				if ch != nil {
					kept++
				}
			}
			if kept > 1 {
				t.Errorf("%d chunks are kept for no connection", kept)
			}
		})
	}
}

func TestTwoServersOnOneAddressAreRefused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		cfg := Config{Accept: AcceptPerLoop}
		e, other := w.engine(t, cfg), w.engine(t, cfg)
		ln := w.serve(t, e, Funcs{Data: echo})
		addr := ln.Addr().String()
		for name, e := range map[string]*Engine{"the same engine": e, "another engine": other} {
			if _, err := e.Listen(w.network, addr, Funcs{}); !errors.Is(err, syscall.EADDRINUSE) {
				t.Errorf("%s: Listen: %v", name, err)
			}
		}
		mustEcho(t, w.connect(t, ln), []byte("it is the first one's"))
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := other.Listen(w.network, addr, Funcs{Data: echo})
		if err != nil {
			t.Fatal(err)
		}
		mustEcho(t, w.connect(t, again), []byte("now it is the second one's"))
	})
}

func TestVeryManyDeadlinesAreTakenInPortions(t *testing.T) {
	const count = 3 * perPass
	s := newStepped(t, Config{IdleTimeout: time.Second})
	l := s.eng.loops[0]
	var first Conn
	closing, fired, closed := 0, 0, 0
	h := Funcs{
		Open: func(c Conn) { first = c },
		Close: func(c Conn, err error) {
			if closed++; err != ErrIdleTimeout {
				t.Errorf("OnClose got %v", err)
			}
		},
	}
	s.connect(h)
	for range count {
		_, _ = first.AfterFunc(time.Second, func(Conn) { fired++ })
	}
	addr := s.eng.acceptedAt()
	for i := range count {
		if _, err := s.net.Dial(addr); err != nil {
			t.Fatal(err)
		}
		if i%100 == 0 {
			s.settle()
		}
	}
	s.settle()
	s.net.Advance(2 * time.Second)
	for range 2 * (count/perPass + 1) {
		before, firedBefore := closing, fired
		if err := l.pass(); err != nil {
			t.Fatal(err)
		}
		closing = 0
		for _, ch := range l.chunks { // none of them can be given back yet
			for i := range ch.slots {
				if ch.slots[i].state == stateClosing {
					closing++
				}
			}
		}
		if n := closing - before; n > perPass {
			t.Errorf("%d connections came to their end in one pass", n)
		}
		if n := fired - firedBefore; n > perPass {
			t.Errorf("%d timers fired in one pass", n)
		}
		if more := closing < count+1 || fired < count; more && l.wait() != 0 {
			t.Fatalf("the loop sleeps, with %d ended and %d fired", closing, fired)
		}
	}
	for range 10 {
		s.advance(time.Second)
	}
	if closed != count+1 || fired != count {
		t.Errorf("%d of %d connections closed, %d of %d timers fired", closed, count+1, fired, count)
	}
}

// acceptedAt returns the address of the engine's one listener.
func (e *Engine) acceptedAt() net.Addr {
	for ln := range e.listeners {
		return ln.Addr()
	}
	return nil
}

func TestCloseAfterCloseWriteWaitsForThePeersEndAsCloseDoes(t *testing.T) {
	for _, half := range []bool{false, true} {
		s := newStepped(t, Config{LingerTimeout: time.Hour})
		var c Conn
		closed := error(errTest)
		s.connect(Funcs{Open: func(opened Conn) { c = opened }, Close: func(c Conn, err error) { closed = err }})
		if half {
			_ = c.CloseWrite()
			s.settle()
		}
		_ = c.Close()
		s.settle()
		if closed != errTest {
			t.Fatalf("half-closed %v: it did not wait for the peer's end", half)
		}
		s.advance(finWait + time.Millisecond)
		if closed != nil {
			t.Errorf("half-closed %v: still there, although the peer has everything", half)
		}
	}
}

// failing is a system whose first driver fails when it is told to.
type failing struct {
	driver.System
	fail atomic.Bool
	made int
}

func (f *failing) New(h driver.Events, p *buffer.Pool) (driver.Driver, error) {
	d, err := f.System.New(h, p)
	if f.made++; f.made == 1 {
		d = failingDriver{d, &f.fail}
	}
	return d, err
}

type failingDriver struct {
	driver.Driver
	fail *atomic.Bool
}

func (f failingDriver) Poll(wait time.Duration) error {
	if f.fail.Load() {
		return errTest
	}
	return f.Driver.Poll(wait)
}

func TestDescriptorsOnTheirWayToALoopThatFailedAreClosed(t *testing.T) {
	n := sim.New(sim.Config{Seed: 1})
	sys := &failing{System: n}
	cfg := Config{Loops: 1, Accept: AcceptMain, Logger: slog.New(slog.DiscardHandler)}
	e, err := newEngine(cfg, sys, func(*eventLoop) {})
	if err != nil {
		t.Fatal(err)
	}
	ln, err := e.bindListener(context.Background(), "tcp", "127.0.0.1:0", Funcs{})
	if err != nil {
		t.Fatal(err)
	}
	a, l := ln.acceptors[0], e.loops[0]
	a.loop.do(func() { _ = a.start() })
	_ = e.main.pass()
	arrive := func() {
		_, _ = n.Dial(ln.Addr()) // refused once the listener is closed
		for range 3 {
			_ = e.main.pass()
		}
	}
	arrive()
	if l.incoming.Empty() {
		t.Fatal("nothing is on its way")
	}
	sys.fail.Store(true)
	l.run()
	if !l.incoming.Empty() {
		t.Error("it ended with descriptors on their way to it")
	}
	arrive() // for the loop that has ended
	go e.main.run()
	if err := e.Wait(); !errors.Is(err, errTest) {
		t.Errorf("Wait: %v", err)
	}
	if d := n.Descriptors(); d != 0 || l.assigned.Load() != 0 {
		t.Errorf("%d descriptors are left, %d connections assigned", d, l.assigned.Load())
	}
}

// dial has the loop begin to connect to out, up to the point where the outcome
// is the next thing that the driver reports.
func (s *stepped) dial(ctx context.Context, out net.Addr, h Handler, done func(Conn, error)) *dialing {
	d := &dialing{network: "tcp", addrs: []net.Addr{out}, route: newRoute(s.eng, h, nil), done: done}
	l := s.eng.pick(-1)
	l.do(func() { l.dial(ctx, d) })
	if err := l.pass(); err != nil {
		s.t.Fatal(err)
	}
	return d
}

func TestADialThatIsCancelledWhileItSucceedsReportsTheCause(t *testing.T) {
	s := newStepped(t, Config{})
	out, err := s.net.ListenPeer("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	outcomes := make(chan error, 1)
	s.dial(ctx, out.Addr(), Funcs{
		Open:  func(Conn) { t.Error("OnOpen was called") },
		Close: func(Conn, error) { t.Error("OnClose was called") },
	}, func(c Conn, err error) { outcomes <- err })
	cancel(os.ErrInvalid)
	c := s.eng.loops[0].chunks[0].conn(0)
	eventually(t, "the watch over the context", func() bool {
		slot, err := c.lockAny()
		if err != nil {
			t.Fatal(err)
		}
		defer slot.mu.Unlock()
		return slot.want&wantAbort != 0
	})
	s.settle()
	if err := receive(t, "the outcome", outcomes); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("done got %v", err)
	}
	if d := s.net.Descriptors(); d != 0 {
		t.Errorf("%d descriptors are left", d)
	}
}

func TestADialThatTheEngineCutsShortLeavesNothingAtItsContext(t *testing.T) {
	s := newStepped(t, Config{})
	out, err := s.net.ListenPeer("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	outcome := error(nil)
	d := s.dial(ctx, out.Addr(), Funcs{}, func(c Conn, err error) { outcome = err })
	s.eng.loops[0].closeAll(true)
	s.settle()
	if !errors.Is(outcome, ErrEngineClosed) {
		t.Fatalf("done got %v", outcome)
	}
	if d.unwatch() {
		t.Error("the dial is over, but its context still knows it")
	}
}
