package load

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

func TestSplitGivesEveryConnectionToOneProcess(t *testing.T) {
	for _, conns := range []int{1, 2, 7, 64, 100_000} {
		for processes := range 9 {
			cfg := Config{Conns: conns, First: 5, Size: 64}
			next := cfg.First
			parts := cfg.Split(processes)
			for _, part := range parts {
				if part.First != next || part.Conns < 1 || part.Conns > conns/len(parts)+1 || part.Size != cfg.Size {
					t.Errorf("%d connections, %d processes: %+v", conns, processes, part)
				}
				next += part.Conns
			}
			if next != cfg.First+conns || len(parts) != max(1, min(processes, conns)) {
				t.Errorf("%d connections, %d processes: %d parts up to connection %d", conns, processes, len(parts), next)
			}
		}
	}
}

func TestABroadcastIsNotSplit(t *testing.T) {
	cfg := Config{Conns: 100, Window: 1}
	if parts := cfg.Split(4); len(parts) != 1 || parts[0].Conns != cfg.Conns {
		t.Errorf("%+v", parts)
	}
}

func TestNoSourceHasMoreConnectionsThanPorts(t *testing.T) {
	for _, processes := range []int{1, 3, 4} {
		from := map[int]int{}
		for _, cfg := range (Config{Conns: 90_000}).Split(processes) {
			for i := range cfg.Conns {
				from[cfg.source(i)]++
			}
		}
		if len(from) != 5 {
			t.Errorf("%d processes: %d sources, want 5", processes, len(from))
		}
		for source, conns := range from {
			if conns > connsPerSource {
				t.Errorf("%d processes: %d connections from source %d", processes, conns, source)
			}
		}
	}
}

func TestProcessesComeFromOtherSourcesWithOtherMessages(t *testing.T) {
	var mu sync.Mutex
	sources, firsts := map[string]int{}, map[string]int{}
	addr := startPlanted(t, func(c net.Conn) {
		p := make([]byte, 1024)
		if _, err := io.ReadFull(c, p); err != nil {
			return
		}
		mu.Lock()
		sources[c.RemoteAddr().(*net.TCPAddr).IP.String()]++
		firsts[string(p)]++
		mu.Unlock()
		c.Write(p)
		echo(c)
	})
	whole := short(addr)
	whole.First = connsPerSource - whole.Conns/2
	for _, cfg := range whole.Split(2) {
		if _, release, err := Hold(cfg); err != nil {
			t.Fatal(err)
		} else {
			release()
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if len(sources) != 2 || sources["127.0.0.1"] != 10 || sources["127.0.0.2"] != 10 {
		t.Errorf("connections by source: %v", sources)
	}
	if len(firsts) != whole.Conns {
		t.Errorf("%d different messages over %d connections", len(firsts), whole.Conns)
	}
}

func TestNothingIsMeasuredBeforeAllAreReady(t *testing.T) {
	var got atomic.Int64
	addr := startPlanted(t, func(c net.Conn) {
		p := make([]byte, 1024)
		for {
			n, err := c.Read(p)
			got.Add(int64(n))
			if err != nil {
				return
			}
			c.Write(p[:n])
		}
	})
	cfg := short(addr)
	errStop := errors.New("not ready")
	for name, tt := range map[string]struct {
		run      func(Config, func() error) (Result, error)
		messages int
	}{"loop": {Loop, cfg.Conns}, "churn": {Churn, 0}} {
		got.Store(0)
		_, err := tt.run(cfg, func() error {
			if n := got.Load(); n != int64(tt.messages*cfg.Size) {
				t.Errorf("%s: %d bytes sent before it is ready, want %d messages", name, n, tt.messages)
			}
			return errStop
		})
		if err != errStop {
			t.Errorf("%s: %v, want %v", name, err, errStop)
		}
	}
}
