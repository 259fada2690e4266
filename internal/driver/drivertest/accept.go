package drivertest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/sluice-go/sluice/internal/driver"
)

func acceptedOnce(r *rig) {
	for i := range 5 {
		c, p := r.connect()
		r.exchange(c, p, string(rune('a'+i)))
	}
	r.settle()
	if len(r.arrived) > 0 {
		r.t.Errorf("%d connections were accepted that nobody made", len(r.arrived))
	}
}

// exchange sends message from p to c and back and checks that it is all that
// c receives meanwhile.
func (r *rig) exchange(c *conn, p net.Conn, message string) {
	r.t.Helper()
	before := len(c.received)
	r.write(p, []byte(message))
	c.receive(before + len(message))
	if got := string(c.received[before:]); got != message {
		r.t.Fatalf("received %q, want %q", got, message)
	}
	c.send([]byte(message))
	if got := r.read(p, len(message)); string(got) != message {
		r.t.Fatalf("the peer received %q, want %q", got, message)
	}
	c.sent()
}

// write writes b to the peer p.
func (r *rig) write(p net.Conn, b []byte) {
	r.t.Helper()
	r.during("the peer writes", func() error {
		_, err := p.Write(b)
		return err
	})
}

// read reads n bytes from the peer p.
func (r *rig) read(p net.Conn, n int) []byte {
	r.t.Helper()
	b := make([]byte, n)
	r.during("the peer reads", func() error {
		_, err := io.ReadFull(p, b)
		return err
	})
	return b
}

// end reads from the peer p, who is told nothing more, and returns what ends
// the connection for him.
func (r *rig) end(p net.Conn) (err error) {
	r.t.Helper()
	var n int
	r.during("the peer reads the end", func() error {
		n, err = p.Read(make([]byte, 1))
		return nil
	})
	if n > 0 {
		r.t.Errorf("the peer received a byte that nobody sent")
	}
	return err
}

// crowd makes n peers while the rig does not listen, so that they wait at the
// door together.
func (r *rig) crowd(n int) {
	r.t.Helper()
	r.unlisten(0)
	for range n {
		r.dial()
	}
}

func acceptCrowd(r *rig) {
	const n = 150
	r.crowd(n)
	for i, p := range r.peers {
		r.write(p, []byte{byte(i)})
	}
	r.listen(0)
	seen := map[byte]bool{}
	for range n {
		c := r.open(r.accept())
		c.receive(1)
		if len(c.received) != 1 || seen[c.received[0]] {
			r.t.Fatalf("received %v, expected one byte not seen before", c.received)
		}
		seen[c.received[0]] = true
	}
}

func openElsewhere(r *rig) {
	f := r.f
	f.Descriptors = nil // the first rig counts for both
	other := newLoop(r.t, f)
	p := r.dial()
	c := other.open(r.accept())
	other.exchange(c, p, "hello")
	other.exchange(c, p, "again")
}

func unlistenStops(r *rig) {
	r.crowd(3)
	r.onAccepted = func(int) { r.unlisten(1) }
	r.listen(1)
	r.open(r.accept())
	r.settle()
	r.onAccepted = nil
	if len(r.arrived) > 0 {
		r.t.Fatalf("%d connections were accepted after Unlisten", len(r.arrived))
	}
	r.listen(2)
	r.finds(r.dial())
}

// finds accepts until the connection to peer p is among the accepted.
func (r *rig) finds(p net.Conn) {
	r.t.Helper()
	r.write(p, []byte("fresh"))
	r.until("the fresh connection", func() bool {
		for _, fd := range r.arrived {
			r.open(fd)
		}
		r.arrived = nil
		for _, c := range r.conns {
			if string(c.received) == "fresh" {
				return true
			}
		}
		return false
	})
}

func unlistenUnknown(r *rig) {
	r.d.Unlisten(77)
	c, p := r.connect()
	r.exchange(c, p, "hello")
	r.unlisten(0)
	r.unlisten(0)
	r.settle()
}

func listenAgain(r *rig) {
	for range 3 {
		r.unlisten(0)
		r.listen(0)
		r.settle()
		c, p := r.connect()
		r.exchange(c, p, "hello")
	}
	r.crowd(5)
	r.onAccepted = func(int) {
		r.unlisten(0)
		r.listen(0)
	}
	r.listen(0)
	for range 5 {
		r.open(r.accept())
	}
	r.settle()
	if len(r.arrived) > 0 {
		r.t.Errorf("%d connections were accepted that nobody made", len(r.arrived))
	}
}

