package sluice

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay this seed of TestSimulation alone")
	simSeeds = flag.Int("sim.seeds", 2000, "how many seeds TestSimulation runs")
)

// TestSimulation runs random scripts on the simulated network: an engine whose
// handlers write, close, pause, panic and so on as the dice fall, against
// peers that do the same, over a network that misbehaves. What must hold
// whatever happens is checked by script.go's methods and at the end of run.
func TestSimulation(t *testing.T) {
	seeds := *simSeeds
	if testing.Short() {
		seeds = min(seeds, 200)
	}
	if *simSeed != 0 {
		if _, err := simulate(*simSeed, nil); err != nil {
			t.Fatal(err)
		}
		return
	}
	for seed := uint64(1); seed <= uint64(seeds); seed++ {
		if _, err := simulate(seed, nil); err != nil {
			t.Fatalf("%v\nreplay it with: go test -run 'TestSimulation$' . -sim.seed=%d", err, seed)
		}
	}
}

// TestSimulationReplaysASeedExactly compares the hashes of all that happened.
func TestSimulationReplaysASeedExactly(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		a, errA := simulate(seed, nil)
		b, errB := simulate(seed, nil)
		if a != b || errA != nil || errB != nil {
			t.Fatalf("seed %d: traces %x and %x, errors %v and %v", seed, a, b, errA, errB)
		}
	}
}

// TestSimulationFindsPlantedBugs breaks the driver on purpose: a suite that
// cannot fail proves nothing.
func TestSimulationFindsPlantedBugs(t *testing.T) {
	bugs := map[string]func(*planted){
		"a byte is lost":             func(p *planted) { p.loseByte = true },
		"bytes are doubled":          func(p *planted) { p.doubleBytes = true },
		"Send promises too much":     func(p *planted) { p.overstate = true },
		"Closed is reported twice":   func(p *planted) { p.closeTwice = true },
		"the end overtakes a byte":   func(p *planted) { p.endEarly = true },
		"a block is kept for itself": func(p *planted) { p.leak = true },
	}
	for name, plant := range bugs {
		t.Run(name, func(t *testing.T) {
			for seed := uint64(1); seed <= 300; seed++ {
				if _, err := simulate(seed, plant); err != nil {
					return
				}
			}
			t.Error("300 seeds did not notice")
		})
	}
}

// planted is a driver with a bug. Each strikes rarely.
type planted struct {
	driver.Driver
	events driver.Events
	dice   *rand.Rand
	pool   *buffer.Pool

	loseByte, doubleBytes, overstate, closeTwice, endEarly, leak bool
}

func (p *planted) rarely() bool { return p.dice.IntN(20) == 0 }

func (p *planted) Accepted(l driver.ID, fd int, err error)    { p.events.Accepted(l, fd, err) }
func (p *planted) Connected(id driver.ID, fd int, err error)  { p.events.Connected(id, fd, err) }
func (p *planted) Sent(id driver.ID, n int, err error)        { p.events.Sent(id, n, err) }
func (p *planted) Send(id driver.ID, b [][]byte) (int, error) { return p.send(id, b) }

func (p *planted) Received(id driver.ID, b *buffer.Block, data []byte, err error) {
	switch {
	case p.loseByte && len(data) > 1 && p.rarely():
		data = data[1:]
	case p.doubleBytes && len(data) > 0 && p.rarely():
		p.events.Received(id, b, data[:1], nil)
	case p.endEarly && len(data) > 0 && p.rarely():
		data, err = nil, io.EOF
	case p.leak && p.rarely():
		p.pool.Get(1)
	}
	p.events.Received(id, b, data, err)
}

func (p *planted) Closed(id driver.ID) {
	p.events.Closed(id)
	if p.closeTwice && p.rarely() {
		p.events.Closed(id)
	}
}

func (p *planted) send(id driver.ID, bufs [][]byte) (int, error) {
	n, err := p.Driver.Send(id, bufs)
	total := 0
	for _, b := range bufs {
		total += len(b)
	}
	if p.overstate && err == nil && n > 0 && n < total && p.rarely() {
		n++
	}
	return n, err
}

// plantedSystem makes drivers with a bug.
type plantedSystem struct {
	driver.System
	plant func(*planted)
}

