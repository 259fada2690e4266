package sluice

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/tlsconn"
	"github.com/sluice-go/sluice/internal/workers"
)

// Engine is a set of event loops with the connections they serve. Its methods
// may be called from any goroutine, but those that say they wait must not be
// called from a callback or, Shutdown and Close, from an offloaded job: they
// would wait for themselves. There, use a goroutine of its own.
type Engine struct {
	cfg   Config
	water waterMarks
	sys   driver.System
	loops []*eventLoop
	jobs  *workers.Pool

	handshakes *tlsconn.Gate

	pickMu sync.Mutex // one Pick at a time
	counts []int      // scratch for Pick

	mu        sync.Mutex
	main      *eventLoop // accepts for the others; made when first needed
	listeners map[*Listener]bool
	err       error // why the engine failed
	closed    bool  // true exactly when nothing new is taken
	ending    atomic.Bool
	ended     chan struct{} // closed when every loop has ended
	start     func(*eventLoop)
}

// New starts an engine. It returns an error if cfg is not valid or the system
// does not provide what the driver needs.
func New(cfg Config) (*Engine, error) {
	sys, err := systemFor(cfg)
	if err != nil {
		return nil, err
	}
	return newEngine(cfg, sys, func(l *eventLoop) { go l.run() })
}

// newEngine makes an engine on sys, with start to set its loops going.
func newEngine(cfg Config, sys driver.System, start func(*eventLoop)) (*Engine, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{
		cfg:       cfg,
		water:     waterMarks{cfg.LowWater, cfg.HighWater, cfg.WriteLimit},
		sys:       sys,
		counts:    make([]int, cfg.Loops),
		listeners: map[*Listener]bool{},
		ended:     make(chan struct{}),
		start:     start,
	}
	e.jobs = workers.New(cfg.Workers, workerIdle, e.jobPanicked)
	e.jobs.LogFull = e.jobsFull
	e.handshakes = tlsconn.NewGate(cfg.MaxHandshakes)
	for i := range cfg.Loops {
		l, err := newLoop(e, i)
		if err != nil {
			for _, l := range e.loops {
				_ = l.drv.Close()
			}
			return nil, fmt.Errorf("sluice: event loop %d of %d: %w", i+1, cfg.Loops, err)
		}
		e.loops = append(e.loops, l)
	}
	for _, l := range e.loops {
		e.start(l)
	}
	return e, nil
}

// Serve listens on a network ("tcp", "tcp4", "tcp6", "unix") and address with
// the default Config and serves connections until the process ends. It
// returns only with an error. A server that is to end in order uses New,
// Engine.Listen and Engine.Shutdown.
func Serve(network, address string, h Handler) error {
	e, err := New(Config{})
	if err != nil {
		return err
	}
	if _, err := e.Listen(network, address, h); err != nil {
		return errors.Join(err, e.Close())
	}
	return e.Wait()
}

// Wait waits until the engine has been closed, by Shutdown, Close or a failure
// of its driver, and returns ErrEngineClosed, as http.Server returns
// http.ErrServerClosed, or that failure.
func (e *Engine) Wait() error {
	<-e.ended
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.err != nil {
		return e.err
	}
	return ErrEngineClosed
}

// Config returns the engine's settings, with the defaults where New was given
// zeros.
func (e *Engine) Config() Config { return e.cfg }

// Done returns a channel that is closed when the engine has ended, after which
// Wait does not block.
func (e *Engine) Done() <-chan struct{} { return e.ended }

// Shutdown ends the engine in order: it stops listening, lets offloaded jobs
// finish, closes every connection as Conn.Close does, and waits for all that.
// When ctx ends first, the connections that are left are aborted and
// Shutdown returns ctx's error. In both cases nothing of the engine is left,
// and for that it waits for callbacks and jobs that are running, also beyond
// ctx: one that never returns keeps it from returning.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.refuse()
	for _, l := range e.all() {
		l.do(func() { l.closeAll(false) })
	}
	return e.end(ctx)
}

