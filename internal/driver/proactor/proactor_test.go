//go:build linux

package proactor

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/drivertest"
	"github.com/sluice-go/sluice/internal/uring"
	"github.com/sluice-go/sluice/internal/uring/uringtest"
)

// small are rings that everything is too much for.
var small = sizes{submissions: 2, completions: 4, buffers: 2, bufferSize: 64}

// TestContractWithSmallRings runs the suite where there is always a buffer too
// few, the completion queue overflows and every operation fills the submissions.
func TestContractWithSmallRings(t *testing.T) {
	needed(t)
	drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
		return drivertest.Sockets(t, "tcp", newSystem(small))
	})
}

// TestContractWithoutWakesByTheRing runs the suite as before Linux 6.13.
func TestContractWithoutWakesByTheRing(t *testing.T) {
	needed(t)
	drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
		const sendMsgRing = 31
		if err := uringtest.Register(sendMsgRing); err != nil {
			t.Skip(err)
		}
		return drivertest.Sockets(t, "tcp", IOUring())
	})
}

// TestContractOfDirectDescriptors runs the suite with connections that are files
// of the ring.
func TestContractOfDirectDescriptors(t *testing.T) {
	if err := Direct().Probe(); err != nil {
		t.Skip(err)
	}
	drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
		f := drivertest.Sockets(t, "tcp", Direct())
		f.Opaque, f.TellsUnsent, f.SendsFiles = true, false, false
		return f
	})
}

// loop is the least that a driver reports to: it accepts, and keeps what comes.
type loop struct {
	t        *testing.T
	d        *proactor
	pool     buffer.Pool
	fds      []int
	received map[driver.ID][]byte
	ended    map[driver.ID]error
	sent     map[driver.ID]int
	closed   map[driver.ID]bool
	next     driver.ID
}

func (l *loop) Accepted(_ driver.ID, fd int, err error) {
	if err != nil {
		l.t.Errorf("accepting: %v", err)
		return
	}
	l.fds = append(l.fds, fd)
}
func (l *loop) Connected(driver.ID, int, error) {}
func (l *loop) Received(id driver.ID, _ *buffer.Block, p []byte, err error) {
	if l.received[id] = append(l.received[id], p...); err != nil {
		l.ended[id] = err
	}
}
func (l *loop) Sent(id driver.ID, n int, err error) { l.sent[id] += n }
func (l *loop) Closed(id driver.ID)                 { l.closed[id] = true }

// newLoop makes a driver of the given sizes that listens, and its address, for the
// time of the test.
func newLoop(t *testing.T, s sizes) (*loop, net.Addr) {
	t.Helper()
	l, addr, end := startLoop(t, s)
	t.Cleanup(end)
	return l, addr
}

// startLoop is newLoop with a function that ends it and looks for leaks.
func startLoop(t *testing.T, s sizes) (l *loop, addr net.Addr, end func()) {
	t.Helper()
	needed(t)
	sys := newSystem(s)
	l = &loop{t: t, received: map[driver.ID][]byte{}, ended: map[driver.ID]error{}, sent: map[driver.ID]int{}, closed: map[driver.ID]bool{}}
	d, err := sys.New(l, &l.pool)
	if err != nil {
		t.Fatal(err)
	}
	l.d = d.(*proactor)
	fd, addr, err := sys.Listen(t.Context(), "tcp", "127.0.0.1:0", driver.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Listen(0, fd); err != nil {
		t.Fatal(err)
	}
	return l, addr, func() {
		if err := errors.Join(d.Close(), sys.CloseListener(fd)); err != nil {
			t.Error(err)
		}
		if n := l.pool.Live(); n != 0 {
			t.Errorf("%d blocks are still out after Close", n)
		}
	}
}

// until polls until cond holds.
func (l *loop) until(what string, cond func() bool) {
	l.t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); {
		if time.Now().After(end) {
			l.t.Fatalf("waited in vain for %s", what)
		}
		if err := l.d.Poll(10 * time.Millisecond); err != nil {
			l.t.Fatal(err)
		}
	}
}

