package tlsconn

import (
	"bytes"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"crypto/tls"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// bound is for how long a test waits at most.
const bound = 20 * time.Second

// rig is a loop and a driver of one connection in memory. What the peer sends is
// delivered in pieces, in memory that is used for something else afterwards.
type rig struct {
	driver.Driver // nil: the methods below are all that is called
	t             testing.TB
	layer         *Layer
	pool          buffer.Pool
	piece         func() int // how many bytes to deliver, or to take, next
	slow          bool       // the driver takes only a piece at a time of what is sent
	stuck         bool       // the driver takes nothing of what is sent
	failure       error      // of what is sent, told once

	mu    sync.Mutex
	tasks []func()
	in    []byte // from the peer
	inEOF bool
	woken chan struct{}
	peer  *peer

	// The driver's.
	paused, finished, closing bool
	unsent                    [][]byte // of a Send that is unanswered

	// What was reported.
	established bool
	refused     error
	received    bytes.Buffer
	ended       error
	closed      bool
	broken      bool
	said        bool // Finished
	sent        int  // by Sent, or at once

	onOpen    func()
	onData    func(p []byte)
	answer    []byte
	sending   bool
	finCalled bool
	out       []byte // what the loop has still to send
}

// gateSize is how many handshakes a rig lets run.
const gateSize = 4

// id is that of every rig's connection.
const id = 3

func newRig(t testing.TB, kind string) *rig {
	r := &rig{t: t, piece: pieces(kind), woken: make(chan struct{}, 1)}
	r.peer = &peer{rig: r}
	r.peer.came.L = &r.peer.mu
	r.layer = New(r, r, &r.pool, NewGate(gateSize), slog.New(slog.DiscardHandler), r.post)
	return r
}

// pieces returns how large the pieces are.
func pieces(kind string) func() int {
	switch kind {
	case "1 byte":
		return func() int { return 1 }
	case "7 bytes":
		return func() int { return 7 }
	case "random":
		random := rand.New(rand.NewPCG(1, 2))
		return func() int { return 1 + random.IntN(700) }
	}
	return func() int { return 1 << 20 }
}

func (r *rig) post(f func()) {
	r.mu.Lock()
	r.tasks = append(r.tasks, f)
	r.mu.Unlock()
	r.wake()
}

func (r *rig) wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// until is the loop: it goes on until cond holds.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	for deadline := time.After(bound); !cond(); {
		if r.turn() {
			continue
		}
		select {
		case <-r.woken:
		case <-deadline:
			r.t.Fatalf("waited in vain for %s: established %v, refused %v, ended %v", what, r.established, r.refused, r.ended)
		}
	}
}

// turn does one thing, if there is one.
func (r *rig) turn() bool {
	r.mu.Lock()
	if len(r.tasks) > 0 {
		f := r.tasks[0]
		r.tasks = r.tasks[1:]
		r.mu.Unlock()
		f()
		return true
	}
	if len(r.in) > 0 && !r.paused && !r.closing {
		n := min(len(r.in), r.piece())
		p := bytes.Clone(r.in[:n])
		r.in = r.in[n:]
		r.mu.Unlock()
		r.layer.Received(id, p, nil)
		for i := range p {
			p[i] = 0xEE
		}
		return true
	}
	atEnd := r.inEOF && len(r.in) == 0 && !r.paused && !r.closing && !r.finished
	r.mu.Unlock()
	switch {
	case atEnd:
		r.finished = true
		r.layer.Received(id, nil, io.EOF)
	case r.unsent != nil && !r.closing && !r.stuck:
		n := r.take(r.unsent)
		r.unsent = nil
		r.layer.Sent(id, n, nil)
	case r.closing && !r.closed:
		r.peer.end()
		r.layer.Closed(id)
	default:
		return false
	}
	return true
}

// idle reports whether there is nothing to do.
func (r *rig) idle() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.tasks) == 0 && len(r.in) == 0
}

// take gives the peer a piece of what was sent.
func (r *rig) take(bufs [][]byte) int {
	all := bytes.Join(bufs, nil)
	if r.stuck {
		all = nil
	}
	if r.slow {
		all = all[:min(len(all), r.piece())]
	}
	r.peer.arrive(all)
	return len(all)
}

func (r *rig) LocalAddr(int) net.Addr  { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }
func (r *rig) RemoteAddr(int) net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 2} }
func (r *rig) Pause(driver.ID)         { r.paused = true }
func (r *rig) Resume(driver.ID)        { r.paused = false; r.wake() }
func (r *rig) CloseWrite(driver.ID) {
	if r.unsent != nil {
		r.t.Error("CloseWrite while a Send is unanswered")
	}
	r.peer.end()
}

func (r *rig) Send(_ driver.ID, bufs [][]byte) (int, error) {
	switch {
	case r.unsent != nil:
		r.t.Error("Send while another is unanswered")
	case r.closing:
		r.t.Error("Send after Shut")
	}
	if err := r.fails(); err != nil {
		return 0, err
	}
	n := r.take(bufs)
	kept := append([][]byte(nil), bufs...)
	skip := n
	for len(kept) > 0 && skip >= len(kept[0]) {
		skip -= len(kept[0])
		kept = kept[1:]
	}
	if len(kept) > 0 {
		kept[0] = kept[0][skip:]
		r.unsent = kept
	}
	return n, nil
}

// TryWrite is Send without an answer later.
func (r *rig) TryWrite(_ int, p []byte) (int, error) {
	if r.unsent != nil || r.closing {
		r.t.Error("TryWrite while a Send is unanswered, or after Shut")
	}
	if err := r.fails(); err != nil {
		return 0, err
	}
	return r.take([][]byte{p}), nil
}

