package sim

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/sluice-go/sluice/internal/driver"
)

// listener is what is behind a listening descriptor or a PeerListener.
type listener struct {
	place   place
	options driver.ListenOptions
	backlog []uint32
	head    int         // of backlog: those before it are accepted
	by      []*acceptor // the drivers that accept from it
	arrived sync.Cond   // for PeerListener.Accept
	closed  bool
}

// acceptor is one driver's interest in a listener.
type acceptor struct {
	loop     *loop
	id       driver.ID
	listener *listener
	queued   bool // true exactly when it is on the ready list of loop
}

// Listen makes a listening descriptor. The network is "tcp", "tcp4", "tcp6" or
// "unix"; a host is an IP address, "localhost" or empty for all; port 0 gives
// a free one. A taken address gives syscall.EADDRINUSE.
func (n *Network) Listen(ctx context.Context, network, address string, o driver.ListenOptions) (fd int, addr net.Addr, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return -1, nil, listenError(network, nil, err)
	}
	if o.KeepAlive < 0 || o.KeepAlive > maxKeepAlive {
		return -1, nil, listenError(network, nil, os.NewSyscallError("setsockopt", syscall.EINVAL))
	}
	l, err := n.bind(network, address, o)
	if err != nil {
		return -1, nil, err
	}
	fd, err = n.descriptors.take(0)
	if err != nil {
		n.places.unbind(l)
		return -1, nil, listenError(network, l.place.addr(), os.NewSyscallError("socket", err))
	}
	n.descriptors.listeners[fd] = l
	return fd, l.place.addr(), nil
}

// Adopt fails with errors.ErrUnsupported, for a listener of package net is no
// part of a simulated network.
func (n *Network) Adopt(l net.Listener, o driver.ListenOptions) (int, error) {
	return -1, listenError(l.Addr().Network(), l.Addr(), errors.ErrUnsupported)
}

// bind makes a listener without a descriptor.
func (n *Network) bind(network, address string, o driver.ListenOptions) (*listener, error) {
	p, err := parse(network, address)
	if err != nil {
		return nil, listenError(network, nil, err)
	}
	l := &listener{options: o}
	l.arrived.L = &n.mu
	if err := n.places.bind(l, p); err != nil {
		return nil, listenError(network, p.addr(), os.NewSyscallError("bind", err))
	}
	return l, nil
}

func listenError(network string, a net.Addr, err error) error {
	return &net.OpError{Op: "listen", Net: network, Addr: a, Err: err}
}

// CloseListener closes a descriptor that Listen made. Connections that wait in
// its queue are reset.
func (n *Network) CloseListener(fd int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.descriptors.listeners[fd]
	if l == nil {
		n.violate("CloseListener of descriptor %d, which is no open listener", fd)
		return os.NewSyscallError("close", syscall.EBADF)
	}
	if len(l.by) > 0 {
		n.violate("CloseListener of descriptor %d while loop %d accepts from it", fd, l.by[0].loop.number)
		for len(l.by) > 0 {
			l.by[0].loop.forget(l.by[0])
		}
	}
	delete(n.descriptors.listeners, fd)
	n.descriptors.release(fd)
	n.shutListener(l)
	return nil
}

// shutListener takes l off the network and resets what waits in its queue.
func (n *Network) shutListener(l *listener) {
	n.places.unbind(l)
	l.closed = true
	for i, ok := n.pop(l); ok; i, ok = n.pop(l) {
		n.close(i, true)
	}
	l.arrived.Broadcast()
}

// reach connects end i, whose holder has set its state, to whoever listens at
// p. The other end is left waiting in the queue of the one that the seed
// chose; it is false if there is none.
func (n *Network) reach(i uint32, p place) bool {
	ls := n.places.listening(p)
	if len(ls) == 0 {
		return false
	}
	l := ls[0]
	if len(ls) > 1 {
		l = ls[n.rng.IntN(len(ls))]
	}
	e, other := n.ends.at(i), n.ends.at(i^1)
	e.place = n.places.unbound(p)
	other.place = n.places.numberOf(p)
	other.state = waiting
	l.backlog = append(l.backlog, i^1)
	l.arrived.Signal()
	for _, a := range l.by {
		a.touch()
	}
	return true
}

// pop takes the next waiting end from the queue of l. Those whose other end
// has reset the connection are dropped on the way.
func (n *Network) pop(l *listener) (uint32, bool) {
	for l.head < len(l.backlog) {
		i := l.backlog[l.head]
		if l.head++; l.head == len(l.backlog) {
			l.backlog, l.head = nil, 0
		}
		if n.ends.at(i).is(broken) {
			n.close(i, true)
			continue
		}
		return i, true
	}
	return 0, false
}

// unpop puts i back to the front of the queue of l.
func (l *listener) unpop(i uint32) {
	if l.head == 0 {
		l.backlog = append([]uint32{i}, l.backlog...)
		return
	}
	l.head--
	l.backlog[l.head] = i
}

// touch puts a on the ready list of its loop if connections wait.
func (a *acceptor) touch() {
	if !a.queued && len(a.listener.backlog) > 0 {
		a.queued = true
		a.loop.push(item{kind: acceptItem, n: uint32(a.id)})
	}
}

// accept gives the next waiting connection of acceptor a descriptor.
func (d *loop) accept(id driver.ID) event {
	n := d.net
	a := d.acceptor(id)
	if a == nil {
		return event{}
	}
	a.queued = false
	i, ok := n.pop(a.listener)
	if !ok {
		return event{}
	}
	fd, err := -1, error(syscall.EMFILE)
	if !n.chance(n.faults.AcceptFail) {
		fd, err = n.descriptors.take(i)
	}
	if err != nil {
		a.listener.unpop(i)
		d.forget(a)
		return event{kind: acceptedEvent, id: id, fd: -1, err: os.NewSyscallError("accept", err)}
	}
	e := n.ends.at(i)
	e.fd, e.state = int32(fd), accepted
	e.setNoDelay(a.listener.options.NoDelay)
	e.setKeepAlive(a.listener.options.KeepAlive)
	a.touch()
	return event{kind: acceptedEvent, id: id, fd: fd}
}