// connect makes an open connection and its peer.
func (l *loop) connect(addr net.Addr) (driver.ID, net.Conn) {
	l.t.Helper()
	p, err := net.Dial("tcp", addr.String())
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { p.Close() })
	l.until("a connection", func() bool { return len(l.fds) > 0 })
	id := l.next
	l.next++
	if _, err := l.d.Open(id, l.fds[0]); err != nil {
		l.t.Fatal(err)
	}
	l.fds = l.fds[1:]
	return id, p
}

// write has p write b, while nobody polls.
func (l *loop) write(p net.Conn, b []byte) {
	l.t.Helper()
	p.SetWriteDeadline(time.Now().Add(20 * time.Second))
	if _, err := p.Write(b); err != nil {
		l.t.Fatal(err)
	}
}

func TestWantOfBuffersLosesNothing(t *testing.T) {
	s := small
	s.completions = 1024 // so that buffers are what there is too little of
	l, addr := newLoop(t, s)
	want := map[driver.ID][]byte{}
	for i := range 50 {
		id, p := l.connect(addr)
		want[id] = bytes.Repeat([]byte{byte(i)}, 500)
		l.write(p, want[id])
		p.Close()
	}
	l.until("all ends", func() bool { return len(l.ended) == len(want) })
	for id := range want {
		if !bytes.Equal(l.received[id], want[id]) || l.ended[id] != io.EOF {
			t.Errorf("connection %d received %d bytes, then %v", id, len(l.received[id]), l.ended[id])
		}
	}
	if c := l.d.Counters(); c.Starved == 0 {
		t.Errorf("nobody starved: the test tests nothing; %+v", c)
	}
}

func TestCompletionQueueOverflowLosesNothing(t *testing.T) {
	s := small
	s.buffers = 1024
	l, addr := newLoop(t, s)
	want := map[driver.ID][]byte{}
	for i := range 50 {
		id, p := l.connect(addr)
		want[id] = bytes.Repeat([]byte{byte(i)}, 5000)
		l.write(p, want[id])
		p.Close()
	}
	l.until("all ends", func() bool { return len(l.ended) == len(want) })
	for id := range want {
		if !bytes.Equal(l.received[id], want[id]) {
			t.Errorf("connection %d received %d bytes", id, len(l.received[id]))
		}
	}
	if c := l.d.Counters(); c.Overflows == 0 {
		t.Errorf("it never overflowed: the test tests nothing; %+v", c)
	}
}

// TestPausedConnectionHoldsLittle has a peer send without end to a connection
// that is paused.
func TestPausedConnectionHoldsLittle(t *testing.T) {
	sys := IOUring().(*system)
	l, addr := newLoop(t, sys.sizes)
	id, p := l.connect(addr)
	l.d.Pause(id)
	sent := make(chan []byte, 1)
	go func() {
		var all []byte
		piece := make([]byte, 64<<10)
		p.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		for {
			for i := range piece {
				piece[i] = byte(rand.Uint32())
			}
			n, err := p.Write(piece)
			if all = append(all, piece[:n]...); err != nil {
				break
			}
		}
		p.(*net.TCPConn).CloseWrite()
		sent <- all
	}()
	most, all := int64(0), []byte(nil)
	l.until("the peer to be stopped", func() bool {
		most = max(most, l.pool.LiveBytes())
		select {
		case all = <-sent:
			return true
		default:
			return false
		}
	})
	ring := int64(sys.buffers * sys.bufferSize)
	if most > 2*ring || len(l.received[id]) > 0 {
		t.Errorf("held %d bytes, the ring has %d; received %d", most, ring, len(l.received[id]))
	}
	l.d.Resume(id)
	l.until("the end", func() bool { return l.ended[id] != nil })
	if !bytes.Equal(l.received[id], all) {
		t.Errorf("received %d of %d bytes, or others", len(l.received[id]), len(all))
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	l, addr, end := startLoop(t, IOUring().(*system).sizes)
	d := l.d
	_, idlePeer := l.connect(addr)
	full, fullPeer := l.connect(addr)
	if n, err := d.Send(full, [][]byte{make([]byte, 64<<20)}); n == 0 || err != nil {
		t.Fatal(n, err)
	}
	d.Dial(l.next, addr)
	waiting, err := net.Dial("tcp", addr.String()) // accepted by nobody
	if err != nil {
		t.Fatal(err)
	}
	defer waiting.Close()
	if err := d.Poll(0); err != nil {
		t.Fatal(err)
	}
	end()
	closeAll(l.fds)
	for name, p := range map[string]net.Conn{"idle": idlePeer, "full": fullPeer, "accepted by nobody": waiting} {
		p.SetDeadline(time.Now().Add(20 * time.Second))
		var timeout net.Error
		if _, err := io.Copy(io.Discard, p); errors.As(err, &timeout) && timeout.Timeout() {
			t.Errorf("the peer of the connection that is %s sees no end", name)
		}
	}
	if l.d.underWay != 0 {
		t.Errorf("%d operations are under way", l.d.underWay)
	}
}

func TestReportForAConnectionThatHasEndedFailsPoll(t *testing.T) {
	l, addr := newLoop(t, small)
	id, _ := l.connect(addr)
	l.d.Shut(id, false)
	l.until("Closed", func() bool { return l.closed[id] })
	l.d.completed(&uring.Completion{UserData: userData(receiving, 0, id)})
	if err := l.d.Poll(0); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("Poll: %v", err)
	}
	l.d.err = nil
}

