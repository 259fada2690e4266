package workers

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func newTestPool(t *testing.T, limit int) *Pool {
	return New(limit, time.Minute, func(v any, _ []byte) { t.Errorf("a job panicked: %v", v) })
}

func TestCloseWaitsForWhatWasAccepted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(t, 2)
		var strands [5]Strand
		gate := make(chan struct{})
		var mu sync.Mutex
		ran := 0
		for range 3 {
			for i := range strands {
				p.Go(&strands[i], func() {
					<-gate
					mu.Lock()
					ran++
					mu.Unlock()
				})
			}
		}
		returned := make(chan error, 2)
		for range 2 { // two callers
			go func() { returned <- p.Close(t.Context()) }()
		}
		synctest.Wait()
		if len(returned) != 0 {
			t.Fatal("Close did not wait")
		}
		if p.Go(&strands[0], func() {}) || p.Go(new(Strand), func() {}) {
			t.Fatal("a closed pool accepted a job")
		}
		close(gate)
		for range 2 {
			if err := <-returned; err != nil {
				t.Fatal(err)
			}
		}
		if ran != 15 {
			t.Fatalf("%d jobs ran", ran)
		}
		wantStats(t, p, Stats{})
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 {
			if err := p.Close(ended); err != nil {
				t.Fatal("a later Close: ", err)
			}
		}
	})
}

func TestCloseOfAnUnusedPoolReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(t, 2)
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		b := Batch{Pool: p}
		if b.Go(new(Strand), func() {}) {
			t.Fatal("a closed pool accepted a job")
		}
		b.Submit()
		wantStats(t, p, Stats{})
	})
}

// A job is accepted when it enters a batch; Close then waits for its Submit.
func TestCloseWaitsForABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(t, 2)
		var s Strand
		b := Batch{Pool: p}
		ran := false
		b.Go(&s, func() { ran = true })
		returned := make(chan error, 1)
		go func() { returned <- p.Close(t.Context()) }()
		synctest.Wait()
		if len(returned) != 0 {
			t.Fatal("Close did not wait")
		}
		b.Submit()
		if err := <-returned; err != nil || !ran {
			t.Fatal("ran: ", ran, err)
		}
		wantStats(t, p, Stats{})
	})
}

func TestCloseDropsWhatHasNotStartedWhenTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newTestPool(t, 1)
		var busy, queued, batched Strand
		gate := make(chan struct{})
		finished := false
		p.Go(&busy, func() { <-gate; finished = true })
		for _, s := range []*Strand{&busy, &queued, &queued} {
			p.Go(s, func() { t.Error("a dropped job ran") })
		}
		b := Batch{Pool: p}
		b.Go(&batched, func() { t.Error("a dropped job ran") })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := p.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal("Close returned ", err)
		}
		wantIdle(t, &queued)
		wantWaiting(t, &busy, 1)
		b.Submit()
		close(gate)
		synctest.Wait()
		if !finished {
			t.Fatal("the running job was not left to finish")
		}
		for _, s := range []*Strand{&busy, &queued, &batched} {
			wantIdle(t, s)
		}
		wantStats(t, p, Stats{})
	})
}
