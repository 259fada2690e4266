package sluice

import (
	"context"
	"crypto/tls"
	"fmt"
	"math"
	"net"
	"sync"
	"time"

	"github.com/sluice-go/sluice/internal/driver"
)

// Accepting that failed, for want of descriptors as a rule, is tried again
// after a pause that doubles from backoffMin to backoffMax.
const (
	backoffMin = 10 * time.Millisecond
	backoffMax = time.Second
)

// Listener accepts connections for an Engine.
type Listener struct {
	eng       *Engine
	addr      net.Addr
	acceptors []*acceptor
	adopted   net.Listener // what ListenOn was given, nil if it was not; guarded by eng.mu
	closing   sync.Once
	closed    chan struct{}
}

// acceptor is a listener's part in one loop: a descriptor.
type acceptor struct {
	ln      *Listener
	loop    *eventLoop
	fd      int
	id      driver.ID // in loop.acceptors
	route   *route
	perLoop bool          // true exactly when loop keeps what it accepts
	stopped bool          // true exactly when stop was called, perhaps before start
	backoff time.Duration // how long the present pause is, 0 while accepting
	timer   *Timer        // ends the pause
}

// route is what the connections of a listener, or one that was dialed, have
// in common.
type route struct {
	h        Handler
	drain    DrainHandler          // h, if it is one
	eof      EOFHandler            // h, if it is one
	hangup   HangupHandler         // h, if it is one
	readIdle ReadIdleHandler       // h, if it is one
	refused  HandshakeErrorHandler // h, if it is one
	tls      *tls.Config           // nil if there is none
	local    net.Addr              // the listener's, nil if dialed
	index    []routeIndex          // by loop
}

// routeIndex is where a loop has a route in its table.
type routeIndex struct {
	at   uint32
	used int // connections; 0 means that it is not in the table
}

func newRoute(e *Engine, h Handler, local net.Addr) *route {
	r := &route{h: h, local: local, index: make([]routeIndex, len(e.loops))}
	if t, ok := h.(tlsHandler); ok {
		h = t.Handler
		r.h, r.tls = h, t.cfg
	}
	r.drain, _ = h.(DrainHandler)
	r.eof, _ = h.(EOFHandler)
	r.hangup, _ = h.(HangupHandler)
	r.readIdle, _ = h.(ReadIdleHandler)
	r.refused, _ = h.(HandshakeErrorHandler)
	if f, ok := h.(Funcs); ok && f.EOF != nil {
		r.eof = eofFunc(f.EOF)
	}
	if f, ok := h.(Funcs); ok && f.HandshakeError != nil {
		r.refused = handshakeErrorFunc(f.HandshakeError)
	}
	return r
}

// bind returns the index of r in the loop's table for one more connection. A
// connection keeps an index, not a pointer that every cycle of the garbage
// collector would follow.
func (l *eventLoop) bind(r *route) uint32 {
	ix := &r.index[l.index]
	if ix.used++; ix.used > 1 {
		return ix.at
	}
	if n := len(l.freeRoutes); n > 0 {
		ix.at, l.freeRoutes = l.freeRoutes[n-1], l.freeRoutes[:n-1]
		l.routes[ix.at] = r
		return ix.at
	}
	l.routes = append(l.routes, r)
	ix.at = uint32(len(l.routes) - 1)
	return ix.at
}

// unbind takes a connection off the route's count.
func (l *eventLoop) unbind(at uint32) {
	ix := &l.routes[at].index[l.index]
	if ix.used--; ix.used == 0 {
		l.routes[at] = nil
		l.freeRoutes = append(l.freeRoutes, at)
	}
}

// Listen accepts connections on a network, "tcp", "tcp4", "tcp6" or "unix",
// and address, such as "127.0.0.1:7000", ":0" or a path, and has h serve
// them. It may be called several times, with the same handler or others. It
// returns when the kernel queues connections. It waits for the loops, so it
// must not be called from a callback.
func (e *Engine) Listen(network, address string, h Handler) (*Listener, error) {
	return e.ListenContext(context.Background(), network, address, h)
}

// ListenContext is Listen with a context that bounds the resolution of a name
// in address.
func (e *Engine) ListenContext(ctx context.Context, network, address string, h Handler) (*Listener, error) {
	ln, err := e.bindListener(ctx, network, address, h)
	if err != nil {
		return nil, err
	}
	if err := ln.start(); err != nil {
		return nil, fmt.Errorf("sluice: listen %s %s: %w", network, address, err)
	}
	return ln, nil
}

