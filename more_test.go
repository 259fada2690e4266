package sluice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

func TestDetachGivesTheDescriptorAway(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if w.name == "sim" {
			t.Skip("there is no file of a simulated descriptor")
		}
		type result struct {
			f      *os.File
			unread []byte
			err    error
		}
		got, closed := make(chan result, 1), make(chan error, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{
			Data: func(c Conn, in *buffer.LinkBuffer) {
				if in.Len() < 10 {
					return
				}
				_ = in.Skip(4)
				_, _ = c.Write([]byte("answer"))
				if err := c.Detach(func(f *os.File, unread []byte, err error) { got <- result{f, unread, err} }); err != nil {
					t.Error(err)
				}
			},
			Close: func(c Conn, err error) { closed <- err },
		})
		c := w.connect(t, ln)
		if _, err := c.Write([]byte("headunread")); err != nil {
			t.Fatal(err)
		}
		r := receive(t, "the descriptor", got)
		if r.err != nil || string(r.unread) != "unread" {
			t.Fatalf("got %q, %v", r.unread, r.err)
		}
		if err := receive(t, "OnClose", closed); err != ErrDetached {
			t.Errorf("OnClose got %v", err)
		}
		nc, err := net.FileConn(r.f)
		r.f.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		_ = e.Close() // the engine has nothing to do with it any more
		if _, err := nc.Write([]byte(", and more")); err != nil {
			t.Fatal(err)
		}
		p := make([]byte, 16)
		if _, err := io.ReadFull(c, p); err != nil || string(p) != "answer, and more" {
			t.Errorf("read %q, %v", p, err)
		}
		go func() { _, _ = c.Write([]byte("back")) }()
		if _, err := io.ReadFull(nc, p[:4]); err != nil || string(p[:4]) != "back" {
			t.Errorf("read %q, %v", p[:4], err)
		}
	})
}

func TestDetachOfAConnectionThatEndsFirstTellsTheCause(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		got := make(chan error, 1)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{Open: func(c Conn) {
			_, _ = c.Write(make([]byte, 8<<20)) // which is to be sent before
			_ = c.Detach(func(f *os.File, _ []byte, err error) { got <- err })
			if err := c.Detach(func(*os.File, []byte, error) {}); err == nil {
				t.Error("Detach twice")
			}
		}})
		c := w.connect(t, ln)
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		w.reset(c)
		if err := receive(t, "the outcome", got); err == nil {
			t.Error("a broken connection was detached")
		}
	})
}

// proxy passes bytes from one connection to the other without a copy.
func proxy(other func(c Conn) Conn) func(c Conn, in *buffer.LinkBuffer) {
	return func(c Conn, in *buffer.LinkBuffer) {
		var out buffer.LinkBuffer
		_ = in.Slice(&out, in.Len())
		_ = other(c).WriteBuffer(&out)
		out.Close()
	}
}

func TestAProxyOnOneLoopPassesBytesWithoutCopying(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		out := w.outsideEcho(t)
		e := w.engine(t, Config{})
		there := func(c Conn) Conn { p, _ := c.Context().(Conn); return p }
		back := Funcs{
			Data:  proxy(there),
			Close: func(c Conn, err error) { _ = there(c).Close() },
		}
		ln := w.serve(t, e, Funcs{
			Open: func(c Conn) {
				_ = c.PauseRead()
				err := c.Dial(context.Background(), w.network, out.Addr().String(), back, func(d Conn, err error) {
					if err != nil {
						t.Error(err)
						_ = c.Abort()
						return
					}
					if d.Loop() != c.Loop() {
						t.Errorf("loops %d and %d", c.Loop(), d.Loop())
					}
					c.SetContext(d)
					d.SetContext(c)
					_ = c.ResumeRead()
				})
				if err != nil {
					t.Error(err)
				}
			},
			Data:  proxy(there),
			Close: func(c Conn, err error) { _ = there(c).Close() },
		})
		for range 3 {
			c := w.connect(t, ln)
			msg := pattern(900_000)
			go func() { _, _ = c.Write(msg) }()
			got := make([]byte, len(msg))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, msg) {
				t.Fatalf("the bytes came back wrong, err %v", err)
			}
			c.Close()
		}
	})
}

func TestNetConn(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{HighWater: 64 << 10})
		conns := make(chan net.Conn, 1)
		ln := w.serve(t, e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			if in.Len() < 5 {
				return
			}
			_ = in.Skip(3) // the rest goes to the view
			nc, err := c.NetConn()
			if err != nil {
				t.Error(err)
			}
			conns <- nc
		}})
		c := w.connect(t, ln)
		_, _ = c.Write([]byte("xyzab"))
		nc := receive(t, "the view", conns)
		defer nc.Close()
		msg := pattern(3 << 20)
		go func() {
			_, _ = c.Write(msg)
			_ = c.CloseWrite()
		}()
		got, err := io.ReadAll(nc)
		if err != nil || !bytes.Equal(got, append([]byte("ab"), msg...)) {
			t.Fatalf("read %d bytes, %v", len(got), err)
		}
		go func() {
			if n, err := nc.Write(msg); n != len(msg) || err != nil {
				t.Errorf("wrote %d bytes, %v", n, err)
			}
			nc.Close()
		}()
		back, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(back, msg) {
			t.Fatalf("%d bytes came back, %v", len(back), err)
		}
	})
}

func TestAViewReadsWhileItsWritesWait(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const size = 16 << 20
		e := w.engine(t, Config{})
		views := make(chan net.Conn, 1)
		ln := w.serve(t, e, Funcs{Open: func(c Conn) {
			view, err := c.NetConn()
			if err != nil {
				t.Error(err)
			}
			views <- view
		}})
		c := w.connect(t, ln)
		go func() { _, _ = io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{c}, make([]byte, 1024)) }()
		view := receive(t, "the view", views)
		defer view.Close()
		_ = view.SetDeadline(time.Now().Add(bound))
		go func() { _, _ = view.Write(make([]byte, size)) }()
		if n, err := io.Copy(io.Discard, io.LimitReader(view, size)); n != size {
			t.Errorf("read %d of %d bytes, %v", n, size, err)
		}
	})
}

