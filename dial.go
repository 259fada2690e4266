package sluice

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"github.com/sluice-go/sluice/internal/driver"
)

// dialing is a connection that is being established.
type dialing struct {
	network string
	addrs   []net.Addr // the one being tried and those to try after it
	route   *route
	done    func(Conn, error)
	unwatch func() bool // ends the watch over the context
}

// Dial connects to a network, "tcp", "tcp4", "tcp6" or "unix", and address,
// and has h serve the connection on the loop that the Balancer picks. It waits
// until OnOpen has returned; ctx bounds the wait. If a name has several
// addresses, they are tried in order. It must not be called from a callback:
// there, use Conn.Dial.
func (e *Engine) Dial(ctx context.Context, network, address string, h Handler) (Conn, error) {
	if ctx == nil || h == nil {
		return Conn{}, errDialNil
	}
	addrs, err := resolve(ctx, network, address)
	if err != nil {
		return Conn{}, err
	}
	type outcome struct {
		c   Conn
		err error
	}
	ch := make(chan outcome, 1)
	d := &dialing{network: network, addrs: addrs}
	if d.route, err = dialRoute(e, h, address); err != nil {
		return Conn{}, err
	}
	l := e.pick(-1)
	d.done = func(c Conn, err error) { ch <- outcome{c, err} }
	l.do(func() { l.dial(ctx, d) })
	select {
	case o := <-ch:
		return o.c, o.err
	case <-ctx.Done():
	}
	// The loop is told as well, but it may be busy.
	go func() {
		if o := <-ch; o.err == nil {
			_ = o.c.Abort()
		}
	}()
	return Conn{}, &net.OpError{Op: "dial", Net: network, Addr: addrs[0], Err: context.Cause(ctx)}
}

var errDialNil = errors.New("sluice: dial: the context, the handler or the function is nil")

// Dial connects as Engine.Dial does, on c's own loop and without waiting:
// done is called on that loop with the new connection or the error. A proxy
// that dials like this has both of its connections on one loop. Names are
// resolved by another goroutine.
func (c Conn) Dial(ctx context.Context, network, address string, h Handler, done func(Conn, error)) error {
	if ctx == nil || h == nil || done == nil {
		return errDialNil
	}
	s, err := c.lock()
	if err != nil {
		return err
	}
	s.mu.Unlock()
	l := c.ch.loop
	d := &dialing{network: network, done: done}
	if d.route, err = dialRoute(l.eng, h, address); err != nil {
		return err
	}
	begin := func() {
		var err error
		if d.addrs, err = resolve(ctx, network, address); err != nil {
			l.do(func() { l.callDone(d, Conn{}, err) })
			return
		}
		l.assigned.Add(1)
		l.do(func() { l.dial(ctx, d) })
	}
	if _, err := netip.ParseAddrPort(address); err == nil || network == "unix" {
		begin() // nothing to look up
	} else {
		go begin()
	}
	return nil
}

// dialRoute returns the route of a connection that is to be dialed.
func dialRoute(e *Engine, h Handler, address string) (*route, error) {
	var err error
	if t, ok := h.(tlsHandler); ok {
		if err = t.check(); err == nil {
			t.cfg, err = clientConfig(t.cfg, address)
		}
		if err != nil {
			return nil, fmt.Errorf("sluice: dial %s: %w", address, err)
		}
		h = t
	}
	return newRoute(e, h, nil), nil
}

// resolve returns the addresses to try, at least one.
func resolve(ctx context.Context, network, address string) ([]net.Addr, error) {
	fail := func(err error) ([]net.Addr, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	ip := ""
	switch network {
	case "unix":
		if address == "" {
			break
		}
		return []net.Addr{&net.UnixAddr{Name: address, Net: network}}, nil
	case "tcp", "tcp4", "tcp6":
		ip = "ip" + network[len("tcp"):]
	default:
		return fail(fmt.Errorf("%w; it must be tcp, tcp4, tcp6 or unix", net.UnknownNetworkError(network)))
	}
	if address == "" {
		return fail(errors.New("the address is empty; write HOST:PORT, or a path for unix"))
	}
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return fail(err)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, network, service)
	if err != nil {
		return fail(err)
	}
	if host == "" {
		host = "localhost"
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, ip, host)
	if err != nil {
		return fail(err)
	}
	var addrs []net.Addr
	for _, a := range ips {
		addrs = append(addrs, net.TCPAddrFromAddrPort(netip.AddrPortFrom(a.Unmap(), uint16(port))))
	}
	if len(addrs) == 0 {
		return fail(fmt.Errorf("no address for %s", host))
	}
	return addrs, nil
}

// dial begins to connect.
func (l *eventLoop) dial(ctx context.Context, d *dialing) {
	if err := context.Cause(ctx); err != nil || l.stopping {
		if l.stopping {
			err = ErrEngineClosed
		}
		l.assigned.Add(-1)
		l.callDone(d, Conn{}, d.failed(err))
		return
	}
	ch, i := l.alloc()
	l.count.conns++
	c := ch.conn(i)
	s := c.slot()
	s.mu.Lock()
	s.state, s.fd = stateDialing, -1
	s.route = l.bind(d.route)
	c.act().dial = d
	s.mu.Unlock()
	d.unwatch = context.AfterFunc(ctx, func() { c.cancelDial(context.Cause(ctx)) })
	l.drv.Dial(driver.ID(ch.base+i), d.addrs[0])
}

// cancelDial gives up connecting.
func (c Conn) cancelDial(cause error) {
	s, err := c.lockAny()
	if err != nil {
		return
	}
	if s.state != stateDialing {
		s.mu.Unlock()
		return
	}
	c.abortLocked(s, cause)
}

// Connected takes the outcome of the driver's Dial.
func (l *eventLoop) Connected(id driver.ID, fd int, err error) {
	l.begin()
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	a := ch.part(i)
	d := a.dial
	if err != nil && len(d.addrs) > 1 && !a.ended {
		d.addrs = d.addrs[1:]
		s.mu.Unlock()
		l.drv.Dial(id, d.addrs[0])
		return
	}
	if err == nil && a.ended { // cancelled meanwhile
		d.unwatch()
		s.fd = int32(fd)
		l.shut(ch, i, s, true)
		return
	}
	if err != nil { // the driver has forgotten it already
		a.end(err)
		l.leaving(ch, i, s)
		s.flags |= flagGone
		l.settle(ch, i, s)
		return
	}
	if d.route.tls != nil {
		l.secure(ch, i, s, fd, d.route.tls, true)
		return
	}
	l.dialed(ch, i, s, fd)
}

// dialed opens a connection that was dialed, with s locked; it unlocks.
func (l *eventLoop) dialed(ch *chunk, i uint32, s *slot, fd int) {
	a := ch.part(i)
	d := a.dial
	d.unwatch()
	a.dial = nil
	c := ch.conn(i)
	l.opened(ch, i, s, fd)
	l.callDone(d, c, nil)
}

// failed describes why connecting failed.
func (d *dialing) failed(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		err = os.NewSyscallError("connect", errno)
	}
	return &net.OpError{Op: "dial", Net: d.network, Addr: d.addrs[0], Err: err}
}

// callDone tells the user of Dial the outcome.
func (l *eventLoop) callDone(d *dialing, c Conn, err error) {
	defer l.guard("Dial", c)
	d.done(c, err)
}
