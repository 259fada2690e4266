package sluice

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// tempFile makes a file with the given content.
func tempFile(t *testing.T, content []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if _, err := f.Write(content); err != nil {
		t.Fatal(err)
	}
	return f
}

// copyFile sends n bytes of f as SendFile's comment says, and returns how many
// of them SendFile sent itself.
func copyFile(c Conn, f *os.File, n int64, drained <-chan struct{}) (direct int64, err error) {
	if err := c.SetWaterMarks(0, 0, 1<<20); err != nil {
		return 0, err
	}
	piece := make([]byte, 4<<10)
	for off := int64(0); off < n; {
		for c.AboveHighWater() {
			<-drained
		}
		k, err := c.SendFile(f, off, n-off)
		if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			return direct, err
		}
		direct += k
		if off += k; k > 0 {
			continue
		}
		m, err := f.ReadAt(piece[:min(int64(len(piece)), n-off)], off)
		if err != nil {
			return direct, err
		}
		if _, err := c.Write(piece[:m]); err != nil {
			return direct, err
		}
		off += int64(m)
	}
	return direct, nil
}

func TestSendFileKeepsTheOrderWithWhatIsWritten(t *testing.T) {
	content := pattern(6 << 20)
	want := append(append([]byte("head"), content...), "tail"...)
	eachWorld(t, func(t *testing.T, w *world) {
		f := tempFile(t, content)
		drained, result := make(chan struct{}, 1), make(chan int64, 1)
		e := w.engine(t, Config{Loops: 1})
		ln := w.serve(t, e, w.ordered(t, Funcs{
			Open: func(c Conn) {
				_ = c.Offload(func(c Conn) {
					_, _ = c.WriteString("head")
					direct, err := copyFile(c, f, int64(len(content)), drained)
					if err != nil {
						t.Errorf("sending the file: %v", err)
					}
					_, _ = c.WriteString("tail")
					_ = c.Close()
					result <- direct
				})
			},
			Drain: func(Conn) {
				select {
				case drained <- struct{}{}:
				default:
				}
			},
		}))
		p := w.connect(t, ln)
		time.Sleep(20 * time.Millisecond) // for the kernel's room to be used up, as a rule
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes came, %v", len(got), len(want), err)
		}
		if direct := receive(t, "the job's end", result); direct < int64(len(content))/2 && w.name == "epoll" {
			t.Errorf("%d of %d bytes were sent from the file", direct, len(content))
		}
	})
}

func TestSendFileTellsWhatIsWrong(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		f := tempFile(t, pattern(1000))
		closed := make(chan error, 1)
		e := w.engine(t, Config{Loops: 1})
		c, p := w.pair(t, e, Funcs{Data: echo, Close: func(_ Conn, err error) { closed <- err }})
		for _, bad := range []struct {
			f      *os.File
			off, n int64
			want   error
		}{{nil, 0, 1, os.ErrInvalid}, {f, -1, 1, os.ErrInvalid}, {f, 0, -1, os.ErrInvalid}, {f, 1000, 1, io.ErrUnexpectedEOF}} {
			k, err := c.SendFile(bad.f, bad.off, bad.n)
			if k != 0 || !errors.Is(err, bad.want) && (w.real || !errors.Is(err, errors.ErrUnsupported)) {
				t.Errorf("SendFile of %d bytes at %d: %d, %v", bad.n, bad.off, k, err)
			}
		}
		if k, err := c.SendFile(f, 0, 0); k != 0 || err != nil {
			t.Errorf("SendFile of nothing: %d, %v", k, err)
		}
		mustEcho(t, p, []byte("as it was"))
		if !w.real {
			return
		}
		w.reset(p)
		var err error
		for end := time.Now().Add(bound); err == nil && time.Now().Before(end); {
			_, err = c.SendFile(f, 0, 1000)
		}
		if err == nil {
			t.Error("sending to a peer that has gone succeeds for ever")
		}
		if _, err := c.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Write after SendFile failed: %v", err)
		}
		receive(t, "OnClose", closed)
	})
}

// slowFile is a driver whose TrySendFile waits for the test, as for a slow disk.
type slowFile struct {
	driver.Driver
	entered, leave chan struct{}
	shut           atomic.Int64 // calls of Shut
	broken         atomic.Bool  // true exactly when Poll is to fail
}

func (d *slowFile) Poll(wait time.Duration) error {
	if d.broken.Load() {
		return errTest
	}
	return d.Driver.Poll(wait)
}

func (d *slowFile) TrySendFile(fd int, f *os.File, off int64, n int) (int, error) {
	d.entered <- struct{}{}
	<-d.leave
	p := make([]byte, n)
	n, _ = f.ReadAt(p, off)
	return d.TryWrite(fd, p[:n])
}

func (d *slowFile) Shut(id driver.ID, abort bool) {
	d.shut.Add(1)
	d.Driver.Shut(id, abort)
}

type slowFileSystem struct{ driver.System }

func (s slowFileSystem) New(h driver.Events, pool *buffer.Pool) (driver.Driver, error) {
	d, err := s.System.New(h, pool)
	return &slowFile{Driver: d, entered: make(chan struct{}), leave: make(chan struct{})}, err
}

