package sluice

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

func TestAJobThatWaitsHearsOfTheHangupHoweverItsConnectionEnds(t *testing.T) {
	ends := []struct {
		name string
		want error // of OnHangup and OnClose
		end  func(w *world, c Conn, p peer)
	}{
		{"Close", nil, func(w *world, c Conn, p peer) { _ = c.Close() }},
		{"Abort", ErrAborted, func(w *world, c Conn, p peer) { _ = c.Abort() }},
		{"Reset", syscall.ECONNRESET, func(w *world, c Conn, p peer) { w.reset(p) }},
		{"Deadline", ErrReadTimeout, func(w *world, c Conn, p peer) { _ = c.SetReadDeadline(time.Now()) }},
		{"Detach", ErrDetached, func(w *world, c Conn, p peer) { _ = detachAndClose(c) }},
		{"Panic", errTest, func(w *world, c Conn, p peer) { _ = c.Execute(func(Conn) { panic(errTest) }) }},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for _, tc := range ends {
			if tc.name == "Reset" && w.network == "unix" {
				continue // Unix sockets know no reset, and the peer's end is no hangup
			}
			t.Run(tc.name, func(t *testing.T) {
				e := w.engine(t, Config{Loops: 1})
				started, hangup, closed := make(chan Conn, 1), make(chan struct{}), make(chan error, 1)
				var cause error
				ln := w.serve(t, e, w.ordered(t, Funcs{
					Open: func(c Conn) { _ = c.Offload(func(Conn) { started <- c; <-hangup }) },
					Hangup: func(c Conn, err error) {
						cause = err
						if c.AboveHighWater() {
							t.Error("AboveHighWater in OnHangup")
						}
						if _, err := c.Write([]byte("late")); !errors.Is(err, ErrClosed) {
							t.Errorf("Write in OnHangup: %v", err)
						}
						close(hangup) // a second time panics
					},
					Close: func(c Conn, err error) { closed <- err },
				}))
				p := w.connect(t, ln)
				tc.end(w, receive(t, "the job", started), p)
				_ = p.CloseWrite()
				err := receive(t, "OnClose", closed)
				if !errors.Is(err, tc.want) || !errors.Is(cause, tc.want) {
					t.Errorf("OnHangup got %v, OnClose %v; want %v", cause, err, tc.want)
				}
			})
		}
	})
}

// floodFrom is a job that writes until something ends it, and waits whenever
// it is above the high-water mark, until awake says that this has changed.
func floodFrom(c Conn, awake <-chan struct{}) (err error) {
	for piece := make([]byte, 32<<10); err == nil; {
		for c.AboveHighWater() {
			<-awake
		}
		_, err = c.Write(piece)
	}
	return err
}

func TestAJobAboveTheHighWaterMarkIsWokenWhenThePeerGoes(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{Loops: 1, HighWater: 64 << 10})
		conns, awake := make(chan Conn, 1), make(chan struct{}, 1)
		ended, closed := make(chan error, 1), make(chan error, 1)
		wake := func() {
			select {
			case awake <- struct{}{}:
			default:
			}
		}
		ln := w.serve(t, e, w.ordered(t, Funcs{
			Open:   func(c Conn) { conns <- c; _ = c.Offload(func(c Conn) { ended <- floodFrom(c, awake) }) },
			Drain:  func(Conn) { wake() },
			Hangup: func(_ Conn, err error) { wake() },
			Close:  func(_ Conn, err error) { closed <- err },
		}))
		p := w.connect(t, ln)
		if _, err := io.ReadFull(p, make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the mark", receive(t, "OnOpen", conns).AboveHighWater)
		w.reset(p)
		if err := receive(t, "the job's end", ended); !errors.Is(err, net.ErrClosed) {
			t.Errorf("the job got %v", err)
		}
		if err := receive(t, "OnClose", closed); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestAJobThatWaitsForOnDrainAtTheHighWaterMarkSendsEverything(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const mark = 64 << 10
		e := w.engine(t, Config{Loops: 1, HighWater: mark})
		want := pattern(8 << 20)
		drained := make(chan struct{}, 1)
		result := make(chan int, 1) // how many bytes waited at most
		ln := w.serve(t, e, Funcs{
			Open: func(c Conn) {
				_ = c.Offload(func(c Conn) {
					most := 0
					defer func() { result <- most }()
					for rest := want; len(rest) > 0; {
						for c.AboveHighWater() {
							<-drained
						}
						n, err := c.Write(rest[:min(len(rest), 10_000)])
						if err != nil {
							t.Errorf("Write: %v", err)
							return
						}
						most = max(most, c.PendingWrite())
						rest = rest[n:]
					}
					_ = c.Close()
				})
			},
			Drain: func(c Conn) {
				if c.AboveHighWater() {
					t.Error("AboveHighWater in OnDrain")
				}
				select {
				case drained <- struct{}{}:
				default:
				}
			},
		})
		got, err := io.ReadAll(w.connect(t, ln))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d of %d bytes came, %v", len(got), len(want), err)
		}
		if most := receive(t, "the job's end", result); most > mark+10_000 {
			t.Errorf("%d bytes waited; the mark is %d", most, mark)
		}
	})
}