func (s plantedSystem) New(h driver.Events, pool *buffer.Pool) (driver.Driver, error) {
	p := &planted{events: h, pool: pool, dice: rand.New(rand.NewPCG(1, 2))}
	s.plant(p)
	var err error
	p.Driver, err = s.System.New(p, pool)
	return p, err
}

// script is one run of the simulation.
type script struct {
	dice  *rand.Rand
	net   *sim.Network
	eng   *Engine
	ln    *Listener
	out   *sim.PeerListener
	conns []*simConn
	open  map[Conn]*simConn // engine side, between OnOpen and OnClose
	trace interface{ Sum64() uint64 }
	hash  io.Writer
	errs  []error

	given, called int // functions of EventLoop.Execute that were taken, and those that ran
	inCallback    bool
	current       Conn // whose callback runs
	smooth        bool // true exactly when the network breaks no connection
}

// simulate runs one seed and returns a hash of what happened.
func simulate(seed uint64, plant func(*planted)) (trace uint64, err error) {
	h := fnv.New64a()
	s := &script{dice: rand.New(rand.NewPCG(seed, 77)), open: map[Conn]*simConn{}, trace: h, hash: h}
	defer s.endJobs()
	defer func() {
		if v := recover(); v != nil { // the engine's own code panicked
			err = fmt.Errorf("seed %d: panic: %v", seed, v)
			if plant == nil {
				panic(err)
			}
		}
	}()
	s.begin(seed, plant)
	for range 50 + s.dice.IntN(400) {
		s.step()
	}
	s.finish()
	if err := errors.Join(s.errs...); err != nil {
		return h.Sum64(), fmt.Errorf("seed %d: %w", seed, err)
	}
	return h.Sum64(), nil
}

func (s *script) fail(format string, args ...any) {
	if len(s.errs) < 5 {
		s.errs = append(s.errs, fmt.Errorf(format, args...))
	}
}

// chance is a probability that is nothing in half of the runs.
func (s *script) chance(most float64) float64 {
	if s.dice.IntN(2) == 0 {
		return 0
	}
	return s.dice.Float64() * most
}

func (s *script) begin(seed uint64, plant func(*planted)) {
	f := sim.Faults{
		ShortRead: s.chance(0.6), PartialSend: s.chance(0.6), Spurious: s.chance(0.2), Reset: s.chance(0.02),
		AcceptFail: s.chance(0.2), OpenFail: s.chance(0.05), Delay: s.chance(0.5), EarlyReturn: s.chance(0.3),
	}
	s.smooth = f.Reset == 0
	limit := 0
	if s.dice.IntN(4) == 0 {
		limit = 5 + s.dice.IntN(20)
	}
	s.net = sim.New(sim.Config{
		Seed: seed, Faults: f, DescriptorLimit: limit,
		BufferBytes: 1 << (4 + s.dice.IntN(14)), Personality: sim.Personality(s.dice.IntN(3)),
	})
	var sys driver.System = s.net
	if plant != nil {
		sys = plantedSystem{s.net, plant}
	}
	cfg := Config{
		Loops: 1 + s.dice.IntN(3), Accept: AcceptMode(1 + s.dice.IntN(2)),
		LowWater: 1000, HighWater: 4000, WriteLimit: 1 << 20, AbortOnLimit: s.dice.IntN(2) == 0,
		Logger: slog.New(slog.DiscardHandler),
	}
	if s.dice.IntN(3) == 0 {
		cfg.IdleTimeout = time.Duration(1+s.dice.IntN(2000)) * time.Millisecond
	}
	var err error
	if s.eng, err = newEngine(cfg, sys, func(*eventLoop) {}); err != nil {
		panic(err)
	}
	ln, err := s.eng.bindListener(context.Background(), "tcp", "127.0.0.1:0", s)
	if err != nil {
		panic(err)
	}
	s.ln = ln
	for _, a := range ln.acceptors {
		a.loop.do(func() {
			if err := a.start(); err != nil {
				panic(err)
			}
		})
	}
	if s.out, err = s.net.ListenPeer("tcp", "127.0.0.1:0"); err != nil {
		panic(err)
	}
}

// step lets something happen.
func (s *script) step() {
	switch s.dice.IntN(12) {
	case 0:
		s.connect()
	case 1:
		s.dial()
	case 2:
		s.net.Advance(time.Duration(s.dice.IntN(300)) * time.Millisecond)
	case 3, 4, 5:
		if len(s.conns) > 0 {
			s.conns[s.dice.IntN(len(s.conns))].peerStep()
		}
	case 6:
		s.elsewhere()
	default:
		s.pass()
	}
}

