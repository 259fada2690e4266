package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/child"
	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/servers"
)

// What children say to their parent.
const (
	saidCollected = "collected" // a server has done what SIGUSR1 asks; a collection follows, as JSON
	saidReady     = "ready"     // a client waits for a line on its standard input
	saidResult    = "result"    // a client's load.Result follows, as JSON
)

// spinCmd only computes, until it is killed.
type spinCmd struct{}

func (spinCmd) Run() error {
	for {
	}
}

// serveCmd is one server.
type serveCmd struct {
	Name string `arg:"" help:"Which server: ${servers}."`
	Addr string `default:"127.0.0.1:7000" help:"The IPv4 loopback address to listen on."`
}

func (c *serveCmd) Run() error {
	s, err := servers.Find(c.Name)
	if err != nil {
		return err
	}
	if s.Serve == nil {
		return fmt.Errorf("%s is another program: %s", s.Name, s.About)
	}
	addr, err := netip.ParseAddrPort(c.Addr)
	if err != nil || !addr.Addr().Is4() || !addr.Addr().IsLoopback() {
		return fmt.Errorf("address %q: want an IPv4 loopback address and a port, such as 127.0.0.1:7000", c.Addr)
	}
	collectOnSignal()
	return s.Serve(c.Addr)
}

// collection is what garbage collections took, in a server that had nothing
// else to do.
type collection struct {
	Cycle time.Duration // one from its beginning to its end, the median of some
	Pause time.Duration // the longest time that any since the start of the process stopped it
}

// collectOnSignal makes every SIGUSR1 collect garbage and give back all memory
// that is not in use. The first collections empty each sync.Pool.
func collectOnSignal() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, unix.SIGUSR1)
	go func() {
		for range signals {
			runtime.GC()
			runtime.GC()
			var cycles [3]time.Duration
			for i := range cycles {
				began := time.Now()
				runtime.GC()
				cycles[i] = time.Since(began)
			}
			slices.Sort(cycles[:])
			debug.FreeOSMemory()
			text, _ := json.Marshal(collection{cycles[len(cycles)/2], longestPause()}) // two numbers
			child.Say(saidCollected, string(text))
		}
	}()
}

// longestPause returns the longest time that a garbage collection has stopped
// the program, rounded up to the runtime's classes.
func longestPause() time.Duration {
	sample := []metrics.Sample{{Name: "/sched/pauses/total/gc:seconds"}}
	metrics.Read(sample)
	h := sample[0].Value.Float64Histogram()
	for i, n := range slices.Backward(h.Counts) {
		if n == 0 {
			continue
		}
		if end := h.Buckets[i+1]; !math.IsInf(end, 0) {
			return time.Duration(end * float64(time.Second))
		}
		return time.Duration(h.Buckets[i] * float64(time.Second))
	}
	return 0
}

// The kinds of load.
const (
	loadLoop       = "loop"
	loadGRPC       = "grpc"
	loadHold       = "hold"
	loadChurn      = "churn"
	loadHandshakes = "handshakes"
	loadStorm      = "storm"
	loadBroadcast  = "broadcast"
)

// loadCmd is one client.
type loadCmd struct {
	Kind   string `arg:"" enum:"loop,grpc,hold,churn,handshakes,storm,broadcast"`
	Config string `arg:"" help:"A load.Config as JSON."`
}

func (c *loadCmd) Run() error {
	var cfg load.Config
	if err := json.Unmarshal([]byte(c.Config), &cfg); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	ready := func() error {
		child.Say(saidReady, "")
		_, err := in.ReadString('\n')
		return err
	}
	r, release, err := c.run(cfg, ready)
	if err != nil {
		return err
	}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	child.Say(saidResult, string(text))
	if c.Kind == loadHold {
		io.Copy(io.Discard, in) // until the parent has looked
	}
	release()
	return nil
}

func (c *loadCmd) run(cfg load.Config, ready func() error) (r load.Result, release func(), err error) {
	release = func() {}
	switch c.Kind {
	case loadLoop, loadHold, loadChurn, loadBroadcast: // one thread; its memory is bounded, and a collection would be noise
		debug.SetGCPercent(-1)
		runtime.LockOSThread()
	}
	switch c.Kind {
	case loadLoop:
		r, err = load.Loop(cfg, ready)
	case loadGRPC:
		r, err = load.GRPC(cfg, ready)
	case loadChurn:
		r, err = load.Churn(cfg, ready)
	case loadHandshakes:
		r, err = load.Handshakes(cfg, ready)
	case loadStorm:
		r, err = load.Storm(cfg, ready)
	case loadBroadcast:
		r, err = load.Broadcast(cfg, ready)
	case loadHold:
		if r, release, err = load.Hold(cfg); err == nil {
			err = ready()
		}
	}
	return r, release, err
}
