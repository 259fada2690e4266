package portable_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/portable"
)

// ear is a loop that opens what it accepts as connection 1 and remembers what
// it is told.
type ear struct {
	t        *testing.T
	system   *portable.System
	pool     buffer.Pool
	d        driver.Driver
	listen   int
	addr     net.Addr
	hold     bool // true exactly when accepted descriptors are not to be opened
	fds      []int
	received []byte
	ends     []error
	sent     int
	closed   int
}

func (e *ear) Accepted(_ driver.ID, fd int, err error) {
	if err != nil {
		e.t.Errorf("Accepted: %v", err)
		return
	}
	e.fds = append(e.fds, fd)
	if e.hold {
		return
	}
	if _, err := e.d.Open(1, fd); err != nil {
		e.t.Errorf("Open: %v", err)
	}
}

func (e *ear) Connected(driver.ID, int, error) { e.t.Error("Connected without Dial") }

func (e *ear) Received(_ driver.ID, _ *buffer.Block, p []byte, err error) {
	e.received = append(e.received, p...)
	if err != nil {
		e.ends = append(e.ends, err)
	}
}

func (e *ear) Sent(_ driver.ID, n int, err error) {
	if e.sent += n; err != nil {
		e.ends = append(e.ends, err)
	}
}

func (e *ear) Closed(driver.ID) { e.closed++ }

func newEar(t *testing.T, o driver.ListenOptions) *ear {
	e := &ear{t: t, system: portable.New()}
	var err error
	if e.d, err = e.system.New(e, &e.pool); err != nil {
		t.Fatal(err)
	}
	if e.listen, e.addr, err = e.system.Listen(context.Background(), "tcp", "127.0.0.1:0", o); err != nil {
		t.Fatal(err)
	}
	if err := e.d.Listen(0, e.listen); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.d.Close(); err != nil {
			t.Error(err)
		}
		if err := e.system.CloseListener(e.listen); err != nil {
			t.Error(err)
		}
		if n := e.pool.Live(); n != 0 {
			t.Errorf("%d blocks are left", n)
		}
	})
	return e
}

// until polls until cond holds.
func (e *ear) until(what string, cond func() bool) {
	e.t.Helper()
	for end := time.Now().Add(20 * time.Second); !cond(); {
		if err := e.d.Poll(10 * time.Millisecond); err != nil {
			e.t.Fatal(err)
		}
		if time.Now().After(end) {
			e.t.Fatalf("waited in vain for: %s", what)
		}
	}
}

func (e *ear) dial() *net.TCPConn {
	e.t.Helper()
	c, err := net.Dial("tcp", e.addr.String())
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// connect makes connection 1.
func (e *ear) connect() *net.TCPConn {
	e.t.Helper()
	c := e.dial()
	e.until("Accepted", func() bool { return len(e.fds) > 0 })
	return c
}

func TestSharingAPortIsRefusedClearly(t *testing.T) {
	_, _, err := portable.New().Listen(context.Background(), "tcp", "127.0.0.1:4711", driver.ListenOptions{ReusePort: true})
	if !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "127.0.0.1:4711") {
		t.Errorf("Listen: %v", err)
	}
}

func TestAListenerServesOneDriverAtATime(t *testing.T) {
	e := newEar(t, driver.ListenOptions{})
	if err := e.d.Listen(1, e.listen); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second Listen: %v", err)
	}
	other, err := e.system.New(e, &e.pool)
	if err != nil {
		t.Fatal(err)
	}
	e.d.Unlisten(0)
	if err := other.Listen(0, e.listen); err != nil {
		t.Errorf("Listen after Unlisten: %v", err)
	}
	if err := other.Close(); err != nil {
		t.Error(err)
	}
}

func TestAConnectionAcceptedBeforeUnlistenIsKept(t *testing.T) {
	e := newEar(t, driver.ListenOptions{})
	for range 20 {
		c := e.dial()
		time.Sleep(time.Millisecond) // mostly enough for it to be accepted
		e.d.Unlisten(0)
		if e.d.Poll(0); len(e.fds) != 0 {
			t.Fatal("accepted after Unlisten")
		}
		if err := e.d.Listen(0, e.listen); err != nil {
			t.Fatal(err)
		}
		e.until("Accepted", func() bool { return len(e.fds) == 1 })
		if got := e.d.RemoteAddr(e.fds[0]).String(); got != c.LocalAddr().String() {
			t.Errorf("accepted %s instead of %v", got, c.LocalAddr())
		}
		e.d.Shut(1, true)
		e.until("Closed", func() bool { return e.closed == 1 })
		e.fds, e.closed = nil, 0
	}
}

func TestACrowdAtAClosedListenerIsDropped(t *testing.T) {
	s := portable.New()
	e := &ear{t: t, system: s, hold: true}
	d, err := s.New(e, &e.pool)
	if err != nil {
		t.Fatal(err)
	}
	fd, addr, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", driver.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Listen(0, fd); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	time.Sleep(time.Millisecond)
	if err := errors.Join(d.Close(), s.CloseListener(fd)); err != nil {
		t.Fatal(err)
	}
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the peer reads: %v", err)
	}
	if err := s.CloseListener(fd); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second CloseListener: %v", err)
	}
}