// elsewhere lets something happen that is no callback: as if on another
// goroutine.
func (s *script) elsewhere() {
	if s.dice.IntN(20) == 0 {
		s.each()
		return
	}
	for _, c := range s.conns { // in order, not a map's
		if c.handle == (Conn{}) || s.dice.IntN(4) != 0 {
			continue
		}
		if c.job != nil && c.job.begun {
			c.finishJob(true)
			return
		}
		c.engineStep(c.handle)
		return
	}
}

func (s *script) pass() {
	loops := s.eng.all()
	s.passOf(loops[s.dice.IntN(len(loops))])
}

func (s *script) passOf(l *eventLoop) {
	if err := l.pass(); err != nil {
		s.fail("pass: %v", err)
	}
	for _, c := range s.conns {
		c.awaitJob()
	}
}

// connect makes a peer connect to the engine.
func (s *script) connect() {
	p, err := s.net.Dial(s.ln.Addr())
	if err != nil {
		return // the backlog is full
	}
	s.add(p)
}

// dial makes the engine connect to a peer.
func (s *script) dial() {
	ctx := context.Background()
	if s.dice.IntN(8) == 0 {
		over, cancel := context.WithCancel(ctx)
		cancel()
		ctx = over
	}
	d := &dialing{network: "tcp", addrs: []net.Addr{s.out.Addr()}, route: newRoute(s.eng, s, nil), done: func(Conn, error) {}}
	l := s.eng.pick(-1)
	l.do(func() { l.dial(ctx, d) })
	for range 20 {
		if p, err := s.out.TryAccept(); err == nil && p != nil {
			s.add(p)
			return
		}
		s.pass()
	}
}

// add begins a connection: its peer sends its number first.
func (s *script) add(p *sim.Peer) {
	c := &simConn{s: s, number: len(s.conns), peer: p}
	s.conns = append(s.conns, c)
	hello := []byte{'c', byte(c.number >> 8), byte(c.number)}
	c.toSend = hello
	c.peerFlush()
}

// finish stops the world and checks what must hold at the end.
func (s *script) finish() {
	s.net.SetFaults(sim.Faults{})
	graceful := s.dice.IntN(2) == 0
	for _, l := range s.eng.all() {
		l.do(func() { l.closeAll(!graceful) })
	}
	done := func() bool {
		for _, l := range s.eng.all() {
			if !l.finished() {
				return false
			}
		}
		return true
	}
	for round := 0; !done(); round++ {
		if round == 100_000 {
			s.fail("the engine does not end: %+v", s.eng.Stats())
			return
		}
		for _, c := range s.conns {
			c.peerRead()
			if graceful && c.job != nil && c.job.begun {
				c.finishJob(false) // else OnHangup does it
			}
		}
		s.net.Advance(50 * time.Millisecond)
		for _, l := range s.eng.all() {
			s.passOf(l)
		}
	}
	for _, c := range s.conns {
		c.peerRead()
		if !bytes.Equal(c.keep.Bytes(), c.kept) {
			s.fail("connection %d: bytes kept beyond OnData have changed", c.number)
		}
		c.keep.Close()
		c.check()
		_ = c.peer.Close()
	}
	if s.given != s.called {
		s.fail("%d of %d functions of EventLoop.Execute were called", s.called, s.given)
	}
	if len(s.open) != 0 {
		s.fail("%d connections never had their OnClose", len(s.open))
	}
	for i, l := range s.eng.all() {
		for _, a := range l.acceptors {
			if a != nil {
				a.stop()
				_ = s.net.CloseListener(a.fd)
			}
		}
		l.view.Close()
		_ = l.drv.Close()
		if n := l.pool.Live(); n != 0 {
			s.fail("loop %d: %d blocks are not released", i, n)
		}
		if l.assigned.Load() != 0 || l.count.conns != 0 {
			s.fail("loop %d: %d connections assigned, %d counted, none there", i, l.assigned.Load(), l.count.conns)
		}
	}
	_ = s.out.Close()
	if n := s.net.Descriptors(); n != 0 {
		s.fail("%d descriptors are open", n)
	}
	for _, v := range s.net.Violations() {
		s.fail("contract: %s", v)
	}
}

