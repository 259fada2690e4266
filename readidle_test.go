package sluice

import (
	"crypto/tls"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// attentive is a Handler with OnReadIdle.
type attentive struct {
	Funcs
	silent func(c Conn)
}

func (a attentive) OnReadIdle(c Conn) { a.silent(c) }

// attend serves one connection with h, in virtual time, counts its OnReadIdles and
// returns both of its ends.
func (s *stepped) attend(h Funcs) (c Conn, p *sim.Peer, silences *int) {
	silences = new(int)
	open := h.Open
	h.Open = func(opened Conn) {
		c = opened
		if open != nil {
			open(c)
		}
	}
	p = s.connect(attentive{h, func(Conn) { *silences++ }})
	return c, p, silences
}

func TestOnReadIdleIsCalledAgainAndAgainWhileNothingComes(t *testing.T) {
	s := newStepped(t, Config{})
	c, p, n := s.attend(Funcs{Data: echo})
	s.advance(time.Hour)
	if err := c.SetReadIdle(time.Second); err != nil {
		t.Fatal(err)
	}
	s.advance(900 * time.Millisecond)
	if *n != 0 {
		t.Fatalf("%d calls before the time", *n)
	}
	for want := 1; want <= 5; want++ {
		s.advance(1002 * time.Millisecond) // both clocks were rounded down
		if *n != want {
			t.Fatalf("%d calls after %d times the time", *n, want)
		}
	}
	for range 5 { // what comes puts it off
		if got := c.Idle(); got > 5*time.Millisecond && got < 900*time.Millisecond {
			t.Errorf("Idle is %v", got)
		}
		s.advance(900 * time.Millisecond)
		_, _ = p.TryWrite([]byte("x"))
		s.settle()
	}
	if *n != 5 {
		t.Errorf("%d calls though bytes came in time", *n-5)
	}
	s.advance(1002 * time.Millisecond)
	if *n != 6 {
		t.Error("no call when bytes come no more")
	}
	s.advance(10 * time.Second)
	if *n != 7 {
		t.Errorf("%d calls at once, when the loop comes late", *n-6)
	}
}

func TestWhatIsSentDoesNotPutOnReadIdleOff(t *testing.T) {
	for name, size := range map[string]int{"little": 10, "as much as goes to the descriptor at once": directMin} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t, Config{})
			c, p, n := s.attend(Funcs{Open: func(c Conn) { _ = c.SetReadIdle(time.Second) }})
			msg, got := make([]byte, size), make([]byte, size)
			for range 10 {
				s.advance(550 * time.Millisecond)
				before := s.eng.Stats().Loops[0].BytesOut
				if _, err := c.Write(msg); err != nil {
					t.Fatal(err)
				}
				s.settle()
				for s.eng.Stats().Loops[0].BytesOut < before+int64(size) {
					_, _ = p.TryRead(got)
					s.settle()
				}
				for k := 1; k > 0; k, _ = p.TryRead(got) {
				}
			}
			if *n != 5 {
				t.Errorf("%d calls, not 5", *n)
			}
		})
	}
}

func TestAReadIdleTimeEndsByZeroByAnIdleTimeoutAndByClose(t *testing.T) {
	for name, end := range map[string]func(c Conn) error{
		"Zero":        func(c Conn) error { return c.SetReadIdle(0) },
		"Negative":    func(c Conn) error { return c.SetReadIdle(-1) },
		"IdleTimeout": func(c Conn) error { return c.SetIdleTimeout(time.Hour) },
		"NoTimeout":   func(c Conn) error { return c.SetIdleTimeout(0) },
		"Close":       func(c Conn) error { _, _ = c.Write(make([]byte, 1<<20)); return c.Close() },
		"Abort":       func(c Conn) error { return c.Abort() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t, Config{LingerTimeout: time.Minute})
			c, _, n := s.attend(Funcs{})
			_ = c.SetReadIdle(10 * time.Millisecond)
			s.advance(15 * time.Millisecond)
			if *n != 1 {
				t.Fatalf("%d calls", *n)
			}
			if err := end(c); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				s.advance(20 * time.Millisecond)
			}
			if *n != 1 {
				t.Errorf("%d more calls", *n-1)
			}
			if name == "Close" {
				if s.eng.loops[0].count.conns != 1 {
					t.Error("the connection is not closing any more; the test shows nothing")
				}
				if err := c.SetReadIdle(time.Second); err != ErrClosed {
					t.Errorf("SetReadIdle of a closing connection: %v", err)
				}
			}
		})
	}
}

