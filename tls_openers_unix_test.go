//go:build unix

package sluice

import (
	"runtime"
	"syscall"
	"testing"
	"time"
)

func TestSilentTLSOpenersAsManyAsThereAreDescriptors(t *testing.T) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	const most, others = 9000, 1000 // descriptors of whatever else the process does
	conns := min(most, (int(min(limit.Cur, 1<<20))-others)/2)
	if testing.Short() {
		conns = min(conns, 500)
	}
	w := realWorld(t, systems()[0], "tcp")
	server, _ := tlsConfigs()
	e := w.engine(t, Config{HandshakeTimeout: time.Second})
	ln := w.serve(t, e, TLS(server, neverOpen(t)))
	before := runtime.NumGoroutine()
	var peers []peer
	for range conns {
		peers = append(peers, w.connect(t, ln))
	}
	eventually(t, "all to be accepted", func() bool {
		_, accepted, _ := sums(e)
		return accepted == int64(conns)
	})
	if n := runtime.NumGoroutine(); n > before {
		t.Errorf("%d goroutines, %d before", n, before)
	}
	for _, c := range peers {
		mustEnd(t, c)
	}
	eventually(t, "none to be left", func() bool {
		left, _, failed := sums(e)
		return left == 0 && failed == int64(conns)
	})
}
