package sluice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// bound is how long a test waits for what must happen. It is no measure of
// speed: a loaded machine has time.
const bound = 20 * time.Second

// world is a system to test on, with what is outside of it.
type world struct {
	name    string
	sys     driver.System
	network string
	address string // to listen on
	// dial connects from outside, listen serves outside.
	dial   func(addr net.Addr) (net.Conn, error)
	listen func() (net.Listener, error)
	reset  func(net.Conn)
	real   bool     // true exactly when descriptors are the kernel's
	rough  bool     // true exactly when messages are torn to pieces
	after  []func() // checks for when the engine is closed
}

// peer is the outside end of a connection.
type peer interface {
	net.Conn
	CloseWrite() error
}

// eachWorld runs a test on every driver that this machine can run, over TCP
// and, on the real ones, over Unix sockets.
func eachWorld(t *testing.T, test func(t *testing.T, w *world)) {
	for _, sys := range systems() {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(sys.Name()+"/"+network, func(t *testing.T) { test(t, realWorld(t, sys, network)) })
		}
	}
	if sys := directSystem(); sys != nil {
		t.Run(sys.Name()+"-direct/tcp", func(t *testing.T) { // only TCP is direct
			w := realWorld(t, sys, "tcp")
			w.real = false
			test(t, w)
		})
	}
	t.Run("sim/tcp", func(t *testing.T) {
		test(t, simWorld(t, sim.Config{Live: true, Seed: 1}))
	})
	t.Run("sim-rough/tcp", func(t *testing.T) {
		test(t, simWorld(t, sim.Config{Live: true, Seed: 2, Faults: sim.Faults{
			ShortRead: 0.3, PartialSend: 0.3, Spurious: 0.1, Delay: 0.1, Reorder: 0.2, EarlyReturn: 0.1,
		}}))
	})
}

func realWorld(t *testing.T, sys driver.System, network string) *world {
	if err := sys.Probe(); err != nil {
		t.Skip(err)
	}
	w := &world{name: sys.Name(), sys: sys, network: network, address: "127.0.0.1:0", real: sys.Name() != "portable"}
	if network == "unix" {
		dir, err := os.MkdirTemp("", "sluice")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		w.address = filepath.Join(dir, "s")
	}
	w.dial = func(addr net.Addr) (net.Conn, error) { return net.Dial(addr.Network(), addr.String()) }
	w.listen = func() (net.Listener, error) {
		if network == "unix" {
			return net.Listen(network, w.address+".out")
		}
		return net.Listen(network, w.address)
	}
	w.reset = func(c net.Conn) {
		if c, ok := c.(*net.TCPConn); ok {
			_ = c.SetLinger(0)
		}
		_ = c.Close()
	}
	return w
}

func simWorld(t *testing.T, cfg sim.Config) *world {
	n := sim.New(cfg)
	t.Cleanup(func() {
		if v := n.Violations(); len(v) > 0 {
			t.Errorf("the engine broke the driver's contract: %q", v)
		}
		if d := n.Descriptors(); d != 0 {
			t.Errorf("%d descriptors are left open", d)
		}
	})
	return &world{
		name: "sim", sys: n, rough: cfg.Faults != (sim.Faults{}), network: "tcp", address: "127.0.0.1:0",
		dial:   func(addr net.Addr) (net.Conn, error) { return n.Dial(addr) },
		listen: func() (net.Listener, error) { return n.ListenPeer("tcp", "127.0.0.1:0") },
		reset:  func(c net.Conn) { _ = c.(*sim.Peer).Reset() },
	}
}

// engine starts an engine that is checked for leaks when the test ends.
func (w *world) engine(t *testing.T, cfg Config) *Engine {
	t.Helper()
	if cfg.Loops == 0 {
		cfg.Loops = 2
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	goroutines := runtime.NumGoroutine()
	e, err := newEngine(cfg, w.sys, func(l *eventLoop) { go l.run() })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for _, check := range w.after {
			check()
		}
		w.after = nil
		for i, l := range e.all() {
			if n := l.pool.Live(); n != 0 {
				t.Errorf("loop %d: %d blocks are not released", i, n)
			}
			if l.count.conns != 0 || l.assigned.Load() != 0 {
				t.Errorf("loop %d: %d connections counted, %d assigned, after Close", i, l.count.conns, l.assigned.Load())
			}
		}
		eventually(t, "all goroutines of the engine to end", func() bool {
			return runtime.NumGoroutine() <= goroutines+1
		})
	})
	return e
}

