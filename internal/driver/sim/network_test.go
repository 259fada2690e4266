package sim_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

func isErrno(err error, want syscall.Errno) bool { return errors.Is(err, want) }

func TestListenAddresses(t *testing.T) {
	n := sim.New(sim.Config{})
	for _, c := range []struct{ network, address, want string }{
		{"tcp", "127.0.0.1:80", "127.0.0.1:80"},
		{"tcp", "localhost:81", "127.0.0.1:81"},
		{"tcp6", "localhost:81", "[::1]:81"},
		{"tcp", ":82", "[::]:82"},
		{"tcp4", ":83", "0.0.0.0:83"},
		{"tcp6", "[::1]:82443", "82443"},
		{"tcp", "127.0.0.1:0", "127.0.0.1:32768"},
		{"tcp", "127.0.0.1:0", "127.0.0.1:32769"},
		{"unix", "/run/sluice", "/run/sluice"},
		{"unix", "", "missing path"},
		{"udp", "127.0.0.1:80", "unknown network udp"},
		{"tcp", "127.0.0.1", "missing port in address"},
		{"tcp", "127.0.0.1:http", "127.0.0.1:http: not a port"},
		{"tcp", "example.com:80", "example.com:80: not an IP address"},
		{"tcp4", "[::1]:80", "[::1]:80: not an address of tcp4"},
		{"tcp6", "127.0.0.1:80", "not an address of tcp6"},
		{"tcp", "192.0.2.1:80", "address not available"},
	} {
		_, addr, err := n.Listen(context.Background(), c.network, c.address, driver.ListenOptions{})
		got := ""
		if err != nil {
			got = strings.ReplaceAll(err.Error(), "cannot assign requested address", "address not available")
		} else {
			got = addr.String()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s %q: %s, want %s", c.network, c.address, got, c.want)
		}
	}
}

func TestATakenAddressIsRefused(t *testing.T) {
	for _, c := range []struct {
		network, first, second string
		reuse, taken           bool
	}{
		{"tcp", "127.0.0.1:80", "127.0.0.1:80", false, true},
		{"tcp", ":80", "127.0.0.1:80", false, true},
		{"tcp", "127.0.0.1:80", ":80", false, true},
		{"tcp", "127.0.0.1:80", "127.0.0.2:80", false, false},
		{"tcp", "127.0.0.1:80", "127.0.0.1:81", false, false},
		{"tcp", "0.0.0.0:80", "[::1]:80", false, false},
		{"tcp", "127.0.0.1:80", "127.0.0.1:80", true, false},
		{"unix", "a", "a", false, true},
		{"unix", "a", "b", false, false},
	} {
		n := sim.New(sim.Config{})
		fd, _, err := n.Listen(context.Background(), c.network, c.first, driver.ListenOptions{ReusePort: c.reuse})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = n.Listen(context.Background(), c.network, c.second, driver.ListenOptions{ReusePort: c.reuse})
		if isErrno(err, syscall.EADDRINUSE) != c.taken || err != nil != c.taken {
			t.Errorf("%s after %s: %v", c.second, c.first, err)
		}
		if err := n.CloseListener(fd); err != nil {
			t.Fatal(err)
		}
		if fd, _, err := n.Listen(context.Background(), c.network, c.first, driver.ListenOptions{ReusePort: c.reuse}); err != nil || fd != 3 {
			t.Errorf("%s after CloseListener: %d, %v", c.first, fd, err)
		}
	}
}

func TestListenHonoursItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := sim.New(sim.Config{}).Listen(ctx, "tcp", ":0", driver.ListenOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Listen: %v", err)
	}
}

func TestReusePortSharesConnections(t *testing.T) {
	e := newEar(t, sim.Config{})
	reuse := driver.ListenOptions{ReusePort: true}
	got := map[int]int{}
	var addr net.Addr
	var fds []int
	for range 3 {
		fd, a, err := e.net.Listen(context.Background(), "tcp", "127.0.0.1:90", reuse)
		if err != nil {
			t.Fatal(err)
		}
		addr, fds = a, append(fds, fd)
	}
	for range 300 {
		if _, err := e.net.Dial(addr); err != nil {
			t.Fatal(err)
		}
	}
	for i, fd := range fds {
		if err := e.d.Listen(1, fd); err != nil {
			t.Fatal(err)
		}
		before := len(e.accepted)
		e.poll()
		if got[i] = len(e.accepted) - before; got[i] < 50 {
			t.Errorf("listener %d got %d of 300 connections", i, got[i])
		}
		e.d.Unlisten(1)
	}
	if len(e.accepted) != 300 {
		t.Errorf("%d were accepted", len(e.accepted))
	}
	e.clean()
}