func TestTheBalancerPicksTheLoopOfAnAcceptedConnection(t *testing.T) {
	counts := func(t *testing.T, b Balancer) (n [3]int) {
		w := simWorld(t, sim.Config{Live: true, Seed: 1})
		var loops [3]atomic.Int64
		e := w.engine(t, Config{Loops: 3, Accept: AcceptMain, Balancer: b})
		ln := w.serve(t, e, Funcs{Open: func(c Conn) { loops[c.Loop()].Add(1) }, Data: echo})
		for range 12 {
			mustEcho(t, w.connect(t, ln), []byte("x"))
		}
		for i := range loops {
			n[i] = int(loops[i].Load())
		}
		return n
	}
	if n := counts(t, nil); n != [3]int{4, 4, 4} {
		t.Errorf("the default spread 12 connections as %v", n)
	}
	if n := counts(t, LeastConnections()); n != [3]int{4, 4, 4} {
		t.Errorf("LeastConnections spread 12 connections as %v", n)
	}
	if n := counts(t, FDHash()); n[0]+n[1]+n[2] != 12 || n[0] != 4 {
		t.Errorf("FDHash spread 12 connections as %v", n)
	}
	for _, b := range []Balancer{outOfRange{}, panicking{}} {
		if n := counts(t, b); n != [3]int{12, 0, 0} {
			t.Errorf("%T gave %v", b, n)
		}
	}
}

type panicking struct{}

func (panicking) Pick(int, []int) int { panic(errTest) }

type outOfRange struct{}

func (outOfRange) Pick(int, []int) int { return 99 }

func TestMemoryOfABurstOfConnectionsIsGivenBack(t *testing.T) {
	s := newStepped(t, Config{})
	l := s.eng.loops[0]
	handle := make(chan Conn, 1)
	ln, err := s.eng.bindListener(context.Background(), "tcp", "127.0.0.1:0", Funcs{Open: func(c Conn) {
		select {
		case handle <- c:
		default:
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	l.do(func() { _ = ln.acceptors[0].start() })
	s.settle()
	var peers []*sim.Peer
	for range 5 * chunkSize {
		p, err := s.net.Dial(ln.Addr())
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, p)
		if len(peers)%64 == 0 {
			s.settle()
		}
	}
	for l.count.conns < int64(len(peers)) {
		s.settle()
	}
	for _, p := range peers {
		_ = p.Close()
	}
	for l.count.conns > 0 {
		s.settle()
	}
	chunks := 0
	for _, ch := range l.chunks {
		if ch != nil {
			chunks++
		}
	}
	if chunks > 1 {
		t.Errorf("%d chunks of connections are kept for none", chunks)
	}
	stale := <-handle
	if _, err := stale.Write([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("a handle into a chunk that was given back: %v", err)
	}
}

func TestAnEchoedMessageAllocatesNothing(t *testing.T) {
	if raceEnabled() {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	for _, sys := range nativeSystems() {
		t.Run(sys.Name(), func(t *testing.T) {
			w := realWorld(t, sys, "tcp")
			e, err := newEngine(Config{Loops: 1, Accept: AcceptPerLoop}, sys, func(*eventLoop) {})
			if err != nil {
				t.Fatal(err)
			}
			ln, err := e.bindListener(context.Background(), "tcp", w.address, Funcs{Data: echo})
			if err != nil {
				t.Fatal(err)
			}
			l := e.loops[0]
			l.do(func() { _ = ln.acceptors[0].start() })
			c := w.connect(t, ln)
			msg := make([]byte, 1024)
			round := func() {
				_, _ = c.Write(msg)
				for sent := l.count.bytesOut; l.count.bytesOut < sent+1024; {
					if err := l.pass(); err != nil {
						t.Fatal(err)
					}
				}
				_, _ = io.ReadFull(c, msg)
			}
			for range 100 {
				round()
			}
			if n := testing.AllocsPerRun(1000, round); n > 0.01 {
				t.Errorf("%v allocations for one echoed message", n)
			}
			go l.run()
			_ = e.Close()
		})
	}
}

func TestBadConfigurationsAreRefusedWithWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		cfg  Config
		want string
	}{
		{Config{Loops: -1}, "Config.Loops"},
		{Config{Driver: "select"}, "auto"},
		{Config{Accept: 9}, "AcceptMain"},
		{Config{IdleTimeout: -1}, "Config.IdleTimeout"},
		{Config{LingerTimeout: -1}, "Config.LingerTimeout"},
		{Config{HighWater: 10, LowWater: 20}, "LowWater"},
		{Config{HighWater: 10, WriteLimit: 5}, "WriteLimit"},
		{Config{ReadLimit: -1}, "Config.ReadLimit"},
		{Config{Workers: -1}, "Config.Workers"},
	} {
		e, err := New(tc.cfg)
		if err == nil {
			e.Close()
			t.Errorf("%+v was accepted", tc.cfg)
		} else if !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%+v: %v does not name %s", tc.cfg, err, tc.want)
		}
	}
}

func TestServeIsTheOneLiner(t *testing.T) {
	if err := Serve("tcp", "127.0.0.1:notaport", Funcs{}); err == nil {
		t.Error("Serve succeeded on a bad address")
	}
	goroutines := runtime.NumGoroutine()
	eventually(t, "nothing to be left of it", func() bool { return runtime.NumGoroutine() <= goroutines })
}
