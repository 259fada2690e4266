package sim_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// echo is an engine as small as can be, over several loops: the first accepts,
// connections are dealt out in turn, every byte is sent back.
type echo struct {
	t      *testing.T
	net    *sim.Network
	pool   buffer.Pool
	loops  []*echoLoop
	next   int
	listen int
	addr   net.Addr
	trace  []string // every event in order
}

type echoLoop struct {
	*echo
	number int
	d      driver.Driver
	conns  map[driver.ID]*echoConn
	free   []driver.ID
}

type echoConn struct {
	out     []byte
	sending bool
	ended   bool
	shut    bool
	closed  bool
}

func newEcho(t *testing.T, n *sim.Network, loops int) *echo {
	e := &echo{t: t, net: n}
	for k := range loops {
		l := &echoLoop{echo: e, number: k, conns: map[driver.ID]*echoConn{}}
		var err error
		if l.d, err = e.net.New(l, &e.pool); err != nil {
			t.Fatal(err)
		}
		e.loops = append(e.loops, l)
	}
	var err error
	if e.listen, e.addr, err = e.net.Listen(context.Background(), "tcp", "127.0.0.1:0", driver.ListenOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := e.loops[0].d.Listen(0, e.listen); err != nil {
		t.Fatal(err)
	}
	return e
}

func (e *echo) note(format string, args ...any) {
	e.trace = append(e.trace, fmt.Sprintf(format, args...))
}

// pass lets every loop poll once.
func (e *echo) pass() {
	for _, l := range e.loops {
		if err := l.d.Poll(-1); err != nil {
			e.t.Fatal(err)
		}
	}
}

// stop closes everything and checks that nothing is left over.
func (e *echo) stop() {
	for _, l := range e.loops {
		if err := l.d.Close(); err != nil {
			e.t.Error(err)
		}
	}
	if err := e.net.CloseListener(e.listen); err != nil {
		e.t.Error(err)
	}
	for _, v := range e.net.Violations() {
		e.t.Errorf("violation: %s", v)
	}
	if k := e.net.Descriptors(); k != 0 {
		e.t.Errorf("%d descriptors are left", k)
	}
	if k := e.pool.Live(); k != 0 {
		e.t.Errorf("%d blocks are left", k)
	}
}

func (l *echoLoop) Accepted(id driver.ID, fd int, err error) {
	l.note("%d accepted %d %d %v", l.number, id, fd, err)
	if err != nil {
		if err := l.d.Listen(id, l.listen); err != nil {
			l.t.Fatal(err)
		}
		return
	}
	to := l.loops[l.next%len(l.loops)]
	l.next++
	c := driver.ID(len(to.conns))
	if k := len(to.free); k > 0 {
		c, to.free = to.free[k-1], to.free[:k-1]
	}
	if _, err := to.d.Open(c, fd); err != nil {
		to.free = append(to.free, c)
		if to.conns[c] == nil {
			to.conns[c] = &echoConn{closed: true}
		}
		return
	}
	to.conns[c] = &echoConn{}
}

func (l *echoLoop) Connected(id driver.ID, fd int, err error) {
	l.note("%d connected %d %d %v", l.number, id, fd, err)
}

func (l *echoLoop) Received(id driver.ID, b *buffer.Block, p []byte, err error) {
	h := fnv.New32()
	h.Write(p)
	l.note("%d received %d %d %08x %v", l.number, id, len(p), h.Sum32(), err)
	c := l.conns[id]
	switch {
	case errors.Is(err, io.EOF):
		c.ended = true
	case err != nil:
		l.shut(id, c, true)
		return
	}
	c.out = append(c.out, p...)
	if len(c.out) > 3000 {
		l.d.Pause(id)
	}
	l.flush(id, c)
}

func (l *echoLoop) Sent(id driver.ID, n int, err error) {
	l.note("%d sent %d %d %v", l.number, id, n, err)
	c := l.conns[id]
	if c.sending = false; err != nil {
		l.shut(id, c, true)
		return
	}
	l.sent(id, c, n)
	l.flush(id, c)
}

func (l *echoLoop) Closed(id driver.ID) {
	l.note("%d closed %d", l.number, id)
	l.conns[id].closed = true
	l.free = append(l.free, id)
}

func (l *echoLoop) sent(id driver.ID, c *echoConn, n int) {
	for i := range n {
		c.out[i] = '!' // what was sent is ours again
	}
	c.out = c.out[n:]
	if len(c.out) < 2000 {
		l.d.Resume(id)
	}
}

func (l *echoLoop) flush(id driver.ID, c *echoConn) {
	if !c.sending && len(c.out) > 0 {
		cut := len(c.out) / 3
		total := len(c.out)
		n, err := l.d.Send(id, [][]byte{c.out[:cut:cut], nil, c.out[cut:total:total]})
		if err != nil {
			l.shut(id, c, true)
			return
		}
		c.sending = n < total
		if n > 0 {
			l.sent(id, c, n)
		}
	}
	if c.ended && len(c.out) == 0 && !c.shut {
		l.shut(id, c, false)
	}
}

func (l *echoLoop) shut(id driver.ID, c *echoConn, abort bool) {
	if !c.shut {
		c.shut = true
		l.d.Shut(id, abort)
	}
}

// client is a scripted peer.
type client struct {
	*sim.Peer
	written, read []byte
	finished      bool
	err           error
}

// run lets clients come and go for some steps and returns when all is quiet.
func (e *echo) run(seed uint64, clients, steps int) []*client {
	rng := rand.New(rand.NewPCG(seed, 2))
	var cs []*client
	buf := make([]byte, 5000)
	for step := 0; step < steps || step < steps+20_000 && !done(cs); step++ {
		if len(cs) < clients && step%3 == 0 {
			p, err := e.net.Dial(e.addr)
			if err != nil {
				e.t.Fatal(err)
			}
			cs = append(cs, &client{Peer: p})
		}
		c := cs[rng.IntN(len(cs))]
		p := buf[:1+rng.IntN(len(buf))]
		switch k := rng.IntN(10); {
		case c.err != nil:
		case k < 3 && step < steps:
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			n, err := c.TryWrite(p)
			c.written = append(c.written, p[:n]...)
			c.fail(err)
		case k < 6 || step >= steps:
			n, err := c.TryRead(p)
			c.read = append(c.read, p[:n]...)
			c.fail(err)
			if step >= steps && !c.finished && c.err == nil {
				c.finished = true
				c.CloseWrite()
			}
		case k == 6 && rng.IntN(20) == 0:
			c.Reset()
			c.err = net.ErrClosed
		}
		e.pass()
	}
	if !done(cs) {
		e.t.Error("some clients are not done: bytes or an event were lost")
	}
	return cs
}

func (c *client) fail(err error) {
	if err != nil && c.err == nil {
		c.err = err
		c.Close()
	}
}

func done(cs []*client) bool {
	for _, c := range cs {
		if c.err == nil {
			return false
		}
	}
	return true
}

var rough = sim.Faults{
	ShortRead: 0.4, PartialSend: 0.4, Spurious: 0.2, Reset: 0.001, AcceptFail: 0.2,
	OpenFail: 0.05, Delay: 0.2, EarlyReturn: 0.2,
}

func TestTheSameSeedGivesTheSameEvents(t *testing.T) {
	trace := func(seed uint64) []string {
		e := newEcho(t, sim.New(sim.Config{Seed: seed, Faults: rough, BufferBytes: 4000}), 2)
		e.run(1, 20, 3000)
		e.stop()
		return e.trace
	}
	a, b, c := trace(1), trace(1), trace(2)
	if len(a) < 1000 {
		t.Fatalf("only %d events", len(a))
	}
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			t.Fatalf("event %d differs: %s", i, a[i])
		}
	}
	if len(a) != len(b) {
		t.Fatalf("%d events, then %d", len(a), len(b))
	}
	if len(a) == len(c) && fmt.Sprint(a) == fmt.Sprint(c) {
		t.Error("another seed gave the same events")
	}
}

