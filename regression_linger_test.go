package sluice

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/internal/driver/sim"
)

// newReady is newStepped with a driver that takes what fits at once. Another may
// tell of a long Send only when all of it has left, which shows no progress.
func newReady(t *testing.T, cfg Config) *stepped {
	s := newStepped(t, cfg)
	s.net = sim.New(sim.Config{Seed: 1, Personality: sim.Readiness})
	e, err := newEngine(s.eng.cfg, s.net, func(*eventLoop) {})
	if err != nil {
		t.Fatal(err)
	}
	s.eng = e
	return s
}

// closing is a connection on which size bytes were written and Close called. It
// returns the peer and where OnClose puts its error, errTest before.
func (s *stepped) closing(size int, before func(c Conn)) (*sim.Peer, *error) {
	closed := errTest
	p := s.connect(Funcs{
		Open: func(c Conn) {
			_, _ = c.Write(make([]byte, size))
			before(c)
			_ = c.Close()
		},
		Close: func(c Conn, err error) { closed = err },
	})
	return p, &closed
}

// The simulated network holds 64 KiB; so the second size waits in the engine.
var lingerSizes = map[string]int{"in the kernel": 40 << 10, "in the engine, too": 400 << 10}

func TestLingerTimeoutDoesNotPassWhileThePeerReads(t *testing.T) {
	for name, size := range lingerSizes {
		t.Run(name, func(t *testing.T) {
			s := newReady(t, Config{LingerTimeout: 10 * time.Second})
			p, closed := s.closing(size, func(Conn) {})
			piece := make([]byte, 4<<10)
			for got := 0; got < size; {
				n, err := p.TryRead(piece)
				if err != nil || *closed != errTest {
					t.Fatalf("after %d of %d bytes: %v, OnClose %v", got, size, err, *closed)
				}
				got += n
				s.advance(6 * time.Second) // in all much more than the linger time
			}
			if n, err := p.TryRead(piece); n != 0 || err != io.EOF {
				t.Errorf("behind the last byte: %d, %v", n, err)
			}
			if *closed != nil {
				t.Errorf("OnClose got %v", *closed)
			}
		})
	}
}

func TestLingerTimeoutPassesForAPeerThatReadsNothing(t *testing.T) {
	for name, size := range lingerSizes {
		for _, first := range []int{0, 8 << 10} { // bytes that it reads at first
			s := newStepped(t, Config{LingerTimeout: 10 * time.Second})
			for range 4 { // with each personality of the driver
				p, closed := s.closing(size, func(Conn) {})
				s.advance(5 * time.Second)
				if first > 0 {
					_, _ = p.TryRead(make([]byte, first))
				}
				for range 6 {
					if _, err := p.TryWrite([]byte("I am not gone")); err != nil {
						break
					}
					s.advance(5 * time.Second)
				}
				if *closed != ErrLingerTimeout {
					t.Errorf("%s, having read %d: OnClose got %v", name, first, *closed)
				}
			}
			if d := s.net.Descriptors(); d != 4 { // the listeners
				t.Errorf("%s: %d descriptors are left", name, d)
			}
		}
	}
}

func TestAClosedConnectionThatIsReadSlowlyEndsByItsWriteDeadline(t *testing.T) {
	s := newReady(t, Config{LingerTimeout: 10 * time.Second})
	p, closed := s.closing(400<<10, func(c Conn) {
		_ = c.Flush()
		_ = c.SetWriteDeadline(time.Now().Add(30 * time.Second))
	})
	piece := make([]byte, 1<<10)
	for i := range 40 {
		if _, err := p.TryRead(piece); err != nil {
			break
		}
		if i == 24 && *closed != errTest {
			t.Errorf("OnClose got %v before the deadline", *closed)
		}
		s.advance(time.Second)
	}
	if !errors.Is(*closed, ErrLingerTimeout) {
		t.Errorf("OnClose got %v", *closed)
	}
}

func TestASlowReaderGetsAllBytesWrittenBeforeCloseWhateverTheLingerTimeout(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if !w.real {
			t.Skip("its driver tells of what waits only when all of it has left")
		}
		const size = 2 << 20
		e := w.engine(t, Config{LingerTimeout: 400 * time.Millisecond})
		want := pattern(size)
		_, p := w.pair(t, e, Funcs{Open: func(c Conn) {
			_, _ = c.Write(want)
			_ = c.Close()
		}})
		if tcp, ok := p.(interface{ SetReadBuffer(int) error }); ok {
			_ = tcp.SetReadBuffer(64 << 10)
		}
		got := make([]byte, 0, size)
		for piece := make([]byte, 32<<10); ; { // for a second or so
			n, err := p.Read(piece)
			if got = append(got, piece[:n]...); err != nil {
				if err != io.EOF || !bytes.Equal(got, want) {
					t.Errorf("after %d of %d bytes: %v", len(got), size, err)
				}
				return
			}
			time.Sleep(15 * time.Millisecond)
		}
	})
}

