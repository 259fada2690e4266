//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sock

import (
	"bytes"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

// connectedPair makes a connected pair of non-blocking descriptors.
func connectedPair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
	}
	return fds[0], fds[1]
}

// drain reads all that has come.
func drain(t *testing.T, fd int) (all []byte) {
	t.Helper()
	for p := make([]byte, 64<<10); ; {
		n, err := Read(fd, p)
		if err == unix.EAGAIN {
			return all
		}
		if err != nil || n == 0 {
			t.Fatalf("Read: %d, %v", n, err)
		}
		all = append(all, p[:n]...)
	}
}

func TestWriterWritesPiecesInOrder(t *testing.T) {
	a, b := connectedPair(t)
	var w Writer
	for _, count := range []int{0, 1, 2, 3, piecesMax - 1, piecesMax, piecesMax + 1, 3*piecesMax + 7} {
		var bufs [][]byte
		for i := range count {
			bufs = append(bufs, bytes.Repeat([]byte{byte(i)}, i%4)) // every fourth is empty
		}
		want := bytes.Join(bufs, nil)
		n, rest, err := w.Write(a, bufs)
		if n != len(want) || rest || err != nil {
			t.Fatalf("%d pieces: %d of %d bytes, %v, %v", count, n, len(want), rest, err)
		}
		if got := drain(t, b); !bytes.Equal(got, want) {
			t.Fatalf("%d pieces arrived changed", count)
		}
	}
}

func TestWriterSaysWhatDoesNotFit(t *testing.T) {
	a, b := connectedPair(t)
	var w Writer
	piece := bytes.Repeat([]byte("0123456789"), 100_000)
	bufs := [][]byte{piece, piece, piece, piece}
	n, rest, err := w.Write(a, bufs)
	if n <= 0 || n >= 4*len(piece) || !rest || err != nil {
		t.Fatalf("a full socket: %d, %v, %v", n, rest, err)
	}
	if m, rest, err := w.Write(a, bufs[:1]); m != 0 || !rest || err != nil {
		t.Errorf("a socket that was full before: %d, %v, %v", m, rest, err)
	}
	if m, rest, err := w.Write(a, bufs); m != 0 || !rest || err != nil {
		t.Errorf("a socket that was full before: %d, %v, %v", m, rest, err)
	}
	if got := drain(t, b); !bytes.Equal(got, bytes.Join(bufs, nil)[:n]) {
		t.Error("what arrived is not what was written")
	}
}

func TestWritingToNobodyIsAnErrorAndNoSignal(t *testing.T) {
	a, b := connectedPair(t)
	unix.Close(b)
	if n, err := Write(a, []byte("x")); n != 0 || err != unix.EPIPE {
		t.Errorf("Write: %d, %v, want EPIPE", n, err)
	}
	var w Writer
	if n, rest, err := w.Write(a, [][]byte{{1}, {2}}); n != 0 || rest || err != unix.EPIPE {
		t.Errorf("Writer: %d, %v, %v, want EPIPE", n, rest, err)
	}
	if n, err := (Sockets{}).TryWrite(a, []byte("x")); n != 0 || !errors.Is(err, unix.EPIPE) {
		t.Errorf("TryWrite: %d, %v, want EPIPE", n, err)
	}
}

func TestReadTellsTheEndFromNothing(t *testing.T) {
	a, b := connectedPair(t)
	p := make([]byte, 10)
	if n, err := Read(a, p); n != 0 || err != unix.EAGAIN {
		t.Errorf("nothing has come: %d, %v", n, err)
	}
	unix.Shutdown(b, unix.SHUT_WR)
	if n, err := Read(a, p); n != 0 || err != nil {
		t.Errorf("the end has come: %d, %v", n, err)
	}
}

// connect connects to addr and waits for the outcome.
func connect(t *testing.T, addr net.Addr) (int, error) {
	t.Helper()
	fd, err := Connect(addr)
	if err != nil {
		return -1, err
	}
	t.Cleanup(func() { unix.Close(fd) })
	await(t, fd, unix.POLLOUT)
	return fd, Connected(fd, addr)
}

