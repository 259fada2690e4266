package sim_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// bytesPerIdleConnection is the promise: both ends together, with the tables
// of the network and the driver and the Peer, but not what a test keeps.
const bytesPerIdleConnection = 150

func TestAMillionIdleConnections(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const count = 1_000_000
	e := newEar(t, sim.Config{})
	peers := make([]*sim.Peer, count)
	e.accepted = make([]int, 0, count)
	before := heap()
	start := time.Now()
	for i := range peers {
		p, err := e.net.Dial(e.addr)
		if err != nil {
			t.Fatal(err)
		}
		peers[i] = p
	}
	for len(e.accepted) < count {
		e.d.Poll(0)
	}
	for i, fd := range e.accepted {
		if _, err := e.d.Open(driver.ID(i), fd); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)
	each := float64(heap()-before) / count
	start = time.Now()
	runtime.GC()
	t.Logf("%.1f bytes per connection, %v to make them all, %v for a collection", each, took, time.Since(start))
	if each > bytesPerIdleConnection {
		t.Errorf("%.1f bytes per idle connection, want at most %d", each, bytesPerIdleConnection)
	}

	// They are idle, not dead.
	for i := 0; i < count; i += 100_003 {
		write(t, peers[i], "hello")
		if _, err := e.d.TryWrite(e.accepted[i], []byte("there")); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 5)
		if n, err := peers[i].TryRead(got); string(got[:n]) != "there" || err != nil {
			t.Errorf("peer %d read %q, %v", i, got[:n], err)
		}
	}
	for range 100 {
		e.d.Poll(0)
	}
	if len(e.chunks) != 10 {
		t.Errorf("%d of 10 messages were received", len(e.chunks))
	}
	e.clean()
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