// On the simulated network the clock stands still: what waits for a deadline
// waits for ever.
func TestOnHangupDoesNotWaitForTheConnectionToEnd(t *testing.T) {
	for name, end := range map[string]func(c Conn, p *sim.Peer){
		"Close with bytes that nobody reads": func(c Conn, p *sim.Peer) {
			_, _ = c.Write(make([]byte, 4<<20))
			_ = c.Close()
		},
		"a failed send to a peer whose end was received": func(c Conn, p *sim.Peer) {
			_ = p.Close()
			for range 2 { // the first makes the peer's kernel answer with a reset
				_ = c.Execute(func(c Conn) { _, _ = c.WriteString("nobody reads") })
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStepped(t, Config{})
			conns, started, hangup, closed := make(chan Conn, 1), make(chan struct{}), make(chan struct{}), make(chan error, 1)
			p := s.connect(Funcs{
				Open:   func(c Conn) { conns <- c },
				EOF:    func(Conn) {},
				Hangup: func(Conn, error) { close(hangup) },
				Close:  func(_ Conn, err error) { closed <- err },
			})
			c := receive(t, "OnOpen", conns)
			_ = c.Offload(func(Conn) { close(started); <-hangup })
			s.settle()
			receive(t, "the job to start", started) // one that has not is dropped
			end(c, p)
			s.settle()
			receive(t, "OnHangup", hangup)
			if len(closed) > 0 {
				t.Error("the connection has ended")
			}
			_ = p.Close()
			eventually(t, "OnClose", func() bool { s.advance(time.Hour); return len(closed) > 0 })
		})
	}
}

func TestNoHangupIsReportedWhereNoJobIsUnfinishedOrThePeerOnlyEnded(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{Loops: 1})
		release, closed := make(chan struct{}), make(chan error, 1)
		var hangups atomic.Int64
		h := Funcs{
			Data: func(c Conn, in *buffer.LinkBuffer) {
				p, _ := in.Next(in.Len())
				switch p[0] {
				case 'j': // a job that answers after the peer's end
					_ = c.Offload(func(c Conn) { <-release; _, _ = c.WriteString("answer") })
				case 'v': // a job that waits in a view
					_ = c.Offload(func(c Conn) {
						nc, _ := c.NetConn()
						_, _ = nc.Read(make([]byte, 1))
						_ = nc.Close()
					})
				case 'c':
					_ = c.Close()
				}
			},
			Hangup: func(Conn, error) { hangups.Add(1) },
			Close:  func(_ Conn, err error) { closed <- err },
		}
		ln := w.serve(t, e, w.ordered(t, h))
		for _, what := range []string{"j", "v", "c"} {
			p := w.connect(t, ln)
			if _, err := io.WriteString(p, what); err != nil {
				t.Fatal(err)
			}
			if what == "j" {
				_ = p.CloseWrite()
				time.AfterFunc(20*time.Millisecond, func() { close(release) }) // the end comes first, as a rule
				if got, err := io.ReadAll(p); string(got) != "answer" || err != nil {
					t.Errorf("the answer after the peer's end is %q, %v", got, err)
				}
			}
			_ = p.CloseWrite()
			receive(t, "OnClose", closed)
		}
		if n := hangups.Load(); n != 0 {
			t.Errorf("OnHangup was called %d times", n)
		}
	})
}

// detachAndClose takes the descriptor away and closes it.
func detachAndClose(c Conn) error {
	return c.Detach(func(f *os.File, _ []byte, err error) {
		if f != nil {
			_ = f.Close()
		}
	})
}
