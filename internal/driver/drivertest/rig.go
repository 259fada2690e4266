package drivertest

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// patience bounds what should happen at once, so that a driver that loses an
// event fails its test instead of hanging it.
const patience = 20 * time.Second

// rig is an event loop as small as can be: one driver, its connections, and
// what the contract says they may be told.
type rig struct {
	t    *testing.T
	f    Fixture
	pool buffer.Pool
	d    driver.Driver

	polling   bool // true exactly while Poll runs
	listeners map[driver.ID]int
	conns     map[driver.ID]*conn
	free      []driver.ID // ids to be used again, the latest first
	arrived   []int       // accepted descriptors that nobody has opened yet
	acceptErr error

	listenFd   int
	addr       net.Addr
	onAccepted func(fd int)

	peers    []net.Conn
	baseline int
}

// newLoop makes a rig that has no listener.
func newLoop(t *testing.T, f Fixture) *rig {
	r := &rig{
		t: t, f: f, listenFd: -1,
		listeners: map[driver.ID]int{},
		conns:     map[driver.ID]*conn{},
	}
	if f.Descriptors != nil {
		warmUp(t, f)
		r.baseline = f.Descriptors()
	}
	d, err := f.System.New(events{r}, &r.pool)
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	r.d = d
	t.Cleanup(r.finish)
	return r
}

// newRig makes a rig that listens.
func newRig(t *testing.T, f Fixture) *rig {
	r := newLoop(t, f)
	var err error
	r.listenFd, r.addr, err = f.System.Listen(context.Background(), f.Network, f.Address, driver.ListenOptions{NoDelay: true})
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	r.listen(0)
	return r
}

// warmUp opens what the standard library opens once and keeps, so that
// counting descriptors counts the driver's alone.
func warmUp(t *testing.T, f Fixture) {
	ln, err := f.Listen()
	if err != nil {
		t.Fatalf("Fixture.Listen: %v", err)
	}
	ln.Close()
}

func (r *rig) listen(l driver.ID) {
	r.t.Helper()
	if err := r.d.Listen(l, r.listenFd); err != nil {
		r.t.Fatalf("Driver.Listen: %v", err)
	}
	r.listeners[l] = r.listenFd
}

func (r *rig) unlisten(l driver.ID) {
	r.d.Unlisten(l)
	delete(r.listeners, l)
}

// finish ends what is still open and checks that nothing is left over.
func (r *rig) finish() {
	for _, p := range r.peers {
		defer p.Close()
	}
	if r.t.Failed() || r.d == nil {
		// The driver cannot be trusted to finish in order.
		if r.d != nil {
			r.d.Close()
		}
		return
	}
	for _, c := range r.conns {
		if c.state == dialing || c.state == open {
			c.shut(false)
		}
	}
	r.until("Closed of every connection", func() bool { return len(r.conns) == 0 })
	r.closeDriver()
}

// closeDriver ends the driver and looks for leaks.
func (r *rig) closeDriver() {
	r.t.Helper()
	r.stop()
	r.left()
}

// stop ends the driver, whatever it is doing.
func (r *rig) stop() {
	r.t.Helper()
	if err := r.d.Close(); err != nil {
		r.t.Errorf("Close: %v", err)
	}
	r.d = nil
	if r.listenFd >= 0 {
		if err := r.f.System.CloseListener(r.listenFd); err != nil {
			r.t.Errorf("CloseListener: %v", err)
		}
	}
}

// left checks that nothing is left over after stop.
func (r *rig) left() {
	r.t.Helper()
	for _, fd := range r.arrived {
		r.t.Errorf("descriptor %d was accepted and never opened by the test", fd)
	}
	if n := r.pool.Live(); n != 0 {
		r.t.Errorf("%d blocks are still out after Close", n)
	}
	for _, p := range r.peers {
		p.Close()
	}
	if r.f.Descriptors == nil {
		return
	}
	// Closing a net.Conn ends a moment later if a goroutine just left it.
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		n := r.f.Descriptors()
		if n <= r.baseline {
			return
		}
		if time.Now().After(end) {
			r.t.Errorf("%d descriptors are open, %d were before", n, r.baseline)
			return
		}
	}
}

func (r *rig) poll(wait time.Duration) {
	r.t.Helper()
	r.polling = true
	err := r.d.Poll(wait)
	r.polling = false
	if err != nil {
		r.t.Fatalf("Poll: %v", err)
	}
}

// until polls until cond holds. Whoever makes cond true outside a report must
// wake the driver.
func (r *rig) until(what string, cond func() bool) {
	r.t.Helper()
	var late atomic.Bool
	d := r.d
	defer time.AfterFunc(patience, func() {
		late.Store(true)
		d.Wake()
	}).Stop()
	for !cond() {
		r.poll(-1)
		if late.Load() {
			r.t.Fatalf("waited %v in vain for: %s", patience, what)
		}
	}
}

// polls polls once, without help from outside.
func (r *rig) polls(wait time.Duration) {
	r.t.Helper()
	once := false
	r.until("Poll returns", func() bool {
		if once {
			return true
		}
		once = true
		r.poll(wait)
		return true
	})
}

// during polls while do runs beside it, as the outside world.
func (r *rig) during(what string, do func() error) {
	r.t.Helper()
	d := r.d
	var over atomic.Bool
	result := make(chan error, 1)
	go func() {
		result <- do()
		over.Store(true)
		d.Wake()
	}()
	r.until(what, over.Load)
	if err := <-result; err != nil {
		r.t.Fatalf("%s: %v", what, err)
	}
}

// settle gives the driver the time to report what it should not.
func (r *rig) settle() {
	r.t.Helper()
	for range 5 {
		r.poll(0)
	}
	for range 3 {
		r.poll(3 * time.Millisecond)
	}
}

// dial makes an outside peer.
func (r *rig) dial() net.Conn {
	r.t.Helper()
	var p net.Conn
	r.during("an outside peer connects", func() (err error) {
		p, err = r.f.Dial(r.addr)
		return err
	})
	r.peers = append(r.peers, p)
	return p
}

// connect makes a peer and the open connection that leads to it.
func (r *rig) connect() (*conn, net.Conn) {
	r.t.Helper()
	p := r.dial()
	return r.open(r.accept()), p
}

// accept returns the next accepted descriptor.
func (r *rig) accept() int {
	r.t.Helper()
	r.until("Accepted", func() bool { return len(r.arrived) > 0 })
	fd := r.arrived[0]
	r.arrived = r.arrived[1:]
	return fd
}

// open opens fd under the id that was freed last, or else a new one.
func (r *rig) open(fd int) *conn {
	r.t.Helper()
	c := r.newConn(open)
	var err error
	if c.fd, err = r.d.Open(c.id, fd); err != nil {
		r.t.Fatalf("Open: %v", err)
	}
	return c
}

// startDial begins Driver.Dial.
func (r *rig) startDial(addr net.Addr) *conn {
	c := r.newConn(dialing)
	r.d.Dial(c.id, addr)
	return c
}

func (r *rig) newConn(s state) *conn {
	id := driver.ID(len(r.conns))
	if n := len(r.free); n > 0 {
		id, r.free = r.free[n-1], r.free[:n-1]
	}
	c := &conn{r: r, id: id, fd: -1, state: s}
	if r.conns[id] != nil {
		panic("drivertest: id is taken")
	}
	r.conns[id] = c
	return c
}

// forget frees the id of c.
func (r *rig) forget(c *conn) {
	c.state = closed
	delete(r.conns, c.id)
	r.free = append(r.free, c.id)
}
