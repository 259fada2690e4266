package tlsconn

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
)

// arrivedMax is how much a peer may send ahead of a handshake, in bytes, before it
// is not read for a while.
const arrivedMax = 64 << 10

var errAborted = errors.New("tlsconn: the connection ended during the handshake")

// handshake is what a handshake needs: its goroutine and the loop meet in it.
type handshake struct {
	local, remote net.Addr
	cfg           *tls.Config
	cancel        context.CancelFunc // of the context that callbacks see
	turn          *list.Element      // nil if it did not have to wait
	pace          pace               // the goroutine's

	mu      sync.Mutex
	came    sync.Cond // in, eof or aborted changed
	in      []byte    // what the peer sent and was not handed out
	out     []byte    // what is for the peer and was not taken by the loop
	posted  bool      // the loop will come for out
	full    bool      // the loop does not read, until in is empty
	eof     bool
	aborted bool
	frames  framer // the goroutine's
}

func newHandshake(cfg *tls.Config, local, remote net.Addr) *handshake {
	h := &handshake{cfg: cfg, local: local, remote: remote}
	h.came.L = &h.mu
	return h
}

// read blocks until there is something.
func (h *handshake) read(s *session, p []byte) (int, error) {
	if !h.ready(false) {
		s.layer.gate.pacer.rest(&h.pace)
		h.ready(true)
		s.layer.gate.pacer.begin(&h.pace, true)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.aborted:
		return 0, errAborted
	case len(h.in) == 0:
		return 0, io.EOF
	}
	n := copy(p, h.in[:h.frames.cut(h.in[:min(len(p), len(h.in))])])
	if h.in = h.in[n:]; len(h.in) == 0 && h.full {
		h.full = false
		s.layer.post(func() { s.layer.readOn(s, h) })
	}
	return n, nil
}

// ready reports whether read has something to return, or waits until it has.
func (h *handshake) ready(wait bool) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	nothing := func() bool { return len(h.in) == 0 && !h.eof && !h.aborted }
	for wait && nothing() {
		h.came.Wait()
	}
	return !nothing()
}

// write keeps p for the loop and has it come.
func (h *handshake) write(s *session, p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.aborted {
		return
	}
	h.out = append(h.out, p...)
	if !h.posted {
		h.posted = true
		s.layer.post(func() { s.layer.flight(s, h) })
	}
}

// arrive gives the goroutine what the peer sent, and reports whether that is enough
// for now: reading goes on by readOn.
func (h *handshake) arrive(p []byte) (full bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.in = append(h.in, p...)
	h.full = len(h.in) > arrivedMax
	h.came.Signal()
	return h.full
}

// end tells the goroutine that the peer sends no more.
func (h *handshake) end() {
	h.mu.Lock()
	h.eof = true
	h.came.Signal()
	h.mu.Unlock()
}

// abort has the goroutine end, unless it is in a callback: then when that returns.
func (h *handshake) abort() {
	h.mu.Lock()
	h.aborted = true
	h.in, h.out = nil, nil
	h.came.Signal()
	h.mu.Unlock()
	h.cancel()
}

// isAborted reports whether the connection has ended.
func (h *handshake) isAborted() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.aborted
}

// take returns what is for the peer.
func (h *handshake) take() []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.out
	h.out, h.posted = nil, false
	return out
}

// shake runs a session's handshake in a goroutine of its own, which it may be
// allowed later. The tls.Conn, made by tls.Server or tls.Client, is not needed before.
func (l *Layer) shake(s *session, side func(net.Conn, *tls.Config) *tls.Conn) {
	l.events.Shaking()
	h := s.hs.Load()
	s.state = shaking
	s.tc = side((*transport)(s), h.cfg)
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	h.turn = l.gate.enter(func() {
		l.gate.pacer.begin(&h.pace, false)
		defer l.gate.pacer.rest(&h.pace)
		if h.isAborted() { // before it began
			return
		}
		err := errors.New("a callback of the handshake ended its goroutine")
		defer func() {
			if v := recover(); v != nil {
				err = fmt.Errorf("panic in a callback of the handshake: %v", v)
				l.log.Error("sluice: panic in a callback of a TLS handshake", "panic", v, "stack", string(debug.Stack()))
			}
			cancel()
			l.post(func() { l.shaken(s, h, err) })
		}()
		err = s.tc.HandshakeContext(ctx)
	})
}

// abort ends a session's handshake, which may wait for its turn.
func (l *Layer) abort(s *session) {
	h := s.hs.Load()
	l.gate.forget(h.turn)
	h.abort()
}

// Gate bounds how many handshakes run at a time, on all loops of an engine: each
// needs about 20 KB. Few of them compute.
type Gate struct {
	pacer pacer

	mu      sync.Mutex
	free    int
	waiting list.List // of func()
}

// NewGate returns a gate for n at a time.
func NewGate(n int) *Gate {
	g := &Gate{free: n}
	g.pacer.init()
	return g
}

// enter calls f in a goroutine, as soon as there is room. If there is none now, it
// returns f's place among those who wait.
func (g *Gate) enter(f func()) (turn *list.Element) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.free == 0 {
		return g.waiting.PushBack(f)
	}
	g.free--
	go g.run(f)
	return nil
}

// forget gives up a place, and reports whether its turn had not come.
func (g *Gate) forget(turn *list.Element) bool {
	if turn == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.waiting.Len()
	g.waiting.Remove(turn) // nothing if it is not there
	return g.waiting.Len() < n
}

func (g *Gate) run(f func()) {
	defer g.leave()
	f()
}

// leave lets the next one in, whose turn came first.
func (g *Gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	next := g.waiting.Front()
	if next == nil {
		g.free++
		return
	}
	go g.run(g.waiting.Remove(next).(func()))
}

// Waiting returns how many handshakes wait for their turn.
func (g *Gate) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting.Len()
}
