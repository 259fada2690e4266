package sim

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/sluice-go/sluice/internal/driver"
)

// ErrWouldBlock is returned by the methods of Peer and PeerListener that would
// have to wait in stepped mode, where no one could end the wait.
var ErrWouldBlock = errors.New("sim: would block")

// Peer is the outside end of a connection: the client of a server under test,
// or the server of a client. It is a net.Conn; in live mode it may be used
// from any goroutine. It faces no faults but full buffers and resets.
type Peer struct {
	net        *Network
	i          uint32
	generation uint32
}

var _ net.Conn = (*Peer)(nil)

// Dial connects to whoever listens at addr, a *net.TCPAddr or *net.UnixAddr.
// The connection is made at once, whether or not it is ever accepted.
func (n *Network) Dial(addr net.Addr) (*Peer, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p := target(addr)
	if p.odd != "" {
		return nil, dialError(p, &net.AddrError{Err: "not a TCP or Unix address", Addr: p.odd})
	}
	i := n.pair(p.ap.IsValid())
	if n.places.silent(n.places.numberOf(p)) {
		n.ends.release(i)
		return nil, dialError(p, os.NewSyscallError("connect", syscall.ETIMEDOUT))
	}
	n.ends.at(i).state = outside
	if !n.reach(i, p) {
		n.ends.release(i)
		return nil, dialError(p, os.NewSyscallError("connect", syscall.ECONNREFUSED))
	}
	return &Peer{n, i, n.ends.at(i).generation}, nil
}

// end returns the end of p, or nil after it was closed.
func (p *Peer) end() *end {
	e := p.net.ends.at(p.i)
	if e.generation != p.generation || e.state != outside {
		return nil
	}
	return e
}

// TryRead reads what has arrived: 0, nil if nothing has.
func (p *Peer) TryRead(b []byte) (int, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return p.tryRead(b)
}

func (p *Peer) tryRead(b []byte) (int, error) {
	e := p.end()
	if e == nil {
		return 0, net.ErrClosed
	}
	if k := p.net.read(p.i, b); k > 0 || len(b) == 0 {
		return k, nil
	}
	switch {
	case e.is(broken):
		return 0, syscall.ECONNRESET
	case e.is(finished):
		return 0, io.EOF
	}
	return 0, nil
}

// TryWrite writes what fits at once: 0, nil if nothing does.
func (p *Peer) TryWrite(b []byte) (int, error) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	return p.tryWrite(b)
}

func (p *Peer) tryWrite(b []byte) (int, error) {
	if p.end() == nil {
		return 0, net.ErrClosed
	}
	return p.net.write(p.i, b)
}

// CloseWrite ends the direction to the other end, which finds EOF after the
// last byte.
func (p *Peer) CloseWrite() error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.end() == nil {
		return net.ErrClosed
	}
	p.net.finish(p.i)
	return nil
}

// Close ends the connection in good order; but as with TCP the other end sees
// a reset if bytes have arrived here that were not read.
func (p *Peer) Close() error { return p.close(false) }

// Reset ends the connection so that the other end sees a reset. Unix sockets
// know none; there it is Close.
func (p *Peer) Reset() error { return p.close(true) }

func (p *Peer) close(abort bool) error {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	e := p.end()
	if e == nil {
		return net.ErrClosed
	}
	p.net.close(p.i, abort && e.is(isTCP))
	return nil
}

// LocalAddr returns the address of this end, or nil after Close.
func (p *Peer) LocalAddr() net.Addr { return p.addr(0) }

// RemoteAddr returns the address of the other end, or nil after Close.
func (p *Peer) RemoteAddr() net.Addr { return p.addr(1) }

func (p *Peer) addr(side uint32) net.Addr {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.end() == nil {
		return nil
	}
	return p.net.places.at(p.net.ends.at(p.i ^ side).place).addr()
}

// PeerListener is an outside server. It is a net.Listener.
type PeerListener struct {
	net      *Network
	listener *listener
}

var _ net.Listener = (*PeerListener)(nil)

// ListenPeer lets an outside server listen, at an address as for Listen.
func (n *Network) ListenPeer(network, address string) (*PeerListener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l, err := n.bind(network, address, driver.ListenOptions{})
	if err != nil {
		return nil, err
	}
	return &PeerListener{n, l}, nil
}

// TryAccept returns the next connection, or nil, nil if none waits.
func (l *PeerListener) TryAccept() (*Peer, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	return l.tryAccept()
}

func (l *PeerListener) tryAccept() (*Peer, error) {
	if l.listener.closed {
		return nil, net.ErrClosed
	}
	i, ok := l.net.pop(l.listener)
	if !ok {
		return nil, nil
	}
	e := l.net.ends.at(i)
	e.state = outside
	return &Peer{l.net, i, e.generation}, nil
}

// Accept waits for the next connection.
func (l *PeerListener) Accept() (net.Conn, error) {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	for {
		if p, err := l.tryAccept(); p != nil || err != nil {
			if err != nil {
				return nil, err
			}
			return p, nil
		}
		if !l.net.live {
			return nil, ErrWouldBlock
		}
		l.listener.arrived.Wait()
	}
}

// Close ends listening. Connections that were not accepted are reset.
func (l *PeerListener) Close() error {
	l.net.mu.Lock()
	defer l.net.mu.Unlock()
	if l.listener.closed {
		return net.ErrClosed
	}
	l.net.shutListener(l.listener)
	return nil
}

// Addr returns the address of the listener.
func (l *PeerListener) Addr() net.Addr { return l.listener.place.addr() }
