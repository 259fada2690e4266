package workers

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// passJobs is how many jobs a loop hands over in one pass here, each of
// another strand.
const passJobs = 64

func benchPool(b *testing.B) *Pool {
	p := New(256, time.Second, func(v any, _ []byte) { b.Errorf("a job panicked: %v", v) })
	b.Cleanup(func() { p.Close(context.Background()) })
	b.ReportAllocs()
	return p
}

// spin stands for the work of a short handler.
func spin() {
	x := uint32(1)
	for range 500 {
		x = x*1664525 + 1013904223
	}
	sink.Store(x)
}

var sink atomic.Uint32

// deep stands for a handler that needs n * 256 bytes of stack, which a fresh
// goroutine grows first.
func deep(n int) byte {
	var frame [256]byte
	if n > 0 {
		frame[n] = deep(n - 1)
	}
	return frame[n/2]
}

func perJob(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/passJobs, "ns/job")
}

func benchmarkPass(b *testing.B, work func(), hand func(job func()), flush func()) {
	var wg sync.WaitGroup
	job := func() {
		work()
		wg.Done()
	}
	for b.Loop() {
		wg.Add(passJobs)
		for range passJobs {
			hand(job)
		}
		flush()
		wg.Wait()
	}
	perJob(b)
}

func BenchmarkPass(b *testing.B) {
	works := []struct {
		name string
		f    func()
	}{
		{"empty", func() {}},
		{"short", spin},
		{"deep", func() { deep(40) }},
		{"sleep", func() { time.Sleep(100 * time.Microsecond) }},
	}
	for _, work := range works {
		b.Run(work.name+"/batch", func(b *testing.B) {
			p := benchPool(b)
			var strands [passJobs]Strand
			batch, i := Batch{Pool: p}, 0
			benchmarkPass(b, work.f, func(job func()) {
				batch.Go(&strands[i%passJobs], job)
				i++
			}, batch.Submit)
		})
		b.Run(work.name+"/go", func(b *testing.B) {
			p := benchPool(b)
			var strands [passJobs]Strand
			i := 0
			benchmarkPass(b, work.f, func(job func()) {
				p.Go(&strands[i%passJobs], job)
				i++
			}, func() {})
		})
		b.Run(work.name+"/goroutines", func(b *testing.B) {
			b.ReportAllocs()
			benchmarkPass(b, work.f, func(job func()) { go job() }, func() {})
		})
	}
}

// BenchmarkOne is the round trip of a single job: the wake of one worker.
func BenchmarkOne(b *testing.B) {
	done := make(chan struct{})
	job := func() { done <- struct{}{} }
	b.Run("pool", func(b *testing.B) {
		p := benchPool(b)
		var s Strand
		for b.Loop() {
			p.Go(&s, job)
			<-done
		}
	})
	b.Run("goroutine", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			go job()
			<-done
		}
	})
}

// BenchmarkStrand is the cost of a job on a strand that is busy already.
func BenchmarkStrand(b *testing.B) {
	p := benchPool(b)
	var s Strand
	var left atomic.Int64
	job := func() { left.Add(-1) }
	for b.Loop() {
		p.Go(&s, job)
		for left.Add(1); left.Load() > 1000; {
			time.Sleep(10 * time.Microsecond)
		}
	}
}