func TestAddressesOfBothEndsAgree(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, fd := e.connect(1)
	if e.d.LocalAddr(fd).String() != "127.0.0.1:80" || p.RemoteAddr().String() != "127.0.0.1:80" {
		t.Errorf("the server is at %v, for the peer at %v", e.d.LocalAddr(fd), p.RemoteAddr())
	}
	if e.d.RemoteAddr(fd).String() != p.LocalAddr().String() {
		t.Errorf("the peer is at %v, for the server at %v", p.LocalAddr(), e.d.RemoteAddr(fd))
	}
	q, _ := e.connect(2)
	if p.LocalAddr().String() == q.LocalAddr().String() {
		t.Error("two peers have one address")
	}
	if a := e.d.LocalAddr(e.listen); a.String() != "127.0.0.1:80" {
		t.Errorf("the listener is at %v", a)
	}
	e.clean()
}

func TestOptionsAreKept(t *testing.T) {
	n := sim.New(sim.Config{})
	e := &ear{t: t, net: n}
	e.d = e.another()
	fd, addr, err := n.Listen(context.Background(), "tcp6", "[::1]:80", driver.ListenOptions{NoDelay: true, KeepAlive: 1500 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	e.d.Listen(0, fd)
	e.addr = addr
	_, c := e.connect(1)
	if on, idle, err := n.Options(c); !on || idle != 2*time.Second || err != nil {
		t.Errorf("inherited: %v, %v, %v", on, idle, err)
	}
	if err := errors.Join(e.d.SetNoDelay(c, false), e.d.SetKeepAlive(c, 0)); err != nil {
		t.Error(err)
	}
	if on, idle, err := n.Options(c); on || idle != 0 || err != nil {
		t.Errorf("switched off: %v, %v, %v", on, idle, err)
	}
	if err := e.d.SetKeepAlive(c, -1); !isErrno(err, syscall.EINVAL) {
		t.Errorf("a negative time: %v", err)
	}
	e.clean()
}

func TestDialReachesPeersAndOwnListeners(t *testing.T) {
	e := newEar(t, sim.Config{})
	ln, err := e.net.ListenPeer("unix", "outside")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ln.TryAccept(); p != nil || err != nil {
		t.Errorf("TryAccept: %v, %v", p, err)
	}
	if _, err := ln.Accept(); err != sim.ErrWouldBlock {
		t.Errorf("Accept in stepped mode: %v", err)
	}
	e.d.Dial(1, ln.Addr())
	e.d.Dial(2, e.addr)
	e.poll()
	if len(e.connected) != 2 || len(e.accepted) != 1 || errors.Join(e.errs...) != nil {
		t.Fatalf("connected %v, accepted %v, %v", e.connected, e.accepted, e.errs)
	}
	p, err := ln.TryAccept()
	if p == nil || err != nil {
		t.Fatalf("TryAccept: %v, %v", p, err)
	}
	write(t, p, "from outside")
	if _, err := e.d.Open(3, e.accepted[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := e.d.Send(2, [][]byte{[]byte("from inside")}); err != nil {
		t.Fatal(err)
	}
	e.poll()
	if got := strings.Join(e.chunks, ""); len(got) != 23 || !strings.Contains(got, "from outside") || !strings.Contains(got, "from inside") {
		t.Errorf("received %q", e.chunks)
	}
	e.clean()
}

func TestDialsThatCannotSucceed(t *testing.T) {
	e := newEar(t, sim.Config{})
	for i, c := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 81}, "refused"},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 80}, "refused"},
		{&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}, `"127.0.0.1:0": not a TCP or Unix address`},
		{&net.UnixAddr{Name: "nobody", Net: "unix"}, "refused"},
		{&net.UnixAddr{Net: "unix"}, "not a TCP or Unix address"},
		{&net.UDPAddr{Port: 80}, `":80": not a TCP or Unix address`},
		{(*net.TCPAddr)(nil), "not a TCP or Unix address"},
		{nil, "(none): not a TCP or Unix address"},
	} {
		if _, err := e.net.Dial(c.addr); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("a peer dials %v: %v", c.addr, err)
		}
		e.d.Dial(1, c.addr)
		e.poll()
		if len(e.errs) != i+1 || e.errs[i] == nil || !strings.Contains(e.errs[i].Error(), c.want) {
			t.Fatalf("the driver dials %v: %v", c.addr, e.errs)
		}
	}
	if n := e.net.Descriptors(); n != 1 || len(e.closed) != 0 {
		t.Errorf("%d descriptors, closed %v", n, e.closed)
	}
	e.clean()
}

func TestSomeAddressesNeverAnswer(t *testing.T) {
	e := newEar(t, sim.Config{})
	silent := &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 80}
	e.d.Dial(1, silent)
	e.poll()
	if len(e.connected) != 0 || e.net.Descriptors() != 2 {
		t.Fatalf("connected %v", e.errs)
	}
	e.d.Shut(1, false)
	e.poll()
	if len(e.connected) != 0 || len(e.closed) != 1 || e.net.Descriptors() != 1 {
		t.Errorf("connected %v, closed %v", e.connected, e.closed)
	}
	if _, err := e.net.Dial(silent); !isErrno(err, syscall.ETIMEDOUT) {
		t.Errorf("a peer dials: %v", err)
	}
	e.clean()
}

