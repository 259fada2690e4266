package conformance

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/sluice-go/sluice"
)

// bound is how long a test waits for what must happen; it measures nothing.
const bound = 20 * time.Second

// pipe says who makes the two ends of a connection, an engine or package net.
type pipe struct {
	name          string
	engineAccepts bool
	engineDials   bool
	dialedFirst   bool // true exactly when the dialed end is c1, which the suite tests harder than c2
}

var pipes = []pipe{
	{"accepted-dialed", true, true, false},
	{"dialed-accepted", true, true, true},
	{"accepted-plain", true, false, false},
	{"plain-accepted", true, false, true},
	{"dialed-plain", false, true, true},
	{"plain-dialed", false, true, false},
}

// TestNetConn holds the connections of Conn.NetConn to the suite that those of
// package net pass.
func TestNetConn(t *testing.T) {
	for _, driver := range sluice.Drivers() {
		for _, network := range []string{"tcp", "unix"} {
			for _, p := range pipes {
				t.Run(driver+"/"+network+"/"+p.name, func(t *testing.T) {
					if err := sluice.CheckDriver(driver); err != nil {
						t.Skip(err)
					}
					nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
						return p.open(t, driver, network)
					})
				})
			}
		}
	}
}

// open connects the two ends. stop closes them and the engine, and fails t if
// anything is left then.
func (p pipe) open(t *testing.T, driver, network string) (c1, c2 net.Conn, stop func(), err error) {
	goroutines := runtime.NumGoroutine()
	eng, err := sluice.New(sluice.Config{Driver: driver, Loops: 2})
	if err != nil {
		return nil, nil, nil, err
	}
	accepted, dialed, err := p.connect(eng, network)
	if err != nil {
		return nil, nil, nil, errors.Join(err, eng.Close())
	}
	stop = func() {
		_ = accepted.Close() // most of the suite's tests have closed them
		_ = dialed.Close()
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := eng.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		checkNothingLeft(t, eng, goroutines)
	}
	if p.dialedFirst {
		return dialed, accepted, stop, nil
	}
	return accepted, dialed, stop, nil
}

func (p pipe) connect(eng *sluice.Engine, network string) (accepted, dialed net.Conn, err error) {
	address := "127.0.0.1:0"
	if network == "unix" {
		// Some systems allow a path of about 100 bytes, less than t.TempDir's.
		dir, err := os.MkdirTemp("", "sluice")
		if err != nil {
			return nil, nil, err
		}
		defer os.RemoveAll(dir)
		address = filepath.Join(dir, "s")
	}
	listen, dial := net.Listen, net.Dial
	if p.engineAccepts {
		listen = engine{eng}.listen
	}
	if p.engineDials {
		dial = engine{eng}.dial
	}
	ln, err := listen(network, address)
	if err != nil {
		return nil, nil, err
	}
	defer ln.Close()
	if dialed, err = dial(network, ln.Addr().String()); err != nil {
		return nil, nil, err
	}
	if accepted, err = ln.Accept(); err != nil {
		return nil, nil, errors.Join(err, dialed.Close())
	}
	return accepted, dialed, nil
}

// engine listens and dials as package net does.
type engine struct{ *sluice.Engine }

// listener is an engine's listener as a net.Listener.
type listener struct {
	*sluice.Listener
	opened chan net.Conn
}

func (e engine) listen(network, address string) (net.Listener, error) {
	opened := make(chan net.Conn, 1)
	ln, err := e.Listen(network, address, handler(opened))
	return listener{ln, opened}, err
}

func (ln listener) Accept() (net.Conn, error) {
	select {
	case c := <-ln.opened:
		return c, nil
	case <-time.After(bound):
		return nil, errors.New("no connection was accepted")
	}
}

func (e engine) dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	opened := make(chan net.Conn, 1)
	if _, err := e.Dial(ctx, network, address, handler(opened)); err != nil {
		return nil, err
	}
	return <-opened, nil
}

// handler hands a connection over as soon as it is open, before any byte could
// be given to OnData.
func handler(opened chan<- net.Conn) sluice.Handler {
	return sluice.Funcs{Open: func(c sluice.Conn) {
		nc, err := c.NetConn()
		if err != nil {
			panic(err)
		}
		opened <- nc
	}}
}

// checkNothingLeft fails t if the engine, or what used its connections, left
// connections, memory or goroutines behind.
func checkNothingLeft(t *testing.T, eng *sluice.Engine, goroutines int) {
	for i, l := range eng.Stats().Loops {
		if l.Conns != 0 || l.LiveBlocks != 0 {
			t.Errorf("loop %d: %d connections and %d blocks are left", i, l.Conns, l.LiveBlocks)
		}
	}
	if t.Failed() {
		return // the suite stops what hangs from one goroutine more
	}
	for deadline := time.Now().Add(bound); runtime.NumGoroutine() > goroutines; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Errorf("%d goroutines are left, %d before:\n%s", runtime.NumGoroutine(), goroutines, &stacks)
			return
		}
	}
}