// start has the loops begin to accept. If one cannot, the listener is closed.
func (ln *Listener) start() (err error) {
	started := make(chan error, len(ln.acceptors))
	for _, a := range ln.acceptors {
		a.loop.do(func() { started <- a.start() })
	}
	for range ln.acceptors {
		if e := <-started; e != nil && err == nil {
			err = e
		}
	}
	if err != nil {
		_ = ln.Close()
	}
	return err
}

// bindListener makes a listener whose acceptors are still to be started.
func (e *Engine) bindListener(ctx context.Context, network, address string, h Handler) (*Listener, error) {
	if h == nil || ctx == nil {
		return nil, fmt.Errorf("sluice: listen %s %s: the handler or the context is nil", network, address)
	}
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return nil, fmt.Errorf("sluice: listen %s %s: the network must be tcp, tcp4, tcp6 or unix", network, address)
	}
	if address == "" {
		return nil, fmt.Errorf("sluice: listen %s: the address is empty; write HOST:PORT, or a path for unix", network)
	}
	loops := e.loops
	perLoop := e.acceptPerLoop(network)
	if !perLoop {
		m, err := e.mainLoop()
		if err != nil {
			return nil, err
		}
		loops = []*eventLoop{m}
	}
	ln := &Listener{eng: e, closed: make(chan struct{})}
	opts := e.listenOptions()
	opts.ReusePort = perLoop
	if perLoop {
		// Sharing the port among our loops must not let a second server
		// share it, too: both would get a part of the connections.
		alone := opts
		alone.ReusePort = false
		fd, addr, err := e.sys.Listen(ctx, network, address, alone)
		if err != nil {
			return nil, err
		}
		if err := e.sys.CloseListener(fd); err != nil {
			return nil, err
		}
		address = addr.String() // port 0 is one port for all
	}
	for _, l := range loops {
		fd, addr, err := e.sys.Listen(ctx, network, address, opts)
		if err != nil {
			ln.closeDescriptors()
			return nil, err
		}
		ln.addr = addr
		ln.acceptors = append(ln.acceptors, &acceptor{ln: ln, loop: l, fd: fd, perLoop: perLoop})
	}
	if err := e.add(ln, h); err != nil {
		return nil, err
	}
	return ln, nil
}

// listenOptions are what every accepted connection begins with.
func (e *Engine) listenOptions() driver.ListenOptions {
	return driver.ListenOptions{NoDelay: true, KeepAlive: e.cfg.KeepAlive}
}

// acceptPerLoop reports whether each loop gets a listener of its own.
func (e *Engine) acceptPerLoop(network string) bool {
	if network == "unix" || e.sys.Name() == "portable" {
		return false
	}
	switch e.cfg.Accept {
	case AcceptMain:
		return false
	case AcceptPerLoop:
		return true
	}
	return kernelSpreads
}

// mainLoop returns the loop that accepts for the others.
func (e *Engine) mainLoop() (*eventLoop, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil, ErrEngineClosed
	}
	if e.main == nil {
		l, err := newLoop(e, len(e.loops))
		if err != nil {
			return nil, fmt.Errorf("sluice: main loop: %w", err)
		}
		e.main = l
		e.start(l)
	}
	return e.main, nil
}

// add makes ln, whose connections h is to serve, one of the engine's listeners
// or, if it takes nothing new, gives its descriptors up.
func (e *Engine) add(ln *Listener, h Handler) error {
	r := newRoute(e, h, ln.addr)
	if t, ok := h.(tlsHandler); ok {
		err := t.check()
		if err == nil {
			err = serverConfig(t.cfg)
		}
		if err != nil {
			_ = ln.closeDescriptors()
			return fmt.Errorf("sluice: listen on %v: %w", ln.addr, err)
		}
	}
	for _, a := range ln.acceptors {
		a.route = r
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		_ = ln.closeDescriptors()
		return ErrEngineClosed
	}
	e.listeners[ln] = true
	return nil
}

// Addr returns the address that the listener is bound to, with the port that
// was chosen for port 0.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Close stops accepting and closes the listener; its connections go on. It
// waits for the loops, so it must not be called from a callback: there, use
// go ln.Close().
func (ln *Listener) Close() error {
	first := false
	ln.closing.Do(func() { first = true })
	if !first {
		<-ln.closed
		return ErrClosed
	}
	var wg sync.WaitGroup
	for _, a := range ln.acceptors {
		wg.Add(1)
		a.loop.do(func() { a.stop(); wg.Done() })
	}
	wg.Wait()
	err := ln.closeDescriptors()
	ln.eng.mu.Lock()
	delete(ln.eng.listeners, ln)
	adopted := ln.adopted
	ln.eng.mu.Unlock()
	if adopted != nil {
		if e := adopted.Close(); e != nil && err == nil {
			err = e
		}
	}
	close(ln.closed)
	return err
}

