package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/child"
	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/servers"
)

// What children say to their parent.
const (
	saidCollected = "collected" // a server has done what SIGUSR1 asks
	saidResult    = "result"    // a client's load.Result follows, as JSON
)

// serveCmd is one server.
type serveCmd struct {
	Name string `arg:"" help:"Which server: ${echo_servers}; for HTTP: ${http_servers}."`
	Addr string `default:"127.0.0.1:7000" help:"The loopback address to listen on."`
}

func (c *serveCmd) Run() error {
	serve := servers.Echo[c.Name]
	if serve == nil {
		serve = servers.HTTP[c.Name]
	}
	if serve == nil {
		return fmt.Errorf("no server %q", c.Name)
	}
	addr, err := netip.ParseAddrPort(c.Addr)
	if err != nil {
		return err
	}
	if !addr.Addr().IsLoopback() {
		return fmt.Errorf("%s is not a loopback address", c.Addr)
	}
	collectOnSignal()
	return serve(c.Addr)
}

// collectOnSignal makes every SIGUSR1 give back all memory that is not in use.
// Two collections are what empties a sync.Pool.
func collectOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	go func() {
		for range signals {
			runtime.GC()
			debug.FreeOSMemory()
			child.Say(saidCollected, "")
		}
	}()
}

// The kinds of load.
const (
	loadLoop  = "loop"
	loadHold  = "hold"
	loadChurn = "churn"
)

// loadCmd is one client.
type loadCmd struct {
	Kind   string `arg:"" enum:"loop,hold,churn"`
	Config string `arg:"" help:"A load.Config as JSON."`
}

func (c *loadCmd) Run() error {
	var cfg load.Config
	if err := json.Unmarshal([]byte(c.Config), &cfg); err != nil {
		return err
	}
	debug.SetGCPercent(-1) // its memory is bounded, and a collection would be noise
	runtime.LockOSThread()
	var r load.Result
	var err error
	release := func() {}
	switch c.Kind {
	case loadLoop:
		r, err = load.Loop(cfg)
	case loadChurn:
		r, err = load.Churn(cfg)
	case loadHold:
		r, release, err = load.Hold(cfg)
	}
	if err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	child.Say(saidResult, string(text))
	if c.Kind == loadHold {
		io.Copy(io.Discard, os.Stdin) // until the parent has looked
	}
	release()
	return nil
}
