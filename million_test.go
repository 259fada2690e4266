package sluice

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/sluice-go/sluice/internal/driver/sim"
)

// BenchmarkMillionIdle holds a million idle connections on the simulated
// network and reports what one costs the engine, in bytes of heap, and how
// long a garbage collection takes with them. The network's own share is
// subtracted from the bytes, and is part of the time.
//
//	go test -run '^$' -bench MillionIdle -benchtime 1x .
func BenchmarkMillionIdle(b *testing.B) {
	const conns = 1_000_000
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for range b.N {
		n := sim.New(sim.Config{Seed: 1, Personality: sim.Readiness})
		e, err := newEngine(Config{Loops: 2, Accept: AcceptMain, Logger: slog.New(slog.DiscardHandler)}, n, func(*eventLoop) {})
		if err != nil {
			b.Fatal(err)
		}
		ln, err := e.bindListener(context.Background(), "tcp", "127.0.0.1:0", Funcs{Data: echo})
		if err != nil {
			b.Fatal(err)
		}
		a := ln.acceptors[0]
		a.loop.do(func() { _ = a.start() })
		step := func() {
			for _, l := range e.all() {
				if err := l.pass(); err != nil {
					b.Fatal(err)
				}
			}
		}
		step()
		var engine, before uint64
		for done := 0; done < conns; {
			before = heap()
			part := min(100_000, conns-done)
			for range part {
				if _, err := n.Dial(ln.Addr()); err != nil {
					b.Fatal(err)
				}
			}
			network := heap()
			for done += part; e.Stats().Loops[0].Conns+e.Stats().Loops[1].Conns < int64(done); {
				step()
			}
			step()
			engine += heap() - network
			_ = before
		}
		b.ReportMetric(float64(engine)/conns, "bytes/conn")
		var cycles []time.Duration
		for range 7 {
			start := time.Now()
			runtime.GC()
			cycles = append(cycles, time.Since(start))
		}
		slices.Sort(cycles)
		b.ReportMetric(float64(cycles[len(cycles)/2].Microseconds())/1000, "ms/GC")
		runtime.KeepAlive(e)
	}
}

// heap returns the bytes of live heap.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