func (ln *Listener) closeDescriptors() (err error) {
	for _, a := range ln.acceptors {
		if e := ln.eng.sys.CloseListener(a.fd); e != nil && err == nil {
			err = e
		}
	}
	return err
}

// start enters the acceptor into its loop and begins to accept.
func (a *acceptor) start() error {
	l := a.loop
	if a.stopped || l.ended.Load() {
		return ErrClosed // its descriptor may be another's by now
	}
	a.id = driver.ID(len(l.acceptors))
	for id, other := range l.acceptors {
		if other == nil {
			a.id = driver.ID(id)
		}
	}
	if int(a.id) == len(l.acceptors) {
		l.acceptors = append(l.acceptors, nil)
	}
	l.acceptors[a.id] = a
	return l.drv.Listen(a.id, a.fd)
}

// stop ends accepting for good.
func (a *acceptor) stop() {
	a.stopped = true
	if a.timer != nil {
		a.loop.timers.drop(a.timer)
	}
	if int(a.id) < len(a.loop.acceptors) && a.loop.acceptors[a.id] == a {
		if !a.loop.ended.Load() {
			a.loop.drv.Unlisten(a.id)
		}
		a.loop.acceptors[a.id] = nil
	}
}

// Accepted gives a new connection to its loop.
func (l *eventLoop) Accepted(id driver.ID, fd int, err error) {
	l.begin()
	a := l.acceptors[id]
	if err != nil {
		a.pause(err)
		return
	}
	l.count.accepted++
	a.backoff = 0
	if a.perLoop {
		l.assigned.Add(1)
		l.adopt(fd, a.route)
		return
	}
	to := l.eng.pick(fd)
	to.incoming.Push(incoming{fd, a.route})
	to.wake()
	if to.ended.Load() {
		to.discard()
	}
}

// discard closes the descriptors on their way to a loop that takes no more.
func (l *eventLoop) discard() {
	l.after.Lock()
	for _, in := range l.incoming.Take(math.MaxInt) {
		l.assigned.Add(-1)
		if f, err := l.eng.sys.File(in.fd); err == nil {
			_ = f.Close()
		}
	}
	l.after.Unlock()
	l.drain() // what others pushed meanwhile and left to whoever had the lock
}

// pause backs off after accepting failed. The connections that wait stay in
// the kernel's queue.
func (a *acceptor) pause(err error) {
	a.backoff = min(max(2*a.backoff, backoffMin), backoffMax)
	if a.backoff == backoffMin { // once for a series of failures
		a.loop.log().Warn("sluice: accepting pauses; existing connections go on",
			"addr", a.ln.addr.String(), "err", err, "retry", a.backoff)
	}
	a.loop.count.acceptErrors++
	a.timer = a.loop.timers.after(a.loop, a.backoff, a.resume)
}

// resume tries to accept again.
func (a *acceptor) resume() {
	l := a.loop
	if err := l.drv.Listen(a.id, a.fd); err != nil {
		a.pause(err)
	}
}

// adopt makes an accepted descriptor one of the loop's connections.
func (l *eventLoop) adopt(fd int, r *route) {
	ch, i := l.alloc()
	l.count.conns++
	s := &ch.slots[i]
	s.mu.Lock()
	s.route = l.bind(r)
	fd, err := l.drv.Open(driver.ID(ch.base+i), fd)
	if err != nil {
		s.mu.Unlock()
		l.log().Warn("sluice: a new connection could not be served", "addr", r.local.String(), "err", err)
		l.unbind(s.route)
		l.release(ch, i)
		l.count.conns--
		l.assigned.Add(-1)
		return
	}
	if l.stopping {
		s.state, s.fd = stateOpen, int32(fd)
		l.shut(ch, i, s, true)
		return
	}
	if r.tls != nil {
		l.secure(ch, i, s, fd, r.tls, false)
		return
	}
	l.opened(ch, i, s, fd)
}

// opened makes slot i's connection open over fd and calls OnOpen, with s
// locked; it unlocks.
func (l *eventLoop) opened(ch *chunk, i uint32, s *slot, fd int) {
	s.state, s.fd = stateOpen, int32(fd)
	s.flags |= flagOpened | flagBusy
	s.active = l.now
	ch.peers[i] = makePeerAddr(l.drv.RemoteAddr(fd))
	if idle := l.eng.cfg.IdleTimeout; idle > 0 {
		s.idle = uint32(ms(idle))
		s.want |= wantTimer
	}
	r := l.routes[s.route]
	if r.readIdle != nil {
		s.flags |= flagReadIdler
	}
	s.mu.Unlock()
	l.callOpen(r.h, ch.conn(i))
	l.leave(ch, i)
}