func TestConnectedSocketsKnowTheirAddresses(t *testing.T) {
	var d Descriptors
	for _, c := range [][2]string{
		{"tcp", "127.0.0.1:0"},
		{"tcp", "[::1]:0"},
		{"tcp", ":0"}, // both families
		{"unix", filepath.Join(shortDir(t), "s")},
	} {
		fd, addr, err := d.Listen(t.Context(), c[0], c[1], driver.ListenOptions{})
		if err != nil {
			t.Logf("%v: %v", c, err) // a machine without IPv6
			continue
		}
		defer d.CloseListener(fd)
		there, err := connect(t, addr)
		if err != nil {
			t.Errorf("Connect(%v): %v", addr, err)
			continue
		}
		await(t, fd, unix.POLLIN)
		here, err := NewAcceptor(fd).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(here)
		var s Sockets
		if a, b := s.LocalAddr(here), s.RemoteAddr(there); a.String() != b.String() || a.Network() != c[0] {
			t.Errorf("%v: %v here is %v there", c, a, b)
		}
		if a, b := s.RemoteAddr(here), s.LocalAddr(there); a.String() != b.String() {
			t.Errorf("%v: %v here is %v there", c, a, b)
		}
	}
	if a := (Sockets{}).LocalAddr(-1); a != nil {
		t.Errorf("LocalAddr of nothing is %v", a)
	}
	if a := (Sockets{}).RemoteAddr(-1); a != nil {
		t.Errorf("RemoteAddr of nothing is %v", a)
	}
}

func TestConnectErrorsNameTheAddress(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses := ln.Addr()
	ln.Close()
	for _, c := range []struct {
		addr net.Addr
		is   error
	}{
		{refuses, unix.ECONNREFUSED},
		{&net.UnixAddr{Name: filepath.Join(shortDir(t), "nobody"), Net: "unix"}, unix.ENOENT},
		{&net.UnixAddr{Name: "/" + strings.Repeat("n", 300), Net: "unix"}, unix.EINVAL},
		{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, nil},
		{&net.TCPAddr{IP: net.IP{1, 2, 3}, Port: 1}, nil},
		{&net.TCPAddr{IP: net.IPv6loopback, Zone: "no such zone", Port: 1}, nil},
	} {
		_, err := connect(t, c.addr)
		var op *net.OpError
		if !errors.As(err, &op) || op.Addr != c.addr || c.is != nil && !errors.Is(err, c.is) {
			t.Errorf("Connect(%v): %v, want %v", c.addr, err, c.is)
		}
	}
	if _, err := Connect(nil); err == nil {
		t.Error("Connect(nil) made a connection")
	}
}

func TestSocketConnectedToItselfIsRefused(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr := Sockets{}.LocalAddr(fd)
	self, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Connect(fd, self); err != nil {
		t.Skipf("this system does not connect a socket to itself: %v", err)
	}
	if err := Connected(fd, addr); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("Connected: %v, want refused", err)
	}
}

func TestAbortIsSeenAsAReset(t *testing.T) {
	var d Descriptors
	fd, addr := listen(t, &d, "tcp", "127.0.0.1:0", driver.ListenOptions{})
	for _, abort := range []bool{false, true} {
		peer, err := net.Dial("tcp", addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		await(t, fd, unix.POLLIN)
		c, err := NewAcceptor(fd).Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := Close(c, abort); err != nil {
			t.Error(err)
		}
		if _, err := peer.Read(make([]byte, 1)); (err == io.EOF) == abort {
			t.Errorf("after Close(%v) the peer reads %v", abort, err)
		}
	}
	if err := Close(-1, true); !errors.Is(err, unix.EBADF) {
		t.Errorf("Close(-1): %v", err)
	}
}

func TestOptionsOfWhatIsNotTCPDoNothing(t *testing.T) {
	a, _ := connectedPair(t)
	var s Sockets
	if err := s.SetNoDelay(a, true); err != nil {
		t.Errorf("SetNoDelay: %v", err)
	}
	if err := s.SetKeepAlive(a, time.Minute); err != nil {
		t.Errorf("SetKeepAlive: %v", err)
	}
	if err := s.SetNoDelay(-1, true); !errors.Is(err, unix.EBADF) {
		t.Errorf("SetNoDelay of nothing: %v", err)
	}
	if err := s.SetKeepAlive(-1, time.Minute); !errors.Is(err, unix.EBADF) {
		t.Errorf("SetKeepAlive of nothing: %v", err)
	}
}

func TestZonesHaveNamesAndNumbers(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil || len(interfaces) == 0 {
		t.Skip("there are no interfaces")
	}
	i := interfaces[0]
	if got := zone(uint32(i.Index)); got != i.Name {
		t.Errorf("zone(%d) = %q, want %q", i.Index, got, i.Name)
	}
	if got, err := zoneID(i.Name); err != nil || got != uint32(i.Index) {
		t.Errorf("zoneID(%q) = %d, %v, want %d", i.Name, got, err, i.Index)
	}
	if got, err := zoneID(zone(987654)); err != nil || got != 987654 {
		t.Errorf("a zone without an interface became %d, %v", got, err)
	}
}