// Close ends the engine at once: connections are aborted, and what waited to
// be sent is lost. It waits until nothing of the engine is left.
func (e *Engine) Close() error {
	e.refuse()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.end(ctx); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// end waits for the loops' connections until ctx is done, aborts the rest and
// waits for the loops.
func (e *Engine) end(ctx context.Context) error {
	e.stopLoops()
	var err error
	select {
	case <-e.ended:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	}
	for _, l := range e.all() {
		l.do(func() { l.closeAll(true) })
	}
	select {
	case <-e.ended:
	case <-time.After(slowEnd):
		e.cfg.Logger.Warn("sluice: the engine cannot end while a callback or an offloaded job does not return",
			"jobs", e.jobs.Stats().Running)
		<-e.ended
	}
	return err
}

// slowEnd is after how long the wait for running callbacks and jobs is logged.
const slowEnd = time.Second

// refuse makes the engine take nothing new and closes its listeners.
func (e *Engine) refuse() {
	e.mu.Lock()
	e.closed = true
	lns := make([]*Listener, 0, len(e.listeners))
	for ln := range e.listeners {
		lns = append(lns, ln)
	}
	e.mu.Unlock()
	for _, ln := range lns {
		_ = ln.Close()
	}
}

// stopLoops has every loop end when its last connection has, and closes ended
// when all have.
func (e *Engine) stopLoops() {
	if e.ending.Swap(true) {
		return
	}
	for _, l := range e.all() {
		l.do(func() { l.stopping = true })
	}
	go func() {
		for _, l := range e.all() {
			<-l.done
		}
		_ = e.jobs.Close(context.Background())
		close(e.ended)
	}()
}

// fail ends an engine one of whose loops cannot go on.
func (e *Engine) fail(err error) {
	e.mu.Lock()
	if e.err == nil {
		e.err = fmt.Errorf("sluice: driver %s: %w", e.sys.Name(), err)
	}
	e.mu.Unlock()
	go func() { _ = e.Close() }()
}

// all returns the loops and, if there is one, the main loop.
func (e *Engine) all() []*eventLoop {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.main == nil {
		return e.loops
	}
	return append(e.loops[:len(e.loops):len(e.loops)], e.main)
}

// pick has the Balancer choose a loop and counts the connection as the
// loop's at once, so that a burst is spread before the first is adopted.
func (e *Engine) pick(fd int) *eventLoop {
	e.pickMu.Lock()
	defer e.pickMu.Unlock()
	for i, l := range e.loops {
		e.counts[i] = int(l.assigned.Load())
	}
	l := e.loops[e.ask(fd)]
	l.assigned.Add(1)
	return l
}

// ask returns the Balancer's choice, or 0 if it makes none that is possible.
func (e *Engine) ask(fd int) (n int) {
	defer func() {
		if v := recover(); v != nil {
			e.cfg.Logger.Error("sluice: panic in the Balancer; loop 0 is taken",
				"panic", v, "stack", string(debug.Stack()))
			n = 0
		}
	}()
	if n = e.cfg.Balancer.Pick(fd, e.counts); n < 0 || n >= len(e.loops) {
		n = 0
	}
	return n
}

// Driver returns the name of the driver in use, such as "epoll".
func (e *Engine) Driver() string { return e.sys.Name() }

// jobsFull logs that offloaded jobs wait for others to return.
func (e *Engine) jobsFull() {
	e.cfg.Logger.Warn("sluice: jobs wait, because as many run as Config.Workers allows", "workers", e.cfg.Workers,
		"waiting", e.jobs.Stats().Waiting)
}

// jobPanicked logs the panic of an offloaded job outside a connection's own
// guard.
func (e *Engine) jobPanicked(v any, stack []byte) {
	e.cfg.Logger.Error("sluice: panic in an offloaded job", "panic", v, "stack", string(stack))
}

// closeAll closes or aborts every connection of the loop and takes no more.
func (l *eventLoop) closeAll(abort bool) {
	l.stopping = true
	l.eachSlot(func(ch *chunk, i uint32, s *slot) {
		switch {
		case s.state == stateShut:
			s.mu.Unlock()
			return
		case abort || s.state == stateDialing:
			ch.conn(i).markAborted(s, ErrEngineClosed)
		default:
			s.flags |= flagShutdown
		}
		l.settle(ch, i, s)
	})
}

// abandon ends every connection of a loop whose driver has failed, and closes the
// driver when none of them uses its descriptor any more and before any of them gives
// back memory that it may still send.
func (l *eventLoop) abandon(err error) {
	l.stopping = true
	if l.tls != nil {
		l.tls.Abandon()
	}
	l.eachSlot(func(ch *chunk, i uint32, s *slot) {
		for s.flags&flagFile != 0 { // until it has returned, the driver must not close the descriptor
			s.mu.Unlock()
			time.Sleep(time.Millisecond)
			s.mu.Lock()
		}
		a := ch.conn(i).act()
		if s.flags&(flagDetach|flagGone) == flagDetach {
			a.lost = err // with what the driver had received
		}
		a.end(err)
		l.tellView(ch, i, s)
		l.leaving(ch, i, s)
		l.hangup(ch, i, s)
		s.mu.Unlock()
	})
	l.eachSlot(func(ch *chunk, i uint32, s *slot) {
		for ch.part(i).jobs.count > 0 { // OnClose comes after them
			s.mu.Unlock()
			l.runTasks() // which they may wait for
			time.Sleep(time.Millisecond)
			s.mu.Lock()
		}
		s.mu.Unlock()
	})
	l.closeDriver()
	l.eachSlot(func(ch *chunk, i uint32, s *slot) {
		s.mu.Unlock()
		l.finish(ch, i)
	})
}

// eachSlot calls fn, which unlocks it, with every slot in use.
func (l *eventLoop) eachSlot(fn func(ch *chunk, i uint32, s *slot)) {
	for _, ch := range l.chunks {
		if ch == nil {
			continue
		}
		for i := range uint32(chunkSize) {
			s := &ch.slots[i]
			if s.mu.Lock(); s.state == stateFree {
				s.mu.Unlock()
				continue
			}
			fn(ch, i, s)
		}
	}
}
