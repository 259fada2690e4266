package sluice

import (
	"errors"
	"fmt"
	"net"
)

// ListenOn accepts on l, a listener made elsewhere, and has h serve its
// connections: one that the process was started with (net.FileListener makes
// it of a descriptor), or of a program that has made it in its own way. l must
// be a *net.TCPListener or a *net.UnixListener of network "unix"; a
// tls.Listener, for one, cannot be served. From then on l is the Listener's,
// whose Close closes it and so removes a Unix socket's file if l would; do not
// use or close l itself. With an error l is still the caller's.
//
// One loop accepts and hands each connection to the loop that the Balancer
// picks, as with AcceptMain; if the engine has one loop, that does both, unless
// Config.Accept says AcceptMain. ListenOn waits for the loop, so it must not be
// called from a callback.
func (e *Engine) ListenOn(l net.Listener, h Handler) (*Listener, error) {
	if l == nil || h == nil {
		return nil, errors.New("sluice: ListenOn: the listener or the handler is nil")
	}
	ln, err := e.adopt(l, h)
	if err == nil {
		err = ln.start()
	}
	if err == nil {
		err = ln.own(l)
	}
	if err != nil {
		return nil, fmt.Errorf("sluice: listen on a %T of %v: %w", l, l.Addr(), err)
	}
	return ln, nil
}

// adopt makes a listener of l whose acceptor is still to be started.
func (e *Engine) adopt(l net.Listener, h Handler) (*Listener, error) {
	switch l.(type) {
	case *net.TCPListener, *net.UnixListener:
	default:
		return nil, errors.New("it must be a *net.TCPListener or a *net.UnixListener; for TLS give the handler to sluice.TLS")
	}
	if network := l.Addr().Network(); network != "tcp" && network != "unix" {
		return nil, fmt.Errorf("its network is %s; it must be tcp or unix", network)
	}
	loop := e.loops[0]
	alone := len(e.loops) == 1 && e.cfg.Accept != AcceptMain
	if !alone {
		var err error
		if loop, err = e.mainLoop(); err != nil {
			return nil, err
		}
	}
	fd, err := e.sys.Adopt(l, e.listenOptions())
	if err != nil {
		return nil, err
	}
	ln := &Listener{eng: e, addr: l.Addr(), closed: make(chan struct{})}
	ln.acceptors = []*acceptor{{ln: ln, loop: loop, fd: fd, perLoop: alone}}
	return ln, e.add(ln, h)
}

// own makes ln close l when it is closed, which may be going on.
func (ln *Listener) own(l net.Listener) error {
	ln.eng.mu.Lock()
	defer ln.eng.mu.Unlock()
	if !ln.eng.listeners[ln] {
		return ErrEngineClosed
	}
	ln.adopted = l
	return nil
}