// serve listens with h and returns the listener.
func (w *world) serve(t *testing.T, e *Engine, h Handler) *Listener {
	t.Helper()
	ln, err := e.Listen(w.network, w.address, h)
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// connect dials ln from outside.
func (w *world) connect(t *testing.T, ln *Listener) peer {
	t.Helper()
	c, err := w.dial(ln.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(bound))
	return c.(peer)
}

// outsideEcho starts an echo server outside of the engine.
func (w *world) outsideEcho(t *testing.T) net.Listener {
	t.Helper()
	out, err := w.listen()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	go func() {
		for {
			c, err := out.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	return out
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(bound); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// receive waits for a value from ch.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(bound):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// echo is the handler of most tests.
func echo(c Conn, in *buffer.LinkBuffer) {
	p, _ := in.Next(in.Len())
	_, _ = c.Write(p)
}

// mustEcho sends p and expects it back.
func mustEcho(t *testing.T, c net.Conn, p []byte) {
	t.Helper()
	if _, err := c.Write(p); err != nil {
		t.Fatalf("writing: %v", err)
	}
	got := make([]byte, len(p))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatalf("reading the echo: %v", err)
	}
	if !bytes.Equal(got, p) {
		t.Fatal("the echo differs from what was sent")
	}
}

// pattern returns n bytes that show where they belong.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8*13 + i>>16*29)
	}
	return p
}

// order records the callbacks of connections and complains when their order
// is wrong.
type order struct {
	t    *testing.T
	next Handler
	mu   sync.Mutex
	seen map[Conn]string

	opened, closed atomic.Int64
}

func (w *world) ordered(t *testing.T, next Handler) *order {
	o := &order{t: t, next: next, seen: map[Conn]string{}}
	w.after = append(w.after, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, s := range o.seen {
			if s != "closed" {
				t.Errorf("a connection ended without OnClose; its last callback was %s", s)
			}
		}
	})
	return o
}

func (o *order) step(c Conn, to string, from ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range from {
		if o.seen[c] == f {
			o.seen[c] = to
			return
		}
	}
	o.t.Errorf("callback %s follows %q", to, o.seen[c])
}

func (o *order) OnOpen(c Conn) {
	o.opened.Add(1)
	o.step(c, "open", "")
	o.next.OnOpen(c)
	o.step(c, "idle", "open")
}

func (o *order) OnData(c Conn, in *buffer.LinkBuffer) {
	o.step(c, "data", "idle")
	o.next.OnData(c, in)
	o.step(c, "idle", "data")
}

func (o *order) OnDrain(c Conn) {
	o.step(c, "drain", "idle")
	if d, ok := o.next.(DrainHandler); ok {
		d.OnDrain(c)
	}
	o.step(c, "idle", "drain")
}

func (o *order) OnHangup(c Conn, err error) {
	// A callback that panicked did not come back to be idle.
	o.step(c, "hangup", "idle", "open", "data", "drain")
	if h, ok := o.next.(HangupHandler); ok {
		h.OnHangup(c, err)
	}
	o.step(c, "idle", "hangup")
}

func (o *order) OnClose(c Conn, err error) {
	o.closed.Add(1)
	o.step(c, "closing", "idle", "open", "data", "drain", "hangup")
	o.next.OnClose(c, err)
	o.step(c, "closed", "closing")
}

var errTest = errors.New("an error of the test")

// stepped is an engine on the simulated network in virtual time, for what
// depends on the clock.
type stepped struct {
	t   *testing.T
	net *sim.Network
	eng *Engine
}

func newStepped(t *testing.T, cfg Config) *stepped {
	n := sim.New(sim.Config{Seed: 1})
	cfg.Loops, cfg.Accept = 1, AcceptPerLoop
	cfg.Logger = slog.New(slog.DiscardHandler)
	e, err := newEngine(cfg, n, func(*eventLoop) {})
	if err != nil {
		t.Fatal(err)
	}
	return &stepped{t, n, e}
}

// settle runs the loops until nothing is left to do.
func (s *stepped) settle() {
	for range 20 {
		for _, l := range s.eng.all() {
			if err := l.pass(); err != nil {
				s.t.Fatal(err)
			}
		}
	}
}

// advance moves the clock.
func (s *stepped) advance(d time.Duration) {
	s.net.Advance(d)
	s.settle()
}

// connect serves one more connection with h and returns its other end.
func (s *stepped) connect(h Handler) *sim.Peer {
	s.t.Helper()
	ln, err := s.eng.bindListener(context.Background(), "tcp", "127.0.0.1:0", h)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, a := range ln.acceptors {
		a.loop.do(func() { _ = a.start() })
	}
	s.settle()
	p, err := s.net.Dial(ln.Addr())
	if err != nil {
		s.t.Fatal(err)
	}
	s.settle()
	return p
}

// raceEnabled reports whether the race detector is on.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
