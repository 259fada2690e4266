package load

import (
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"
)

// short is a Config that is quick to follow.
func short(addr string) Config {
	return Config{
		Addr:      addr,
		ServerPID: os.Getpid(),
		Conns:     20,
		Size:      1024,
		WarmUp:    20 * time.Millisecond,
		Measure:   200 * time.Millisecond,
	}
}

// echo is a server that makes no mistake.
func echo(c net.Conn) { io.Copy(c, c) }

// atOnce is the ready of a client that is alone.
func atOnce() error { return nil }

// startPlanted serves every connection with serve until the test ends.
func startPlanted(t *testing.T, serve func(c net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestRunsDeliverRequestsWithoutErrors(t *testing.T) {
	addr := startPlanted(t, echo)
	runs := map[string]func(Config, func() error) (Result, error){"loop": Loop, "churn": Churn}
	for name, run := range runs {
		for _, size := range []int{minSize, 1024, 3 << 20} {
			cfg := short(addr)
			cfg.Size = size
			r, err := run(cfg, atOnce)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if r.Requests == 0 || r.Errors != 0 {
				t.Errorf("%s of %d bytes: %d requests, %d errors (%s)", name, size, r.Requests, r.Errors, r.FirstError)
			}
			if r.Requests > 0 && (r.P50 <= 0 || r.P99 < r.P50 || r.P999 < r.P99 || r.Max < r.P999 || r.ServerCPU <= 0 || r.Resident <= 0) {
				t.Errorf("%s of %d bytes: implausible %+v", name, size, r)
			}
		}
	}
}

func TestHoldExchangesOnceAndKeepsConnectionsOpen(t *testing.T) {
	var open, got atomic.Int64
	addr := startPlanted(t, func(c net.Conn) {
		open.Add(1)
		defer open.Add(-1)
		n, _ := io.Copy(c, c)
		got.Add(n)
	})
	cfg := short(addr)
	cfg.Conns = exchangesAtOnce + 50
	r, release, err := Hold(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests != int64(cfg.Conns) || r.Errors != 0 {
		t.Errorf("%d requests over %d connections, %d errors (%s)", r.Requests, cfg.Conns, r.Errors, r.FirstError)
	}
	if n := open.Load(); n != int64(cfg.Conns) {
		t.Errorf("%d connections open, want %d", n, cfg.Conns)
	}
	release()
	for deadline := time.Now().Add(5 * time.Second); open.Load() > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections open after release", open.Load())
		}
	}
	if want := int64(cfg.Conns * cfg.Size); got.Load() != want {
		t.Errorf("server got %d bytes, want %d", got.Load(), want)
	}
}

// spoil returns a server that echoes, but passes message number n of every
// connection through change, which returns what to send instead and whether
// to go on.
func spoil(size, n int, change func(p []byte) ([]byte, bool)) func(net.Conn) {
	return func(c net.Conn) {
		p := make([]byte, size)
		for i := 1; ; i++ {
			if _, err := io.ReadFull(c, p); err != nil {
				return
			}
			out, more := p, true
			if i == n {
				out, more = change(p)
			}
			if _, err := c.Write(out); err != nil || !more {
				return
			}
		}
	}
}

func TestFaultsOfTheServerAreNoticed(t *testing.T) {
	const size = 1024
	var first atomic.Bool
	faults := []struct {
		name   string
		change func(p []byte) ([]byte, bool)
		want   error
		errors int64
	}{
		{"one bit of the last byte", func(p []byte) ([]byte, bool) {
			p[size-1] ^= 1
			return p, true
		}, errWrong, 20},
		{"one byte on one connection only", func(p []byte) ([]byte, bool) {
			if first.CompareAndSwap(false, true) {
				p[size/2]++
			}
			return p, true
		}, errWrong, 1},
		{"sequence number", func(p []byte) ([]byte, bool) {
			p[4]--
			return p, true
		}, errWrong, 20},
		{"one byte too many", func(p []byte) ([]byte, bool) {
			return append(p[:size:size], 0), true
		}, errSurplus, 20},
		{"closed instead of answered", func([]byte) ([]byte, bool) {
			return nil, false
		}, errClosed, 20},
	}
	for _, f := range faults {
		addr := startPlanted(t, spoil(size, 3, f.change))
		r, err := Loop(short(addr), atOnce)
		if err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		if r.Errors != f.errors || r.FirstError != f.want.Error() {
			t.Errorf("%s: %d errors (%s), want %d (%v)", f.name, r.Errors, r.FirstError, f.errors, f.want)
		}
	}
}

func TestRepliesThatNeverComeAreErrors(t *testing.T) {
	addr := startPlanted(t, spoil(1024, 3, func([]byte) ([]byte, bool) { return nil, true }))
	r, err := Loop(short(addr), atOnce)
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors != 20 || r.FirstError != errNoAnswer.Error() {
		t.Errorf("%d errors (%s), want 20 (%v)", r.Errors, r.FirstError, errNoAnswer)
	}
}

// One connection stalls from before the measured time until after it.
func TestAReplyAfterTheMeasuredTimeIsAmongTheLatencies(t *testing.T) {
	const stall = 600 * time.Millisecond
	var loopStalled, callStalled atomic.Bool
	loopAddr := startPlanted(t, spoil(1024, 2, func(p []byte) ([]byte, bool) {
		if loopStalled.CompareAndSwap(false, true) {
			time.Sleep(stall)
		}
		return p, true
	}))
	callAddr := startCalled(t, func(p []byte) ([]byte, error) {
		if p[4] == 2 && callStalled.CompareAndSwap(false, true) { // its second message
			time.Sleep(stall)
		}
		return p, nil
	})
	for name, run := range map[string]func() (Result, error){
		"loop": func() (Result, error) { return Loop(short(loopAddr), atOnce) },
		"grpc": func() (Result, error) { return GRPC(short(callAddr), atOnce) },
	} {
		r, err := run()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Requests == 0 || r.Errors != 0 || r.Max < stall*9/10 || r.Elapsed > stall*9/10 || r.Latencies.h.TotalCount() <= r.Requests {
			t.Errorf("%s: %d latencies up to %v, %d requests in %v, %d errors (%s)",
				name, r.Latencies.h.TotalCount(), r.Max, r.Requests, r.Elapsed, r.Errors, r.FirstError)
		}
	}
}

func TestMessagesAreCheckedWithoutAllocating(t *testing.T) {
	m := newMessages(Config{Size: 1024})
	sum := 0
	if n := testing.AllocsPerRun(100, func() {
		sum += len(m.lend(3, 4))
		m.giveBack()
	}); n != 0 {
		t.Errorf("%v allocations per message", n)
	}
}

func TestMessagesOfConnectionsAndTurnsDiffer(t *testing.T) {
	m := newMessages(Config{Size: 64})
	seen := map[string]bool{}
	for conn := range uint32(30) {
		for seq := range uint32(30) {
			seen[string(m.lend(conn, seq))] = true
			m.giveBack()
		}
	}
	if len(seen) != 900 {
		t.Errorf("%d different messages of 900", len(seen))
	}
}

func TestConfigsThatCannotBeFollowedAreRefused(t *testing.T) {
	bad := map[string]func(*Config){
		"not loopback":     func(c *Config) { c.Addr = "192.0.2.1:80" },
		"no address":       func(c *Config) { c.Addr = "" },
		"no connection":    func(c *Config) { c.Conns = 0 },
		"too many":         func(c *Config) { c.Conns = 1 << 30 },
		"size too small":   func(c *Config) { c.Size = minSize - 1 },
		"size too large":   func(c *Config) { c.Size = maxSize + 1 },
		"nobody listens":   func(c *Config) { c.Addr = "127.0.0.1:1" },
		"too long":         func(c *Config) { c.Measure = 2 * maxTime },
		"negative time":    func(c *Config) { c.WarmUp = -1 },
		"negative number":  func(c *Config) { c.First = -1 },
		"number too large": func(c *Config) { c.First = maxConns },
		"an IPv6 address":  func(c *Config) { c.Addr = "[::1]:80" },
		"no request":       func(c *Config) { c.HTTP = &HTTP{} },
		"two protocols":    func(c *Config) { c.HTTP, c.WebSocket = &HTTP{Pipeline: 1}, true },
		"too many rounds":  func(c *Config) { c.Window = maxWindow + 1 },
		"negative rounds":  func(c *Config) { c.Window = -1 },
		"too many of them": func(c *Config) { c.HTTP = &HTTP{Pipeline: maxPipeline + 1} },
	}
	for name, spoil := range bad {
		cfg := short("127.0.0.1:1")
		spoil(&cfg)
		if _, err := Loop(cfg, atOnce); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