func TestNoByteIsLostDoubledOrMixedUp(t *testing.T) {
	for seed := range uint64(60) {
		faults := rough
		if seed%3 == 0 {
			faults = sim.Faults{}
		}
		e := newEcho(t, sim.New(sim.Config{Seed: seed, Faults: faults, BufferBytes: 1000 + int(seed)*100}), 3)
		whole := 0
		for i, c := range e.run(seed, 10, 600) {
			if !bytes.HasPrefix(c.written, c.read) {
				t.Errorf("seed %d: client %d read what it never wrote", seed, i)
			}
			if errors.Is(c.err, io.EOF) {
				whole++
				if len(c.read) != len(c.written) {
					t.Errorf("seed %d: client %d wrote %d bytes and read %d before EOF", seed, i, len(c.written), len(c.read))
				}
			}
		}
		if whole == 0 {
			t.Errorf("seed %d: no client saw EOF", seed)
		}
		e.stop()
		if t.Failed() {
			return
		}
	}
}

func TestLoopsAndPeersRunInTheirOwnGoroutines(t *testing.T) {
	faults := sim.Faults{ShortRead: 0.2, PartialSend: 0.2, Spurious: 0.1, Delay: 0.1, Reorder: 0.3, EarlyReturn: 0.1}
	n := sim.New(sim.Config{Live: true, Faults: faults, BufferBytes: 2000})
	var loops, clients sync.WaitGroup
	var over atomic.Bool
	var es []*echo
	for range 2 {
		e := newEcho(t, n, 1)
		es = append(es, e)
		loops.Go(func() {
			for !over.Load() {
				e.pass()
			}
		})
	}
	for k := range 12 {
		clients.Go(func() {
			p, err := n.Dial(es[k%2].addr)
			if err != nil {
				t.Error(err)
				return
			}
			want := bytes.Repeat([]byte{byte('a' + k)}, 30_000)
			go func() {
				p.Write(want)
				p.CloseWrite()
			}()
			if got, err := io.ReadAll(p); !bytes.Equal(got, want) || err != nil {
				t.Errorf("%d of %d bytes came back, %v", len(got), len(want), err)
			}
			p.Close()
		})
	}
	clients.Wait()
	over.Store(true)
	for _, e := range es {
		e.loops[0].d.Wake()
	}
	loops.Wait()
	for _, e := range es {
		if err := errors.Join(e.loops[0].d.Close(), n.CloseListener(e.listen)); err != nil {
			t.Error(err)
		}
		if k := e.pool.Live(); k != 0 {
			t.Errorf("%d blocks are left", k)
		}
	}
	if v := n.Violations(); len(v) > 0 || n.Descriptors() != 0 {
		t.Errorf("%d descriptors are left, violations %q", n.Descriptors(), v)
	}
}