// simConn is one connection of a script, from both ends.
type simConn struct {
	s      *script
	number int
	handle Conn // the engine's, once its number was received

	peer              *sim.Peer
	toSend            []byte // made, and not yet taken by the network
	sent              []byte // taken by the network
	received          []byte // what the peer read
	peerDone, peerEOF bool   // the peer has ended its direction; it read the engine's end
	peerBroke         bool   // the peer saw an error or reset the connection

	got                            []byte // what the handler read
	written                        []byte // what the handler wrote
	opened, closed, paused         bool
	finSent, ended, aborted, woken bool // CloseWrite; Close, Abort or a panic; Abort; Wake
	cause                          error
	keep                           buffer.LinkBuffer // bytes sliced out of OnData
	kept                           []byte            // a copy of them
	left                           int               // bytes that OnData left unread
	job                            *simJob           // unfinished, nil if there is none
	hungUp                         bool              // OnHangup was called
	readIdle                       int64             // ms of SetReadIdle, 0 means none
	heard                          int64             // loop time in ms from which that counts
}

// stream is byte i of a direction of connection number.
func stream(number, direction, i int) byte {
	return byte(number*31 + direction*101 + i*7 + i>>8)
}

func (c *simConn) more(direction, at, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = stream(c.number, direction, at+i)
	}
	return p
}

func (c *simConn) peerFlush() {
	for len(c.toSend) > 0 && !c.peerBroke {
		n, err := c.peer.TryWrite(c.toSend)
		c.sent = append(c.sent, c.toSend[:n]...)
		c.toSend = c.toSend[n:]
		if err != nil {
			c.peerBroke = true
		}
		if n == 0 {
			return
		}
	}
}

func (c *simConn) peerRead() {
	var buf [4096]byte
	for !c.peerBroke && !c.peerEOF {
		n, err := c.peer.TryRead(buf[:])
		c.received = append(c.received, buf[:n]...)
		switch {
		case err == io.EOF:
			c.peerEOF = true
			if !c.peerDone {
				c.peerDone = true
				_ = c.peer.CloseWrite()
			}
		case err != nil:
			c.peerBroke = true
		case n == 0:
			return
		}
	}
}

func (c *simConn) peerStep() {
	switch d := c.s.dice; d.IntN(16) {
	case 0:
		if !c.peerDone && len(c.toSend) == 0 {
			c.peerDone = true
			_ = c.peer.CloseWrite()
		}
	case 1:
		if d.IntN(6) == 0 {
			c.peerBroke = true
			_ = c.peer.Reset()
		}
	case 2, 3, 4, 5, 6, 7:
		c.peerRead()
	default:
		if !c.peerDone && len(c.toSend) < 10_000 {
			at := len(c.sent) + len(c.toSend)
			c.toSend = append(c.toSend, c.more(0, at, 1+d.IntN(3000))...)
		}
		c.peerFlush()
	}
}

// check compares both directions at the end of the run.
func (c *simConn) check() {
	s := c.s
	if !bytes.HasPrefix(c.sent, c.got) {
		s.fail("connection %d: the handler read what the peer did not send (%d bytes, %d sent)", c.number, len(c.got), len(c.sent))
	}
	if !bytes.HasPrefix(c.written, c.received) {
		s.fail("connection %d: the peer read what the handler did not write (%d bytes, %d written)", c.number, len(c.received), len(c.written))
	}
	if c.handle == (Conn{}) {
		return
	}
	// A connection that ended in order lost nothing.
	if c.closed && c.cause == nil && c.peerEOF && len(c.received) != len(c.written) {
		s.fail("connection %d: closed in order, but %d of %d bytes arrived", c.number, len(c.received), len(c.written))
	}
	if c.closed && c.cause == io.EOF && !c.ended && !c.peerBroke && len(c.got)+c.left != len(c.sent) {
		s.fail("connection %d: ended by its peer, but %d of %d bytes were read", c.number, len(c.got), len(c.sent))
	}
	// With no cause of its own and a network that breaks nothing, nothing
	// but the two ends may end a connection.
	var errno syscall.Errno
	if s.smooth && !c.peerBroke && errors.As(c.cause, &errno) {
		s.fail("connection %d: broke with %v for no reason", c.number, c.cause)
	}
	if err := c.handle.SetNoDelay(true); err == nil {
		s.fail("connection %d: its handle works after the end", c.number)
	}
}