func TestAddressIsFreeOnceUnlistenReturned(t *testing.T) {
	l, addr := newLoop(t, small)
	for range 20 {
		l.connect(addr)
		l.d.Unlisten(0)
		sys := newSystem(small)
		fd, other, err := sys.Listen(t.Context(), "tcp", "127.0.0.1:0", driver.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.d.Listen(0, fd); err != nil {
			t.Fatal(err)
		}
		l.connect(other)
		l.d.Unlisten(0)
		if err := sys.CloseListener(fd); err != nil {
			t.Fatal(err)
		}
		again, err := net.Listen("tcp", other.String())
		if err != nil {
			t.Fatalf("the address is still taken: %v", err)
		}
		again.Close()
		fd, addr, err = l.d.system.Listen(t.Context(), "tcp", "127.0.0.1:0", driver.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.d.system.CloseListener(fd)
		if err := l.d.Listen(0, fd); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnlistenTakesWhatAnotherUnlistenFound has clients of two listeners come
// while both end in one go.
func TestUnlistenTakesWhatAnotherUnlistenFound(t *testing.T) {
	l, addr := newLoop(t, small)
	fd, other, err := l.d.system.Listen(t.Context(), "tcp", "127.0.0.1:0", driver.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.d.system.CloseListener(fd)
	first := l.d.listeners[0].fd
	for round := range 50 {
		if err := l.d.Listen(1, fd); err != nil {
			t.Fatal(err)
		}
		if err := l.d.Poll(0); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			for _, a := range []net.Addr{addr, other} {
				p, err := net.Dial("tcp", a.String())
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
			}
		}
		l.d.Unlisten(driver.ID(round % 2))
		l.d.Unlisten(driver.ID(1 - round%2))
		before := len(l.fds)
		for range 5 {
			if err := l.d.Poll(0); err != nil {
				t.Fatal(err)
			}
		}
		if len(l.fds) != before {
			t.Fatal("Accepted after Unlisten")
		}
		if err := errors.Join(l.d.Listen(0, first), l.d.Listen(1, fd)); err != nil {
			t.Fatal(err)
		}
		l.until("those who waited", func() bool { return len(l.fds) == 6 })
		closeAll(l.fds)
		l.fds = nil
		l.d.Unlisten(1)
	}
}

func TestFullTableLeavesConnectionsTheirDescriptors(t *testing.T) {
	if err := Direct().Probe(); err != nil {
		t.Skip(err)
	}
	l, addr := newLoop(t, IOUring().(*system).sizes)
	table, err := newTable(l.d.ring)
	if err != nil {
		t.Fatal(err)
	}
	table.size = 2
	l.d.table = table
	for round := range 3 {
		var fixed int
		var ids []driver.ID
		for range 4 {
			id, p := l.connect(addr)
			if ids = append(ids, id); l.d.conns[id].fd&uring.Fixed != 0 {
				fixed++
			}
			l.write(p, []byte("hello"))
			l.until("what was written", func() bool { return len(l.received[id]) == 5 })
		}
		if n := l.d.Counters().Direct; fixed != table.size || n != int64(fixed) {
			t.Errorf("round %d: %d of 4 connections are in a table of %d, and %d are counted", round, fixed, table.size, n)
		}
		for _, id := range ids {
			l.d.Shut(id, round%2 == 0)
		}
		l.until("Closed", func() bool {
			for _, id := range ids {
				if !l.closed[id] {
					return false
				}
			}
			return true
		})
		if n := l.d.Counters().Direct; n != 0 {
			t.Errorf("round %d: %d direct connections are counted when none is left", round, n)
		}
	}
}

// TestDetachTellsThatTheConnectionBroke has the peer reset a connection that is
// being detached while the kernel is still receiving for it.
func TestDetachTellsThatTheConnectionBroke(t *testing.T) {
	for _, when := range []string{"open", "paused", "paused with bytes"} {
		l, addr := newLoop(t, IOUring().(*system).sizes)
		id, p := l.connect(addr)
		if when != "open" {
			l.d.Pause(id)
		}
		if when == "paused with bytes" {
			l.write(p, []byte("hello"))
			l.until("bytes to be held", func() bool { return l.d.held[id] != nil })
			l.write(p, []byte("world"))
		}
		fd, err := l.d.Detach(id)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.(*net.TCPConn).SetLinger(0); err != nil {
			t.Fatal(err)
		}
		p.Close()
		l.until("Closed", func() bool { return l.closed[id] })
		// What the driver did not take is there for the new owner.
		for n := 1; n > 0 && err == nil; {
			n, err = unix.Read(fd, make([]byte, 16))
		}
		if told := l.ended[id]; !errors.Is(told, unix.ECONNRESET) && !errors.Is(err, unix.ECONNRESET) {
			t.Errorf("%s: nobody was told that the connection broke: the driver said %v, reading %v", when, told, err)
		}
		if err := unix.Close(fd); err != nil {
			t.Error(err)
		}
	}
}

// TestPollReturnsThoughManyStayReadable has more connections with much to read
// than there is room for submissions.
func TestPollReturnsThoughManyStayReadable(t *testing.T) {
	s := small
	s.completions = 64
	l, addr := newLoop(t, s)
	const conns, much = 10, 512 << 10
	var peers []net.Conn
	total := func() (n int) {
		for _, p := range l.received {
			n += len(p)
		}
		return n
	}
	for range conns {
		_, p := l.connect(addr)
		l.write(p, make([]byte, 4*s.bufferSize)) // from then on it is polled
		peers = append(peers, p)
	}
	l.until("the first bytes", func() bool { return total() == conns*4*s.bufferSize })
	for _, p := range peers {
		go p.Write(make([]byte, much))
	}
	for want := total() + conns*much; total() < want; {
		before := total()
		if err := l.d.Poll(10 * time.Millisecond); err != nil {
			t.Fatal(err)
		}
		if n := total() - before; n > conns*readSize {
			t.Fatalf("one Poll brought %d bytes: more than one read of every connection", n)
		}
	}
}

func TestMisuseIsRefused(t *testing.T) {
	l, addr := newLoop(t, small)
	id, _ := l.connect(addr)
	if _, err := l.d.Send(id, [][]byte{[]byte("first")}); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(){
		"Send while another is unanswered": func() { l.d.Send(id, [][]byte{[]byte("second")}) }, // it might overtake the first
		"Detach while a Send is":           func() { l.d.Detach(id) },
		"Open of an id in use":             func() { l.d.Open(id, 0) },
		"Shut of nobody":                   func() { l.d.Shut(77, false) },
		"Listen under a name in use":       func() { l.d.Listen(0, 0) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
	l.until("the answer", func() bool { return l.sent[id] == 5 })
}