func TestSetReadIdleAndTheIdleTimeoutTakeEachOthersPlace(t *testing.T) {
	s := newStepped(t, Config{IdleTimeout: time.Second})
	closed := error(errTest)
	c, p, n := s.attend(Funcs{Close: func(_ Conn, err error) { closed = err }})
	if err := c.SetReadIdle(0); err != nil { // which must not end the idle timeout
		t.Fatal(err)
	}
	s.advance(900 * time.Millisecond)
	_ = c.SetReadIdle(3 * time.Second)
	s.advance(2900 * time.Millisecond)
	if *n != 0 || closed != errTest {
		t.Fatalf("%d calls, closed with %v", *n, closed)
	}
	s.advance(200 * time.Millisecond)
	if *n != 1 || closed != errTest {
		t.Fatalf("%d calls, closed with %v", *n, closed)
	}
	s.advance(2 * time.Second)
	_ = c.SetIdleTimeout(time.Second) // for which the two seconds do not count
	s.advance(900 * time.Millisecond)
	_, _ = c.Write([]byte("x")) // which counts again
	s.settle()
	s.advance(900 * time.Millisecond)
	if *n != 1 || closed != errTest {
		t.Fatalf("%d calls, closed with %v", *n, closed)
	}
	s.advance(200 * time.Millisecond)
	_ = p.Close()
	s.advance(0)
	if *n != 1 || closed != ErrIdleTimeout {
		t.Errorf("%d calls, closed with %v", *n, closed)
	}
	c, p, n = s.attend(Funcs{Close: func(_ Conn, err error) { closed = err }})
	closed = errTest
	_ = c.SetReadIdle(0)
	s.advance(1100 * time.Millisecond)
	_ = p.Close()
	s.advance(0)
	if *n != 0 || closed != ErrIdleTimeout {
		t.Errorf("SetReadIdle(0) without another: %d calls, closed with %v", *n, closed)
	}
}

// TestASilentPeerIsAskedAndThenGivenUp is what the time is for.
func TestASilentPeerIsAskedAndThenGivenUp(t *testing.T) {
	s := newStepped(t, Config{})
	const often, soon = 30 * time.Second, 5 * time.Second
	asked, closed := false, error(errTest)
	p := s.connect(attentive{
		Funcs{
			Open: func(c Conn) { _ = c.SetReadIdle(often) },
			Data: func(c Conn, in *buffer.LinkBuffer) {
				_ = in.Skip(in.Len())
				if asked {
					asked = false
					_ = c.SetReadIdle(often)
				}
			},
			Close: func(_ Conn, err error) { closed = err },
		},
		func(c Conn) {
			if asked {
				_ = c.Abort()
				return
			}
			asked = true
			_, _ = c.WriteString("?")
			_ = c.SetReadIdle(soon)
		},
	})
	var b [1]byte
	for range 3 {
		s.advance(often + 2*time.Millisecond)
		if n, _ := p.TryRead(b[:]); n != 1 {
			t.Fatal("it was not asked")
		}
		s.advance(soon - time.Second)
		_, _ = p.TryWrite([]byte("!"))
		s.settle()
	}
	s.advance(often + 2*time.Millisecond)
	s.advance(soon - time.Second)
	if closed != errTest {
		t.Fatalf("closed with %v before the time", closed)
	}
	s.advance(time.Second + 2*time.Millisecond)
	if closed != ErrAborted {
		t.Errorf("OnClose got %v", closed)
	}
}

func TestReadIdleBesideDeadlines(t *testing.T) {
	t.Run("Write", func(t *testing.T) {
		s := newStepped(t, Config{})
		c, _, n := s.attend(Funcs{})
		_ = c.SetWriteDeadline(time.Now().Add(time.Minute))
		_ = c.SetReadIdle(time.Second)
		s.advance(2 * time.Minute) // both pass at once
		if _, err := c.Write([]byte("x")); err != ErrWriteTimeout || *n != 1 {
			t.Errorf("Write after its deadline: %v; %d calls", err, *n)
		}
		for want := 2; want < 5; want++ {
			s.advance(1002 * time.Millisecond)
			if *n != want {
				t.Errorf("%d calls, not %d, after a write deadline", *n, want)
			}
		}
	})
	t.Run("Read", func(t *testing.T) {
		s := newStepped(t, Config{})
		closed := error(errTest)
		c, p, n := s.attend(Funcs{Close: func(_ Conn, err error) { closed = err }})
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_ = c.SetReadIdle(time.Second)
		s.advance(2 * time.Minute)
		_ = p.Close()
		s.settle()
		if closed != ErrReadTimeout || *n != 0 {
			t.Errorf("OnClose got %v; %d calls", closed, *n)
		}
	})
}

