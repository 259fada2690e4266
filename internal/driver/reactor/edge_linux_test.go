package reactor

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// collector keeps what connection 0 receives.
type collector struct {
	got   bytes.Buffer
	reads int
	err   error
}

func (c *collector) handler() *handler {
	return &handler{received: func(_ driver.ID, _ *buffer.Block, p []byte, err error) {
		c.got.Write(p)
		c.reads++
		if err != nil {
			c.err = err
		}
	}}
}

// tcpPair returns the two ends of a connection over TCP, whose bytes arrive at
// once. The first belongs to the test.
func tcpPair(t *testing.T) (peer, fd int) {
	t.Helper()
	l, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(l)
	if peer, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(peer) })
	err = errors.Join(unix.Bind(l, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(l, 1))
	addr, nameErr := unix.Getsockname(l)
	if err = errors.Join(err, nameErr); err == nil {
		err = unix.Connect(peer, addr)
	}
	if err == nil {
		fd, _, err = unix.Accept4(l, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	}
	if err == nil {
		err = unix.SetNonblock(peer, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return peer, fd
}

// openTCP opens one end of a connection over TCP as 0 and returns the other.
func openTCP(t *testing.T, r *reactor) (peer int) {
	t.Helper()
	peer, fd := tcpPair(t)
	if _, err := r.Open(0, fd); err != nil {
		t.Fatal(err)
	}
	return peer
}

func TestWhatAFullReadLeavesIsReportedWithoutAnythingNew(t *testing.T) {
	var c collector
	r, _ := newReactor(t, c.handler())
	peer := openTCP(t, r)
	const size = 2*readSize + 100 // the last read is short
	write(t, peer, make([]byte, size))
	for range 3 {
		poll(t, r, 0)
	}
	if c.got.Len() != size || c.reads != 3 {
		t.Errorf("%d of %d bytes in %d reads", c.got.Len(), size, c.reads)
	}
}

func TestTheEndBehindBytesIsReportedWithoutAnythingNew(t *testing.T) {
	var c collector
	r, _ := newReactor(t, c.handler())
	peer := openTCP(t, r)
	write(t, peer, []byte("last words"))
	if err := unix.Shutdown(peer, unix.SHUT_WR); err != nil {
		t.Fatal(err)
	}
	poll(t, r, 0)
	poll(t, r, 0)
	if c.got.String() != "last words" || c.err != io.EOF {
		t.Errorf("got %q, %v", &c.got, c.err)
	}
}

// An event that comes while nobody wants it is not lost on whoever wants it
// before the poller was told.
func TestBytesReportedDuringAPauseComeAfterIt(t *testing.T) {
	var c collector
	h := c.handler()
	r, _ := newReactor(t, h)
	peer := openTCP(t, r)
	r.Pause(0)
	write(t, peer, []byte("patience"))
	poll(t, r, 0)
	r.Resume(0)
	poll(t, r, 0)
	if c.got.String() != "patience" {
		t.Errorf("got %q", &c.got)
	}
}

func TestRoomReportedTooEarlyIsReportedAgain(t *testing.T) {
	sent := 0
	r, _ := newReactor(t, &handler{sent: func(driver.ID, int, error) { sent++ }})
	peer := openTCP(t, r)
	fill := func() {
		for {
			if n, err := r.Send(0, [][]byte{make([]byte, readSize)}); n < readSize {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
		}
	}
	empty := func() {
		for n, err := 1, error(nil); n > 0 && err == nil; n, err = unix.Read(peer, make([]byte, readSize)) {
		}
	}
	fill()
	empty()
	poll(t, r, 0) // Sent; the registration is not changed yet
	fill()
	empty()
	poll(t, r, 0)
	if sent != 2 {
		t.Fatalf("told %d times of room", sent)
	}
	r.conns[0].watched |= writable // as if it had not been told yet
	c := &r.conns[0]
	if err := r.poller.modify(int(c.fd), c.token(0), readable, readable|writable); err != nil {
		t.Fatal(err)
	}
	r.loose = r.loose[:0]
	poll(t, r, 0) // nobody wants it
	if err := r.await(0, c, writable); err != nil {
		t.Fatal(err)
	}
	poll(t, r, 0)
	if sent != 3 {
		t.Errorf("told %d times of room, want 3", sent)
	}
}

// A read stops short before urgent data, whatever lies behind it.
func TestBytesBehindUrgentDataArrive(t *testing.T) {
	var c collector
	r, _ := newReactor(t, c.handler())
	peer, fd := tcpPair(t)
	for _, part := range []struct {
		text  string
		flags int
	}{{"before", 0}, {"!", unix.MSG_OOB}, {"behind", 0}} {
		if err := unix.Send(peer, []byte(part.text), part.flags); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Open(0, fd); err != nil { // all of it has come: no new event will help
		t.Fatal(err)
	}
	for range 4 {
		poll(t, r, 0)
	}
	if c.got.String() != "beforebehind" {
		t.Errorf("got %q in %d reads", &c.got, c.reads)
	}
}

// A read of a Unix socket stops short behind a descriptor that was passed.
func TestBytesBehindAPassedDescriptorArrive(t *testing.T) {
	var c collector
	r, _ := newReactor(t, c.handler())
	peer := pair(t, r, 0)
	if err := unix.Sendmsg(peer, []byte("a"), unix.UnixRights(peer), nil, 0); err != nil {
		t.Fatal(err)
	}
	write(t, peer, []byte("bcd"))
	for range 3 {
		poll(t, r, 0)
	}
	if c.got.String() != "abcd" {
		t.Errorf("got %q", &c.got)
	}
}