// fails returns why nothing can be sent, as a kernel does.
func (r *rig) fails() error {
	err := r.failure
	if err != nil {
		r.failure = syscall.EPIPE
	}
	return err
}

func (r *rig) Shut(driver.ID, bool) {
	if r.closing {
		r.t.Error("Shut twice")
	}
	r.closing = true
	r.wake()
}

// write sends p, now or when there is room.
func (r *rig) write(p []byte) {
	r.out = append(r.out, p...)
	r.flush()
}

func (r *rig) flush() {
	if r.sending || len(r.out) == 0 || r.closing {
		return
	}
	half := len(r.out) / 2
	n, err := r.layer.Send(id, [][]byte{r.out[:half], r.out[half:]})
	if err != nil {
		r.t.Errorf("Send: %v", err)
	}
	r.sending = n < len(r.out)
	r.out = r.out[n:]
	r.sent += n
}

func (r *rig) Established(driver.ID) {
	r.established = true
	if r.onOpen != nil {
		r.onOpen()
	}
}

func (r *rig) Refuse(_ driver.ID, err error) []byte {
	r.refused = err
	return r.answer
}

func (r *rig) Received(_ driver.ID, b *buffer.Block, p []byte, err error) {
	broke := err != nil && err != io.EOF && err != ErrTruncated
	switch {
	case r.broken && err == ErrTruncated: // the peer has ended, too
	case (r.ended == io.EOF || r.broken) && broke && !r.closing:
		r.ended, r.broken = err, false
	case !r.established || r.ended != nil || r.closing:
		r.t.Errorf("Received %d bytes, %v: established %v, ended %v, shut %v", len(p), err, r.established, r.ended, r.closing)
	case err != nil:
		r.ended = err
	default:
		r.received.Write(p)
		if r.onData != nil {
			r.onData(p)
		}
	}
}

func (r *rig) Sent(_ driver.ID, n int, err error) {
	if err != nil || !r.sending {
		r.t.Errorf("Sent: %d, %v", n, err)
	}
	r.sending = false
	r.out = r.out[n:]
	r.sent += n
	r.flush()
}

func (r *rig) Broken(_ driver.ID, err error) {
	r.Received(id, nil, nil, err)
	r.broken, r.sending, r.out = true, false, nil
	r.closeWrite()
}

// closeWrite ends the rig's direction, once.
func (r *rig) closeWrite() {
	if !r.finCalled {
		r.finCalled = true
		r.layer.CloseWrite(id)
	}
}

func (r *rig) Shaking()           {}
func (r *rig) Finished(driver.ID) { r.said = true }
func (r *rig) Closed(driver.ID)   { r.closed = true }

// close ends the connection and looks for leaks.
func (r *rig) close() {
	r.t.Helper()
	if !r.closing {
		r.layer.Shut(id, true)
	}
	r.until("Closed", func() bool { return r.closed })
	r.layer.Close()
	if n := r.pool.Live(); n != 0 {
		r.t.Errorf("%d blocks are still out", n)
	}
}

// peer is the other end: a net.Conn that blocks.
type peer struct {
	rig  *rig
	mu   sync.Mutex
	came sync.Cond
	in   []byte
	eof  bool

	// Under rig.mu: what it wrote, and how much of that gets through; 0 means all.
	wrote, limit int
}

// cut reports whether the peer has written more than gets through, or as much.
func (p *peer) cut() bool {
	p.rig.mu.Lock()
	defer p.rig.mu.Unlock()
	return p.wrote >= p.limit
}

// inject has bytes arrive whatever the limit.
func (p *peer) inject(b []byte) {
	p.rig.mu.Lock()
	p.rig.in = append(p.rig.in, b...)
	p.rig.mu.Unlock()
	p.rig.wake()
}

func (p *peer) arrive(b []byte) {
	p.mu.Lock()
	p.in = append(p.in, b...)
	p.mu.Unlock()
	p.came.Broadcast()
}

// waiting returns how many bytes the peer has not read.
func (p *peer) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.in)
}

func (p *peer) end() {
	p.mu.Lock()
	p.eof = true
	p.mu.Unlock()
	p.came.Broadcast()
}

func (p *peer) Read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.in) == 0 {
		if p.eof {
			return 0, io.EOF
		}
		p.came.Wait()
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
}

func (p *peer) Write(b []byte) (int, error) {
	p.rig.mu.Lock()
	through := b
	if p.limit > 0 {
		through = b[:max(0, min(len(b), p.limit-p.wrote))]
	}
	p.wrote += len(b)
	p.rig.in = append(p.rig.in, through...)
	p.rig.mu.Unlock()
	p.rig.wake()
	return len(b), nil
}

func (p *peer) Close() error {
	p.rig.mu.Lock()
	p.rig.inEOF = true
	p.rig.mu.Unlock()
	p.rig.wake()
	return nil
}

func (p *peer) LocalAddr() net.Addr              { return nil }
func (p *peer) RemoteAddr() net.Addr             { return nil }
func (p *peer) SetDeadline(time.Time) error      { return nil }
func (p *peer) SetReadDeadline(time.Time) error  { return nil }
func (p *peer) SetWriteDeadline(time.Time) error { return nil }

// begin puts TLS on the rig's connection and returns the other end of it.
func (r *rig) begin(server, client *tls.Config, isClient bool) *tls.Conn {
	if isClient {
		r.layer.Begin(id, 0, client, true)
		return tls.Server(r.peer, server)
	}
	r.layer.Begin(id, 0, server, false)
	return tls.Client(r.peer, client)
}