func TestClosingAListenerResetsItsQueue(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, err := e.net.Dial(e.addr)
	if err != nil {
		t.Fatal(err)
	}
	e.d.Unlisten(0)
	if err := e.net.CloseListener(e.listen); err != nil {
		t.Fatal(err)
	}
	if _, err := p.TryRead(make([]byte, 1)); !isErrno(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads: %v", err)
	}
	if _, err := e.net.Dial(e.addr); !isErrno(err, syscall.ECONNREFUSED) {
		t.Errorf("a peer dials: %v", err)
	}
	e.clean()
}

func TestAPeerBlocksInLiveModeOnly(t *testing.T) {
	e := newEar(t, sim.Config{})
	p, _ := e.connect(1)
	if _, err := p.Read(make([]byte, 1)); err != sim.ErrWouldBlock {
		t.Errorf("Read: %v", err)
	}
	if n, err := p.Write(make([]byte, 100_000)); n != 64<<10 || err != sim.ErrWouldBlock {
		t.Errorf("Write: %d, %v", n, err)
	}
	if err := p.SetDeadline(time.Now()); !errors.Is(err, os.ErrNoDeadline) {
		t.Errorf("SetDeadline: %v", err)
	}
	p.Close()
	for name, err := range map[string]error{
		"Close": p.Close(), "Reset": p.Reset(), "CloseWrite": p.CloseWrite(), "SetDeadline": p.SetDeadline(time.Time{}),
	} {
		if err != net.ErrClosed {
			t.Errorf("%s after Close: %v", name, err)
		}
	}
}

// pipe makes two connected peers of a live network.
func pipe(t *testing.T) (client, server net.Conn) {
	n := sim.New(sim.Config{Live: true, BufferBytes: 1000})
	ln, err := n.ListenPeer("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = n.Dial(ln.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestPeersWaitForEachOther(t *testing.T) {
	client, server := pipe(t)
	var wg sync.WaitGroup
	wg.Go(func() {
		io.Copy(server, server)
		server.Close()
	})
	want := strings.Repeat("back and forth ", 2000)
	wg.Go(func() {
		io.WriteString(client, want)
		client.(*sim.Peer).CloseWrite()
	})
	got, err := io.ReadAll(client)
	wg.Wait()
	if string(got) != want || err != nil {
		t.Errorf("%d bytes came back, %v", len(got), err)
	}
}

func TestDeadlinesEndWaits(t *testing.T) {
	client, server := pipe(t)
	timeout := func(what string, err error) {
		t.Helper()
		if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
			t.Errorf("%s: %v", what, err)
		}
	}
	client.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
	_, err := client.Read(make([]byte, 1))
	timeout("Read", err)
	server.Write([]byte("x"))
	_, err = client.Read(make([]byte, 1))
	timeout("Read of what is there", err)

	client.SetDeadline(time.Time{})
	if n, err := client.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("Read without a deadline: %d, %v", n, err)
	}
	client.SetWriteDeadline(time.Now().Add(5 * time.Millisecond))
	n, err := client.Write(make([]byte, 5000))
	if timeout("Write", err); n != 1000 {
		t.Errorf("%d bytes were written", n)
	}
}

func TestADeadlineSetLaterAndCloseEndWaits(t *testing.T) {
	client, _ := pipe(t)
	for _, end := range []func(){
		func() { client.SetDeadline(time.Now()) },
		func() { client.Close() },
	} {
		client.SetDeadline(time.Time{})
		over := make(chan error)
		go func() {
			_, err := client.Read(make([]byte, 1))
			over <- err
		}()
		time.Sleep(2 * time.Millisecond)
		end()
		if err := <-over; err == nil {
			t.Error("Read returned without an error")
		}
	}
}

func TestAClosedPeerListenerEndsAccept(t *testing.T) {
	n := sim.New(sim.Config{Live: true})
	ln, err := n.ListenPeer("unix", "x")
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(2*time.Millisecond, func() { ln.Close() })
	if _, err := ln.Accept(); err != net.ErrClosed {
		t.Errorf("Accept: %v", err)
	}
	if err := ln.Close(); err != net.ErrClosed {
		t.Errorf("second Close: %v", err)
	}
}

func TestAHandlerThatDoesNotReturnLeavesTheNetworkUsable(t *testing.T) {
	e := newEar(t, sim.Config{})
	e.onAccepted = func(int) { panic("handler") }
	e.net.Dial(e.addr)
	func() {
		defer func() { recover() }()
		e.poll()
	}()
	if e.onAccepted = nil; e.net.Descriptors() != 2 {
		t.Error("nothing was accepted")
	}
	e.connect(1)
	e.clean()
}

func TestLoopsShareOneListener(t *testing.T) {
	e := newEar(t, sim.Config{})
	other := &ear{t: t, net: e.net}
	other.d = other.another()
	if err := other.d.Listen(0, e.listen); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := e.net.Dial(e.addr); err != nil {
			t.Fatal(err)
		}
		e.d.Poll(0)
		other.d.Poll(0)
	}
	if len(e.accepted) == 0 || len(e.accepted)+len(other.accepted) != 100 {
		t.Errorf("%d and %d were accepted", len(e.accepted), len(other.accepted))
	}
	e.clean()
}