func TestAHandlerWithoutOnReadIdleKeepsItsIdleTimeout(t *testing.T) {
	server, _ := tlsConfigs()
	for name, h := range map[string]Handler{"Funcs": Funcs{}, "TLS": TLS(server, halfOpen{})} {
		if newRoute(newStepped(t, Config{}).eng, h, nil).readIdle != nil {
			t.Errorf("%s: it is said to have OnReadIdle", name)
		}
	}
	s := newStepped(t, Config{IdleTimeout: time.Second})
	var c Conn
	closed := error(errTest)
	p := s.connect(Funcs{Open: func(opened Conn) { c = opened }, Close: func(_ Conn, err error) { closed = err }})
	for _, d := range []time.Duration{0, time.Hour} {
		if err := c.SetReadIdle(d); err != errNoReadIdle {
			t.Errorf("SetReadIdle(%v): %v", d, err)
		}
	}
	s.advance(1100 * time.Millisecond)
	_ = p.Close()
	s.advance(0)
	if closed != ErrIdleTimeout {
		t.Errorf("OnClose got %v", closed)
	}
}

func TestAReadIdleTimeTakesNoMemory(t *testing.T) {
	s := newStepped(t, Config{})
	c, p, n := s.attend(Funcs{Data: echo, Open: func(c Conn) { _ = c.SetReadIdle(time.Second) }})
	round := func() {
		_, _ = p.TryWrite([]byte("x"))
		s.settle()
		s.advance(1002 * time.Millisecond)
	}
	round()
	if flags := c.slot().flags; *n != 1 || flags&(flagActive|flagSpare) != 0 || *c.refs() != (refs{}) {
		t.Errorf("after %d calls the connection has flags %b and %+v", *n, flags, *c.refs())
	}
	if raceEnabled() {
		return // sync.Pool drops items at random under it
	}
	silence := func() { s.advance(1002 * time.Millisecond) }
	before := *n
	with := testing.AllocsPerRun(100, silence)
	if *n < before+100 {
		t.Fatalf("%d calls; the test shows nothing", *n-before)
	}
	_ = c.SetReadIdle(0)
	s.settle()
	if without := testing.AllocsPerRun(100, silence); with > without {
		t.Errorf("%v allocations with it, %v without", with, without)
	}
}

func TestOnReadIdleOnEveryDriver(t *testing.T) {
	const d = 20 * time.Millisecond
	f := newFile(t)
	cases := map[string]struct {
		open func(c Conn)
		then func(c Conn, p peer, stop chan struct{})
	}{
		"Silent": {},
		"ReadingIsPaused": {
			func(c Conn) { _ = c.PauseRead() },
			func(_ Conn, p peer, stop chan struct{}) { send(p, stop) },
		},
		"ThePeerTakesNothing": {
			func(c Conn) { _, _ = c.Write(make([]byte, 15<<20)) },
			func(_ Conn, p peer, stop chan struct{}) { send(p, stop) },
		},
		"BytesAreSent": {nil, func(c Conn, p peer, stop chan struct{}) {
			go func() { _, _ = io.Copy(io.Discard, p) }()
			send(writerOf(c), stop)
		}},
		"FilesAreSent": {nil, func(c Conn, p peer, stop chan struct{}) {
			go func() { _, _ = io.Copy(io.Discard, p) }()
			send(sender{c, f}, stop)
		}},
		"AJobIsUnfinished": {nil, func(c Conn, _ peer, stop chan struct{}) {
			_ = c.Offload(func(Conn) { <-stop })
		}},
		"JobsEnd": {nil, func(c Conn, _ peer, stop chan struct{}) { send(jobber(c), stop) }},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for name, tc := range cases {
			t.Run(name, func(t *testing.T) {
				e := w.engine(t, Config{Loops: 1, IdleTimeout: time.Minute})
				calls := make(chan time.Time, 100)
				conns := make(chan Conn, 1)
				start := time.Now()
				ln := w.serve(t, e, attentive{
					Funcs{Open: func(c Conn) {
						_ = c.SetReadIdle(d)
						if tc.open != nil {
							tc.open(c)
						}
						conns <- c
					}},
					func(c Conn) {
						select {
						case calls <- time.Now():
						default:
						}
					},
				})
				defer ln.Close()
				p := w.connect(t, ln)
				c := receive(t, "OnOpen", conns)
				stop := make(chan struct{})
				defer close(stop)
				if tc.then != nil {
					tc.then(c, p, stop)
				}
				for k := range 4 {
					at := receive(t, "OnReadIdle", calls)
					if early := at.Sub(start); early < time.Duration(k+1)*d {
						t.Errorf("call %d came after %v", k+1, early)
					}
				}
			})
		}
	})
}

// writerOf is c as an io.Writer of c.Write alone.
type writerOf Conn

func (c writerOf) Write(p []byte) (int, error) { return Conn(c).Write(p) }

// jobber has a job run for each Write.
type jobber Conn

func (c jobber) Write(p []byte) (int, error) { return len(p), Conn(c).Offload(func(Conn) {}) }

// sender sends a file for each Write.
type sender struct {
	c Conn
	f *os.File
}