// duringSendFile makes a connection on the simulated network, calls SendFile of
// 4 bytes, and do while it waits.
func duringSendFile(t *testing.T, h Funcs, do func(s *stepped, c Conn, d *slowFile)) (s *stepped, p *sim.Peer, sent int64, err error) {
	n := sim.New(sim.Config{Seed: 1})
	e, err := newEngine(Config{Loops: 1, Accept: AcceptPerLoop}, slowFileSystem{n}, func(*eventLoop) {})
	if err != nil {
		t.Fatal(err)
	}
	s = &stepped{t, n, e}
	conns := make(chan Conn, 1)
	h.Open = func(c Conn) { conns <- c }
	p = s.connect(h)
	c, d := receive(t, "OnOpen", conns), e.loops[0].drv.(*slowFile)
	f := tempFile(t, []byte("file"))
	done := make(chan struct{})
	go func() {
		defer close(done)
		sent, err = c.SendFile(f, 0, 4)
	}()
	receive(t, "TrySendFile", d.entered)
	do(s, c, d)
	s.settle()
	close(d.leave)
	receive(t, "SendFile", done)
	s.settle()
	return s, p, sent, err
}

func TestWhatIsAskedOfAConnectionDuringSendFileComesAfterIt(t *testing.T) {
	closed := make(chan error, 1)
	h := Funcs{Close: func(_ Conn, err error) { closed <- err }}
	s, p, sent, err := duringSendFile(t, h, func(s *stepped, c Conn, d *slowFile) {
		_, _ = c.WriteString(" and more")
		if err := c.Flush(); err != nil {
			t.Errorf("Flush: %v", err)
		}
		if k, err := c.SendFile(os.Stdin, 0, 1); k != 0 || err != nil {
			t.Errorf("another SendFile: %d, %v", k, err)
		}
		_ = c.Close()
	})
	if sent != 4 || err != nil {
		t.Errorf("SendFile: %d, %v", sent, err)
	}
	var buf [100]byte
	if n, err := p.TryRead(buf[:]); string(buf[:n]) != "file and more" || err != nil {
		t.Errorf("the peer got %q, %v", buf[:n], err)
	}
	if n, err := p.TryRead(buf[:]); n != 0 || err != io.EOF {
		t.Errorf("after it came %q, %v", buf[:n], err)
	}
	_ = p.Close()
	s.settle()
	if err := receive(t, "OnClose", closed); err != nil {
		t.Errorf("OnClose got %v", err)
	}
}

func TestTheDescriptorStaysOpenUntilSendFileHasReturned(t *testing.T) {
	closed := make(chan error, 1)
	h := Funcs{Close: func(_ Conn, err error) { closed <- err }}
	for name, cause := range map[string]error{"aborted": ErrAborted, "panicked": errTest, "timed out": ErrWriteTimeout} {
		t.Run(name, func(t *testing.T) {
			var driver *slowFile
			s, _, _, err := duringSendFile(t, h, func(s *stepped, c Conn, d *slowFile) {
				driver = d
				switch cause {
				case ErrAborted:
					_ = c.Abort()
				case errTest:
					_ = c.Execute(func(Conn) { panic(errTest) })
				case ErrWriteTimeout:
					_, _ = c.WriteString("waits")
					_ = c.SetWriteDeadline(time.Now())
				}
				s.advance(time.Hour)
				if n := d.shut.Load(); n != 0 || len(closed) != 0 {
					t.Errorf("%d calls of Shut, %d of OnClose", n, len(closed))
				}
				if _, err := c.SendFile(os.Stdin, 0, 1); !errors.Is(err, ErrClosed) {
					t.Errorf("another SendFile: %v", err)
				}
			})
			if err != nil {
				t.Errorf("SendFile: %v", err)
			}
			if err := receive(t, "OnClose", closed); !errors.Is(err, cause) {
				t.Errorf("OnClose got %v", err)
			}
			if n := driver.shut.Load(); n != 1 {
				t.Errorf("%d calls of Shut", n)
			}
			if v := s.net.Violations(); len(v) > 0 {
				t.Errorf("violations: %q", v)
			}
		})
	}
}

func TestALoopThatFailsWaitsForSendFile(t *testing.T) {
	w := simWorld(t, sim.Config{Live: true, Seed: 1})
	w.sys = slowFileSystem{w.sys}
	closed, sent := make(chan error, 1), make(chan error, 1)
	e := w.engine(t, Config{Loops: 1, Accept: AcceptPerLoop})
	c, _ := w.pair(t, e, Funcs{Close: func(_ Conn, err error) { closed <- err }})
	d, f := e.loops[0].drv.(*slowFile), tempFile(t, []byte("file"))
	go func() {
		_, err := c.SendFile(f, 0, 4)
		sent <- err
	}()
	receive(t, "TrySendFile", d.entered)
	d.broken.Store(true)
	_ = c.Wake() // the next Poll fails
	select {
	case err := <-closed:
		t.Errorf("OnClose came during SendFile, with %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(d.leave)
	if err := receive(t, "SendFile", sent); err != nil {
		t.Errorf("SendFile: %v", err)
	}
	if err := receive(t, "OnClose", closed); !errors.Is(err, errTest) {
		t.Errorf("OnClose got %v", err)
	}
}