// A job is under way all the time, and the idle time is not over.
func TestAJobUnderWayHidesNoDeadline(t *testing.T) {
	const limit = time.Second
	for name, tc := range map[string]struct {
		set   func(c Conn)
		size  int // bytes that wait
		want  error
		wants error // of Write
	}{
		"a write deadline, bytes waiting": {func(c Conn) { _ = c.SetWriteDeadline(time.Now().Add(limit)) }, 400 << 10, ErrWriteTimeout, ErrClosed},
		"a write deadline, nothing waits": {func(c Conn) { _ = c.SetWriteDeadline(time.Now().Add(limit)) }, 0, errTest, ErrWriteTimeout},
		"a read deadline":                 {func(c Conn) { _ = c.SetReadDeadline(time.Now().Add(limit)) }, 0, ErrReadTimeout, ErrClosed},
		"none":                            {func(Conn) {}, 0, errTest, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t, Config{IdleTimeout: 2 * time.Second})
			l := s.eng.loops[0]
			var c Conn
			started, step, hungUp := make(chan struct{}), make(chan struct{}), errTest
			closed := make(chan error, 1)
			p := s.connect(Funcs{
				Open: func(opened Conn) {
					c = opened
					_, _ = c.Write(make([]byte, tc.size))
					tc.set(c)
					_ = c.Offload(func(Conn) { close(started); <-step })
				},
				Hangup: func(c Conn, err error) { hungUp = err },
				Close:  func(c Conn, err error) { closed <- err },
			})
			s.settle()
			receive(t, "the job to start", started) // one that has not is dropped
			for range 10 {
				s.advance(limit)
				if at, ok := l.deadlines.Next(); ok && at <= l.time() {
					t.Fatalf("the loop spins: a deadline at %d is due at %d", at, l.time())
				}
			}
			if hungUp != tc.want {
				t.Errorf("OnHangup got %v", hungUp)
			}
			if _, err := c.Write([]byte("x")); !errors.Is(err, tc.wants) {
				t.Errorf("Write: %v", err)
			}
			close(step)
			eventually(t, "the connection to end", func() bool { // it idles then
				_, _ = p.TryRead(make([]byte, 1<<10))
				s.advance(3 * time.Second)
				return len(closed) > 0
			})
			if err := <-closed; hungUp != errTest && err != hungUp || hungUp == errTest && err != ErrIdleTimeout {
				t.Errorf("OnClose got %v", err)
			}
		})
	}
}

func TestEachAndListenReturnThoughTheEngineEndsMeanwhile(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if w.network == "unix" {
			t.Skip("nothing of this depends on the network")
		}
		for range 25 {
			e := w.engine(t, Config{Loops: 2})
			ln := w.serve(t, e, Funcs{Data: echo})
			mustEcho(t, w.connect(t, ln), []byte("hello"))
			var calls sync.WaitGroup
			var over atomic.Bool
			for range 4 {
				calls.Go(func() {
					for !over.Load() {
						ln.Each(func(c Conn) { _ = c.Execute(func(Conn) {}) })
					}
				})
			}
			calls.Go(func() {
				for !over.Load() {
					if another, err := e.Listen(w.network, w.address, Funcs{}); err == nil {
						_ = another.Close()
					}
				}
			})
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			over.Store(true)
			returned := make(chan struct{})
			go func() { calls.Wait(); close(returned) }()
			receive(t, "the calls to return", returned)
		}
	})
}

// One that came while the ended loop's lock was held, by discard, could not be
// called by whoever pushed it.
func TestAnEndedLoopCallsWhatCameWhileItDiscards(t *testing.T) {
	s := newStepped(t, Config{})
	l := s.eng.loops[0]
	s.eng.refuse()
	l.do(func() { l.stopping = true })
	s.settle()
	l.run()
	called := false
	l.after.Lock()
	l.do(func() { called = true })
	l.after.Unlock()
	if called {
		t.Error("it was called without the lock")
	}
	l.discard()
	if !called {
		t.Error("nobody calls it")
	}
}