func (s sender) Write(p []byte) (int, error) {
	if _, err := s.c.SendFile(s.f, 0, 1); errors.Is(err, errors.ErrUnsupported) {
		_, err = s.c.Write(p)
		return len(p), err
	}
	return len(p), nil
}

func newFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.WriteString("what is sent"); err != nil {
		t.Fatal(err)
	}
	return f
}

// send writes a byte every millisecond or so, until stop is closed.
func send(to io.Writer, stop chan struct{}) {
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				if _, err := to.Write([]byte("x")); err != nil {
					return
				}
			}
		}
	}()
}

func TestAPeerThatIsAskedAnswersOnEveryDriver(t *testing.T) {
	for _, over := range []string{"plain", "TLS"} {
		t.Run(over, func(t *testing.T) {
			eachWorld(t, func(t *testing.T, w *world) {
				e := w.engine(t, Config{Loops: 1})
				answers, calls := make(chan bool, 100), 0 // calls is the loop's
				h := Handler(attentive{
					Funcs{
						Open: func(c Conn) { _ = c.SetReadIdle(5 * time.Millisecond) },
						Data: func(c Conn, in *buffer.LinkBuffer) {
							if c.slot().active != c.ch.loop.now {
								t.Error("what came does not count")
							}
							_ = in.Skip(in.Len())
							answers <- true
						},
					},
					func(c Conn) {
						if calls++; calls <= 10 {
							_, _ = c.WriteString("?")
						}
					},
				})
				server, client := tlsConfigs()
				if over == "TLS" {
					h = TLS(server, h)
				}
				p := io.ReadWriter(w.connect(t, w.serve(t, e, h)))
				if over == "TLS" {
					p = tls.Client(p.(peer), client)
				}
				var b [1]byte
				for range 10 {
					if _, err := io.ReadFull(p, b[:]); err != nil {
						t.Fatal(err)
					}
					if _, err := p.Write([]byte("!")); err != nil {
						t.Fatal(err)
					}
					receive(t, "the answer", answers)
				}
			})
		})
	}
}

func TestAPanicInOnReadIdleCostsItsConnection(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		closed := make(chan error, 2)
		e := w.engine(t, Config{Loops: 1})
		ln := w.serve(t, e, attentive{
			Funcs{
				Data: func(c Conn, in *buffer.LinkBuffer) {
					if p := in.Bytes(); p[0] == 'p' {
						_ = in.Skip(1)
						_ = c.SetReadIdle(time.Millisecond)
						return
					}
					echo(c, in)
				},
				Close: func(_ Conn, err error) { closed <- err },
			},
			func(c Conn) { panic(errTest) },
		})
		witness, victim := w.connect(t, ln), w.connect(t, ln)
		mustEcho(t, witness, []byte("before"))
		if _, err := victim.Write([]byte("p")); err != nil {
			t.Fatal(err)
		}
		var p *PanicError
		if err := receive(t, "OnClose", closed); !errors.As(err, &p) || p.Callback != "OnReadIdle" {
			t.Errorf("OnClose got %v", err)
		}
		mustEcho(t, witness, []byte("after"))
	})
}

func TestWhileTooManyJobsWaitOnReadIdleIsNotCalled(t *testing.T) {
	s := newStepped(t, Config{})
	c, p, n := s.attend(Funcs{Data: echo})
	if err := c.SetReadIdle(time.Second); err != nil {
		t.Fatal(err)
	}
	busy := make(chan struct{})
	for range jobsHigh + 1 {
		if err := c.Offload(func(Conn) { <-busy }); err != nil {
			t.Fatal(err)
		}
	}
	_, _ = p.TryWrite([]byte("waits"))
	s.advance(time.Minute)
	if *n != 0 {
		t.Errorf("%d calls while nothing was read because of jobs", *n)
	}
	close(busy)
	got := 0
	eventually(t, "the jobs to end", func() bool {
		s.settle()
		k, _ := p.TryRead(make([]byte, 10))
		got += k
		return got == len("waits")
	})
	s.advance(900 * time.Millisecond)
	if *n != 0 {
		t.Error("the time did not begin anew with what was read")
	}
	s.advance(time.Second)
	if *n != 1 {
		t.Errorf("%d calls afterwards", *n)
	}
}

func TestWhenReadingResumesTheReadIdleTimeCountsAnew(t *testing.T) {
	s := newStepped(t, Config{})
	c, _, n := s.attend(Funcs{Data: echo})
	_ = c.SetReadIdle(time.Second)
	_ = c.PauseRead()
	s.advance(900 * time.Millisecond)
	_ = c.ResumeRead()
	s.settle()
	s.advance(900 * time.Millisecond)
	if *n != 0 {
		t.Error("the pause counted")
	}
	s.advance(200 * time.Millisecond)
	if *n != 1 {
		t.Errorf("%d calls", *n)
	}
}
