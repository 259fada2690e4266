package sluice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

func TestAJobBlockedInAViewIsWokenHoweverItsConnectionEnds(t *testing.T) {
	ends := []struct {
		name string
		want error // of Read
		end  func(t *testing.T, w *world, e *Engine, c Conn, p peer)
	}{
		{"Reset", syscall.ECONNRESET, func(t *testing.T, w *world, e *Engine, c Conn, p peer) { w.reset(p) }},
		{"Abort", ErrAborted, func(t *testing.T, w *world, e *Engine, c Conn, p peer) { _ = c.Abort() }},
		{"Close", ErrClosed, func(t *testing.T, w *world, e *Engine, c Conn, p peer) { _ = c.Close() }},
		{"IdleTimeout", ErrIdleTimeout, func(t *testing.T, w *world, e *Engine, c Conn, p peer) {
			_ = c.SetIdleTimeout(20 * time.Millisecond)
		}},
		{"Shutdown", ErrClosed, func(t *testing.T, w *world, e *Engine, c Conn, p peer) {
			done := make(chan error, 1)
			go func() { done <- e.Shutdown(context.Background()) }()
			t.Cleanup(func() {
				if err := receive(t, "Shutdown", done); err != nil {
					t.Errorf("Shutdown: %v", err)
				}
			})
		}},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for _, tc := range ends {
			if tc.name == "Reset" && w.network == "unix" {
				tc.want = io.EOF // Unix sockets know no reset
			}
			t.Run(tc.name+"/Read", func(t *testing.T) {
				got := blockedJob(t, w, tc.end, func(nc net.Conn) error {
					_, err := nc.Read(make([]byte, 1))
					return err
				}, func(Conn) bool { return true })
				if !errors.Is(got, tc.want) {
					t.Errorf("Read: %v, not %v", got, tc.want)
				}
			})
			t.Run(tc.name+"/Write", func(t *testing.T) {
				got := blockedJob(t, w, tc.end, func(nc net.Conn) (err error) {
					for piece := make([]byte, 64<<10); err == nil; {
						_, err = nc.Write(piece)
					}
					return err
				}, Conn.AboveHighWater)
				if got == nil {
					t.Error("Write: no error")
				}
			})
		}
	})
}

func TestThoseBlockedInAViewAreWokenAsSoonAsShutdownBegins(t *testing.T) {
	for name, what := range map[string]func(net.Conn) error{
		"Read":  func(nc net.Conn) error { _, err := nc.Read(make([]byte, 1)); return err },
		"Write": func(nc net.Conn) error { _, err := nc.Write(make([]byte, 4<<20)); return err },
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t, Config{})
			conns := make(chan Conn, 1)
			s.connect(Funcs{Open: func(c Conn) { conns <- c }})
			c := receive(t, "OnOpen", conns)
			nc, err := c.NetConn()
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- what(nc) }()
			eventually(t, "it to block", func() bool { s.settle(); return name == "Read" || c.AboveHighWater() })
			s.eng.loops[0].closeAll(false)
			s.settle() // and the clock stands still
			if err := receive(t, "it to return", ended); !errors.Is(err, ErrClosed) {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
}

// blockedJob has an offloaded job call what blocks in its connection's view,
// ends the connection once blocks is true, and returns the job's error. It
// does so before it lets go of the peer.
func blockedJob(t *testing.T, w *world, end func(*testing.T, *world, *Engine, Conn, peer),
	what func(net.Conn) error, blocks func(Conn) bool) error {
	e := w.engine(t, Config{Loops: 1, HighWater: 64 << 10, LingerTimeout: time.Hour})
	conns, ended, closed := make(chan Conn, 1), make(chan error, 1), make(chan error, 1)
	ln := w.serve(t, e, w.ordered(t, Funcs{
		Open: func(c Conn) {
			_ = c.Offload(func(c Conn) {
				nc, err := c.NetConn()
				if err != nil {
					t.Error(err)
					return
				}
				defer nc.Close()
				_ = nc.SetDeadline(time.Now().Add(2 * bound)) // lets the engine end if the test has failed
				conns <- c
				ended <- what(nc)
			})
		},
		Close: func(c Conn, err error) { closed <- err },
	}))
	defer ln.Close()
	p := w.connect(t, ln)
	c := receive(t, "the job", conns)
	eventually(t, "the job to block", func() bool { return blocks(c) })
	time.Sleep(5 * time.Millisecond) // a Read cannot be seen to block
	end(t, w, e, c, p)
	err := receive(t, "the blocked job", ended)
	_ = p.Close()
	receive(t, "OnClose", closed)
	return err
}

// keepOpen does not close when the peer ends its direction.
type keepOpen struct{ Funcs }

func (keepOpen) OnEOF(Conn) {}

