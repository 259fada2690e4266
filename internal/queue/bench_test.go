package queue

import "testing"

func BenchmarkPushTake(b *testing.B) {
	var q Queue[func()]
	f := func() {}
	b.ReportAllocs()
	for b.Loop() {
		q.Push(f)
		q.Take(64)
	}
}

// BenchmarkBatch is a push and its share of a Take, 64 items at a time.
func BenchmarkBatch(b *testing.B) {
	var q Queue[func()]
	f := func() {}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		q.Push(f)
		if n%64 == 63 {
			q.Take(64)
		}
	}
}

func BenchmarkTakeEmpty(b *testing.B) {
	var q Queue[func()]
	b.ReportAllocs()
	for b.Loop() {
		q.Take(64)
	}
}

// BenchmarkContended pushes from every processor while one goroutine takes.
func BenchmarkContended(b *testing.B) {
	var q Queue[func()]
	f := func() {}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				q.Take(1024)
			}
		}
	}()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			q.Push(f)
		}
	})
	close(stop)
	<-done
}