func acceptFails(r *rig) {
	if r.f.FailAccept == nil {
		r.t.Skip("the fixture cannot make accepting fail")
	}
	r.crowd(2)
	restore := sync.OnceFunc(r.f.FailAccept(r.t))
	defer restore()
	r.listen(0)
	r.until("an accept error", func() bool { return r.acceptErr != nil })
	if len(r.arrived) > 0 {
		r.t.Errorf("%d connections were accepted all the same", len(r.arrived))
	}
	r.settle() // another Accepted would be for what does not listen
	restore()
	r.listen(0)
	for i, p := range r.peers {
		r.write(p, []byte{byte(i)})
	}
	sum := 0
	for range r.peers {
		c := r.open(r.accept())
		c.receive(1)
		sum += int(c.received[0])
	}
	if sum != 1 {
		r.t.Error("the connections that waited were not all accepted")
	}
}

func acceptAborted(r *rig) {
	r.crowd(2)
	r.f.Reset(r.peers[0])
	r.listen(0)
	r.finds(r.peers[1])
	r.settle()
	if r.acceptErr != nil {
		r.t.Errorf("Accepted reported %v", r.acceptErr)
	}
}

func listenError(r *rig) {
	ctx := r.t.Context()
	fd, _, err := r.f.System.Listen(ctx, r.f.Network, r.addr.String(), driver.ListenOptions{})
	if err == nil {
		r.t.Fatalf("Listen made %d at an address that is in use", fd)
	}
	if !strings.Contains(err.Error(), r.addr.String()) {
		r.t.Errorf("the error does not name %v: %v", r.addr, err)
	}
	var unknown net.UnknownNetworkError
	if fd, _, err = r.f.System.Listen(ctx, "pigeon", "loft", driver.ListenOptions{}); err == nil {
		r.t.Fatalf("Listen made %d on a network that there is not", fd)
	} else if !errors.As(err, &unknown) || !strings.Contains(err.Error(), "pigeon") {
		r.t.Errorf("the error does not name the network: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if fd, _, err = r.f.System.Listen(ended, r.f.Network, r.f.Address, driver.ListenOptions{}); err == nil {
		r.t.Fatalf("Listen made %d though its context had ended", fd)
	} else if !errors.Is(err, context.Canceled) {
		r.t.Errorf("the error does not say that the context ended: %v", err)
	}
}

func adopt(r *rig) {
	ln, err := r.f.Listen()
	if err != nil {
		r.t.Fatalf("Fixture.Listen: %v", err)
	}
	defer ln.Close()
	switch ln.(type) {
	case *net.TCPListener, *net.UnixListener:
	default:
		if _, err := r.f.System.Adopt(ln, driver.ListenOptions{}); !errors.Is(err, errors.ErrUnsupported) {
			r.t.Errorf("Adopt of a %T: %v", ln, err)
		}
		return
	}
	for i := range 2 {
		fd, err := r.f.System.Adopt(ln, driver.ListenOptions{NoDelay: true, KeepAlive: time.Minute})
		if err != nil {
			r.t.Fatalf("Adopt: %v", err)
		}
		if err := r.d.Listen(1, fd); err != nil {
			r.t.Fatalf("Driver.Listen: %v", err)
		}
		r.listeners[1] = fd
		own := r.addr
		r.addr = ln.Addr()
		c, p := r.connect()
		r.addr = own
		r.exchange(c, p, string(rune('a'+i)))
		if got, want := r.d.LocalAddr(c.fd).String(), p.RemoteAddr().String(); got != want {
			r.t.Errorf("the connection's local address is %s, want %s", got, want)
		}
		r.unlisten(1)
		if err := r.f.System.CloseListener(fd); err != nil {
			r.t.Errorf("CloseListener: %v", err)
		}
	}
	var p, accepted net.Conn
	r.during("the listener goes on by itself", func() (err error) {
		if p, err = r.f.Dial(ln.Addr()); err == nil {
			accepted, err = ln.Accept()
		}
		return err
	})
	p.Close()
	accepted.Close()
}
