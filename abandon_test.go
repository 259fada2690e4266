package sluice

import (
	"errors"
	"log/slog"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// failingEngine starts an engine whose only loop's driver fails when it is told
// to, by what it returns.
func failingEngine(t *testing.T, of driver.System) (*Engine, func()) {
	t.Helper()
	sys := &failing{System: of}
	cfg := Config{Loops: 1, Accept: AcceptPerLoop, Logger: slog.New(slog.DiscardHandler)}
	e, err := newEngine(cfg, sys, func(l *eventLoop) { go l.run() })
	if err != nil {
		t.Fatal(err)
	}
	return e, func() {
		sys.fail.Store(true)
		e.loops[0].do(func() {})
	}
}

func TestOnCloseWaitsForAJobAlsoWhenTheDriverFails(t *testing.T) {
	w := simWorld(t, sim.Config{Live: true, Seed: 1})
	e, fail := failingEngine(t, w.sys)
	conns, beside := make(chan Conn, 1), make(chan bool, 1)
	var running atomic.Bool
	ln := w.serve(t, e, Funcs{
		Open:  func(c Conn) { conns <- c },
		Close: func(Conn, error) { beside <- running.Load() },
	})
	w.connect(t, ln)
	c := receive(t, "OnOpen", conns)
	started, failed := make(chan struct{}), make(chan struct{})
	err := c.Offload(func(Conn) {
		running.Store(true)
		close(started)
		<-failed
		executed := make(chan struct{})
		e.loops[0].do(func() { close(executed) })
		<-executed
		running.Store(false)
	})
	if err != nil {
		t.Fatal(err)
	}
	receive(t, "the job", started)
	fail()
	eventually(t, "the failure", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.err != nil
	})
	close(failed)
	if receive(t, "OnClose", beside) {
		t.Error("OnClose was called while a job was running")
	}
	if err := e.Wait(); !errors.Is(err, errTest) {
		t.Errorf("Wait: %v", err)
	}
}

// detachNow asks for c's descriptor and has the driver let go of it; then, before
// the driver has said that it did, it calls next on the loop. It returns what the
// asker is told in the end.
func detachNow(t *testing.T, c Conn, next func(l *eventLoop, id driver.ID)) (f *os.File, err error) {
	t.Helper()
	done := make(chan struct{})
	l := c.ch.loop
	l.do(func() {
		asked := c.Detach(func(g *os.File, _ []byte, e error) {
			f, err = g, e
			close(done)
		})
		if asked != nil {
			t.Error(asked)
		}
		id := c.ch.base + uint32(c.key&slotMask)
		l.attend(id)
		next(l, driver.ID(id))
	})
	receive(t, "the outcome of Detach", done)
	return f, err
}

func TestDetachFailsIfTheConnectionBreaksMeanwhile(t *testing.T) {
	for _, sys := range nativeSystems() {
		t.Run(sys.Name(), func(t *testing.T) {
			w := realWorld(t, sys, "tcp")
			e := w.engine(t, Config{Loops: 1})
			conns := make(chan Conn, 1)
			ln := w.serve(t, e, Funcs{Open: func(c Conn) { conns <- c }})
			w.connect(t, ln)
			c := receive(t, "OnOpen", conns)
			f, err := detachNow(t, c, func(l *eventLoop, id driver.ID) {
				l.Received(id, nil, nil, syscall.ECONNRESET)
			})
			if f != nil || !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("got %v, %v", f, err)
			}
		})
	}
}

func TestDetachFailsIfTheDriverFailsMeanwhile(t *testing.T) {
	for _, sys := range nativeSystems() {
		t.Run(sys.Name(), func(t *testing.T) {
			w := realWorld(t, sys, "tcp")
			e, fail := failingEngine(t, w.sys)
			conns := make(chan Conn, 1)
			ln := w.serve(t, e, Funcs{Open: func(c Conn) { conns <- c }})
			w.connect(t, ln)
			c := receive(t, "OnOpen", conns)
			f, err := detachNow(t, c, func(*eventLoop, driver.ID) { fail() })
			if f != nil || !errors.Is(err, errTest) {
				t.Errorf("got %v, %v", f, err)
			}
			if err := e.Wait(); !errors.Is(err, errTest) {
				t.Errorf("Wait: %v", err)
			}
		})
	}
}