func TestAViewMadeJustAsTheStreamEndsGetsTheUnreadBytesFirst(t *testing.T) {
	s := newStepped(t, Config{})
	var c Conn
	p := s.connect(keepOpen{Funcs{Data: func(reader Conn, in *buffer.LinkBuffer) { c = reader }}})
	if _, err := p.TryWrite([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	s.settle()
	_ = p.CloseWrite()
	nc, err := c.NetConn() // as if called by another goroutine: the loop has still to attend to it
	if err != nil {
		t.Fatal(err)
	}
	// The reader comes between what the loop does to the view: a lock for which
	// somebody waits in vain is given in turn to those who wait.
	view, polled, read := nc.(*netConn), make(chan error, 1), make(chan string, 1)
	view.mu.Lock()
	go func() { polled <- s.eng.loops[0].drv.Poll(0) }()
	time.Sleep(10 * time.Millisecond)
	go func() {
		got, _ := io.ReadAll(nc)
		read <- string(got)
	}()
	time.Sleep(10 * time.Millisecond)
	view.mu.Unlock()
	view.mu.Lock()
	time.Sleep(10 * time.Millisecond)
	view.mu.Unlock()
	if err := receive(t, "the end to be reported", polled); err != nil {
		t.Fatal(err)
	}
	s.settle()
	if got := receive(t, "the reader", read); got != "hello" {
		t.Errorf("read %q", got)
	}
}

func TestAViewMadeByAnotherGoroutineLosesNothingToTheEndOfTheStream(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{Loops: 1})
		conns := make(chan Conn, 1)
		ln := w.serve(t, e, keepOpen{Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			if in.Len() == 5 { // which stay unread
				conns <- c
			}
		}}})
		for range 50 {
			p := w.connect(t, ln)
			if _, err := p.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			c := receive(t, "the bytes", conns)
			done := make(chan struct{})
			go func() {
				_ = p.CloseWrite()
				close(done)
			}()
			nc, err := c.NetConn()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(nc); string(got) != "hello" || err != nil {
				t.Fatalf("read %q, %v", got, err)
			}
			receive(t, "the peer", done)
			_ = nc.Close()
			_ = p.Close()
		}
	})
}

func TestAWriteOfAViewWaitsAtTheHighWaterMarkWhateverTheWriteLimit(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const mark = 256 << 10
		e := w.engine(t, Config{HighWater: mark, WriteLimit: mark, AbortOnLimit: true})
		c, p := w.pair(t, e, Funcs{})
		nc, err := c.NetConn()
		if err != nil {
			t.Fatal(err)
		}
		want := pattern(24 << 20) // more than the kernel takes
		wrote := make(chan error, 1)
		go func() {
			_, err := nc.Write(want)
			wrote <- errors.Join(err, nc.Close())
		}()
		eventually(t, "the high-water mark", func() bool { return c.AboveHighWater() || len(wrote) > 0 })
		if n := c.PendingWrite(); n > mark+copyMax {
			t.Errorf("%d bytes wait; the mark is %d", n, mark)
		}
		got, err := io.ReadAll(p)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes came, %v", len(got), len(want), err)
		}
		if err := receive(t, "Write", wrote); err != nil {
			t.Errorf("Write: %v", err)
		}
	})
}

func TestDetachAndNetConnExcludeEachOther(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		detached := make(chan *os.File, 1)
		fn := func(f *os.File, unread []byte, err error) { detached <- f }
		ln := w.serve(t, e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			first, _ := in.Next(1)
			switch first[0] {
			case 'd':
				if err := c.Detach(nil); err == nil {
					t.Error("Detach with a nil function")
				}
				if err := c.Detach(fn); err != nil {
					t.Errorf("Detach: %v", err)
				}
				if _, err := c.NetConn(); err == nil {
					t.Error("NetConn after Detach")
				}
			case 'n':
				nc, err := c.NetConn()
				if err != nil {
					t.Errorf("NetConn: %v", err)
				}
				if err := c.Detach(fn); err == nil {
					t.Error("Detach after NetConn")
				}
				_ = nc.Close()
			}
		}})
		p := w.connect(t, ln)
		if _, err := p.Write([]byte("n")); err != nil {
			t.Fatal(err)
		}
		if n, err := p.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("read %d bytes, %v", n, err)
		}
		if _, err := w.connect(t, ln).Write([]byte("d")); err != nil {
			t.Fatal(err)
		}
		if f := receive(t, "the descriptor", detached); f != nil { // there is none in a simulation
			f.Close()
		}
	})
}

func TestAViewTellsTheCauseOfAReset(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if w.network == "unix" {
			t.Skip("Unix sockets know no reset")
		}
		e := w.engine(t, Config{})
		closed := make(chan error, 1)
		c, p := w.pair(t, e, Funcs{Close: func(c Conn, err error) { closed <- err }})
		nc, err := c.NetConn()
		if err != nil {
			t.Fatal(err)
		}
		w.reset(p)
		receive(t, "OnClose", closed)
		for range 2 {
			if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("Read: %v", err)
			}
		}
		if err := nc.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := nc.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("Close again: %v", err)
		}
	})
}

func TestAViewWhoseTwoDirectionsHaveEndedIsReadAndClosedAsUsual(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		closed := make(chan error, 1)
		c, p := w.pair(t, e, Funcs{Close: func(c Conn, err error) { closed <- err }})
		nc, err := c.NetConn()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		_ = p.CloseWrite()
		if err := nc.(peer).CloseWrite(); err != nil {
			t.Errorf("CloseWrite: %v", err)
		}
		if err := receive(t, "OnClose", closed); err != nil {
			t.Errorf("OnClose got %v", err)
		}
		if got, err := io.ReadAll(nc); string(got) != "hello" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		if err := nc.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
}

func TestAViewReadsThoughReadingWasPausedBefore(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		c, p := w.pair(t, e, Funcs{Open: func(c Conn) { _ = c.PauseRead() }})
		nc, err := c.NetConn()
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := p.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = nc.SetReadDeadline(time.Now().Add(bound))
		if _, err := nc.Read(make([]byte, 1)); err != nil {
			t.Errorf("Read: %v", err)
		}
	})
}
