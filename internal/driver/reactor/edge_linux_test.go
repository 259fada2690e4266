package reactor

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

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

func TestWhatAFullReadLeavesIsReportedWithoutAnythingNew(t *testing.T) {
	var c collector
	r, _ := newReactor(t, c.handler())
	peer := pair(t, r, 0)
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
	peer := pair(t, r, 0)
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
	peer := pair(t, r, 0)
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
	peer := pair(t, r, 0)
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
	if err := r.poller.modify(int(c.fd), newToken(0, c.generation), readable, readable|writable); err != nil {
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
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: l.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	served, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer served.Close()
	f, err := served.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dup, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(dup, true); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct {
		text  string
		flags int
	}{{"before", 0}, {"!", unix.MSG_OOB}, {"behind", 0}} {
		if err := unix.Send(fd, []byte(part.text), part.flags); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(20 * time.Millisecond) // all of it has come: no new event will help
	if err := r.Open(0, dup); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		poll(t, r, 0)
	}
	if c.got.String() != "beforebehind" {
		t.Errorf("got %q in %d reads", &c.got, c.reads)
	}
}
