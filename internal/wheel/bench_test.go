package wheel

import (
	"math/rand/v2"
	"testing"
)

const benchEntries = 1_000_000

// filled returns a wheel with a million entries spread over a minute.
func filled() (*Wheel, *rand.Rand) {
	w, rng := new(Wheel), rand.New(rand.NewPCG(1, 2))
	for id := range uint32(benchEntries) {
		w.Set(id, 1+rng.Int64N(60_000))
	}
	return w, rng
}

func BenchmarkSet(b *testing.B) {
	w, rng := filled()
	b.ReportAllocs()
	for b.Loop() {
		w.Set(rng.Uint32N(benchEntries), 1+rng.Int64N(60_000))
	}
}

// BenchmarkSetSame is what a busy connection does: it moves its own entry.
func BenchmarkSetSame(b *testing.B) {
	w, _ := filled()
	at := int64(30_000)
	b.ReportAllocs()
	for b.Loop() {
		at++
		w.Set(77, 30_000+at%1000)
	}
}

func BenchmarkSetClear(b *testing.B) {
	w, _ := filled()
	b.ReportAllocs()
	for b.Loop() {
		w.Set(benchEntries, 45_000)
		w.Clear(benchEntries)
	}
}

// BenchmarkAdvanceIdle is what every pass of a loop pays.
func BenchmarkAdvanceIdle(b *testing.B) {
	var w Wheel
	w.Set(0, 1<<40)
	b.ReportAllocs()
	for b.Loop() {
		w.Advance(5, func(uint32) {})
		w.Next()
	}
}

// BenchmarkAdvanceFire lets every entry fire and sets it again a minute later;
// the figure is per entry fired, cascades included.
func BenchmarkAdvanceFire(b *testing.B) {
	w, _ := filled()
	now, fired := int64(0), 0
	fire := func(id uint32) {
		fired++
		w.Set(id, now+60_000)
	}
	b.ReportAllocs()
	for b.Loop() {
		for target := fired + 1; fired < target; {
			now++
			w.Advance(now, fire)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(fired), "ns/fired")
}