func TestFileOwnsADetachedConnection(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("package net makes no files here")
	}
	e := newEar(t, driver.ListenOptions{})
	c := e.connect()
	e.d.Detach(1)
	e.until("Closed", func() bool { return e.closed == 1 })
	f, err := e.system.File(e.fds[0])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.system.File(e.fds[0]); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second File: %v", err)
	}
	nc, err := net.FileConn(f)
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(nc, "from the file"); err != nil {
		t.Error(err)
	}
	nc.Close()
	if got, err := io.ReadAll(c); string(got) != "from the file" || err != nil {
		t.Errorf("the peer read %q, %v", got, err)
	}
}

func TestAFileThatCannotBeMadeClosesTheConnection(t *testing.T) {
	if failAccept == nil {
		t.Skip("descriptors are not limited here")
	}
	e := newEar(t, driver.ListenOptions{})
	c := e.connect()
	e.d.Detach(1)
	e.until("Closed", func() bool { return e.closed == 1 })
	restore := failAccept(t)
	f, err := e.system.File(e.fds[0])
	restore()
	if f != nil || err == nil {
		t.Fatalf("File: %v, %v", f, err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads: %v", err)
	}
	if _, err := e.system.File(e.fds[0]); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a second File: %v", err)
	}
}

func TestCloseListenerRemovesTheSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := portable.New()
	fd, _, err := s.Listen(context.Background(), "unix", path, driver.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if err := s.CloseListener(fd); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after CloseListener: %v", err)
	}
}

func TestAnErrorHeldBackByPauseSurvivesAndIsDroppedByShut(t *testing.T) {
	for _, resume := range []bool{true, false} {
		e := newEar(t, driver.ListenOptions{})
		c := e.connect()
		e.d.Pause(1)
		c.CloseWrite()
		for range 5 {
			e.d.Poll(time.Millisecond)
		}
		if len(e.ends) != 0 {
			t.Fatalf("received %v while paused", e.ends)
		}
		if resume {
			e.d.Resume(1)
			e.until("EOF", func() bool { return len(e.ends) == 1 && e.ends[0] == io.EOF })
		}
		e.d.Shut(1, false)
		e.until("Closed", func() bool { return e.closed == 1 })
	}
}

func TestDetachWhilePausedReportsWhatWasRead(t *testing.T) {
	e := newEar(t, driver.ListenOptions{})
	c := e.connect()
	io.WriteString(c, "first ")
	e.until("the first bytes", func() bool { return len(e.received) == 6 })
	e.d.Pause(1)
	io.WriteString(c, "second")
	for range 5 {
		e.d.Poll(time.Millisecond)
	}
	if len(e.received) != 6 {
		t.Fatalf("received %q while paused", e.received)
	}
	e.d.Detach(1)
	e.until("Closed", func() bool { return e.closed == 1 })
	if _, err := e.d.Open(1, e.fds[0]); err != nil {
		t.Fatal(err)
	}
	e.until("all bytes", func() bool { return string(e.received) == "first second" })
}

func TestCallsOnWhatIsNotThereAreHarmless(t *testing.T) {
	e := newEar(t, driver.ListenOptions{})
	e.d.Pause(9)
	e.d.Resume(9)
	e.d.CloseWrite(9)
	e.d.Shut(9, true)
	e.d.Detach(9)
	if _, err := e.d.Send(9, [][]byte{{1}}); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Send: %v", err)
	}
	for _, fd := range []int{-1, 99, e.listen} {
		if _, err := e.d.Open(1, fd); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Open(%d): %v", fd, err)
		}
		if _, err := e.d.TryWrite(fd, nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("TryWrite(%d): %v", fd, err)
		}
		if n := e.d.Unsent(fd); n != 0 {
			t.Errorf("Unsent(%d): %d", fd, n)
		}
		if a := e.d.RemoteAddr(fd); a != nil {
			t.Errorf("RemoteAddr(%d): %v", fd, a)
		}
		if err := e.d.SetNoDelay(fd, true); !errors.Is(err, net.ErrClosed) {
			t.Errorf("SetNoDelay(%d): %v", fd, err)
		}
	}
	if err := e.d.Listen(3, 99); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Listen: %v", err)
	}
}

func TestOpenUnderANameInUseClosesTheDescriptor(t *testing.T) {
	e := newEar(t, driver.ListenOptions{})
	e.connect()
	e.hold = true
	c := e.dial()
	e.until("Accepted", func() bool { return len(e.fds) == 2 })
	if _, err := e.d.Open(1, e.fds[1]); !errors.Is(err, os.ErrExist) {
		t.Errorf("Open: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the peer reads: %v", err)
	}
}

func TestKeepAliveRefusesANegativeTime(t *testing.T) {
	e := newEar(t, driver.ListenOptions{KeepAlive: time.Minute})
	e.connect()
	if err := e.d.SetKeepAlive(e.fds[0], -time.Second); !errors.Is(err, os.ErrInvalid) {
		t.Errorf("SetKeepAlive: %v", err)
	}
}
