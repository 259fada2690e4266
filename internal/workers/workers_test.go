package workers

import (
	"context"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
)

// inBubble runs f with a pool on a virtual clock: synctest.Wait returns when
// every worker sleeps or blocks. The pool is closed afterwards.
func inBubble(t *testing.T, limit int, f func(t *testing.T, p *Pool)) {
	synctest.Test(t, func(t *testing.T) {
		p := New(limit, time.Minute, func(v any, _ []byte) { t.Errorf("a job panicked: %v", v) })
		f(t, p)
		if err := p.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := p.Stats().Goroutines; n != 0 {
			t.Errorf("%d goroutines are left after Close", n)
		}
		time.Sleep(time.Hour) // whatever timers are left fire
	})
}

func wantStats(t *testing.T, p *Pool, want Stats) {
	t.Helper()
	synctest.Wait()
	if got := p.Stats(); got != want {
		t.Fatalf("%+v, want %+v", got, want)
	}
}

// waiting returns how many jobs of s have not started.
func waiting(s *Strand) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at := s.head; at != nil; at = at.next {
		n++
	}
	return n
}

func wantWaiting(t *testing.T, s *Strand, want int) {
	t.Helper()
	synctest.Wait()
	if n := waiting(s); n != want {
		t.Fatalf("%d jobs wait, want %d", n, want)
	}
}

// wantIdle checks that s has nothing to do and owns nothing.
func wantIdle(t *testing.T, s *Strand) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active || s.head != nil || s.tail != nil || s.next != nil {
		t.Fatal("the strand is not idle")
	}
}

func TestStrandIsSmall(t *testing.T) {
	if n := unsafe.Sizeof(Strand{}); n > 40 {
		t.Fatalf("a Strand has %d bytes", n)
	}
}

func TestJobsOfAStrandRunInOrderOneAtATime(t *testing.T) {
	const strands, producers, each = 20, 4, 200
	p := New(8, time.Second, func(v any, _ []byte) { t.Errorf("a job panicked: %v", v) })
	var tests [strands]struct {
		Strand
		busy atomic.Bool
		next [producers]int // plain: the race detector watches that jobs do not overlap
	}
	var wg sync.WaitGroup
	for producer := range producers {
		wg.Go(func() {
			batch := Batch{Pool: p}
			for n := range each {
				for i := range tests {
					s := &tests[i]
					job := func() {
						if s.busy.Swap(true) {
							t.Error("two jobs at once")
						}
						if s.next[producer] != n {
							t.Errorf("job %d came instead of %d", n, s.next[producer])
						}
						s.next[producer]++
						if n%16 == 0 {
							runtime.Gosched()
						}
						s.busy.Store(false)
					}
					if producer%2 == 0 {
						p.Go(&s.Strand, job)
					} else {
						batch.Go(&s.Strand, job)
					}
				}
				batch.Submit()
			}
		})
	}
	wg.Wait()
	if err := p.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range tests {
		if tests[i].next != [producers]int{each, each, each, each} {
			t.Fatalf("strand %d ran %v jobs", i, tests[i].next)
		}
	}
}

func TestBatchIsHandedOverBySubmit(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, p *Pool) {
		var strands [50]Strand
		var ran atomic.Int64
		b := Batch{Pool: p}
		for range 3 {
			for i := range strands {
				if !b.Go(&strands[i], func() { ran.Add(1) }) {
					t.Fatal("refused")
				}
			}
		}
		p.Go(&strands[7], func() { ran.Add(1) }) // joins the jobs in the batch
		synctest.Wait()
		if ran.Load() != 0 {
			t.Fatal("a job ran before Submit")
		}
		wantWaiting(t, &strands[7], 4)
		b.Submit()
		synctest.Wait()
		if ran.Load() != 151 {
			t.Fatalf("%d jobs ran", ran.Load())
		}
		b.Submit() // of nothing
		b.Go(&strands[0], func() { ran.Add(1) })
		b.Submit()
		synctest.Wait()
		if ran.Load() != 152 {
			t.Fatal("a batch cannot be used again")
		}
	})
}

func TestBlockedJobsHoldUpNoOthersBelowTheLimit(t *testing.T) {
	inBubble(t, 4, func(t *testing.T, p *Pool) {
		var strands [6]Strand
		gate := make(chan struct{})
		b := Batch{Pool: p}
		for i := range strands {
			b.Go(&strands[i], func() { <-gate })
		}
		b.Submit()
		wantStats(t, p, Stats{Goroutines: 4, Running: 4, Waiting: 2})
		gate <- struct{}{}
		wantStats(t, p, Stats{Goroutines: 4, Running: 4, Waiting: 1})
		close(gate)
		wantStats(t, p, Stats{Goroutines: 4})
	})
}

func TestLimitBelowOneMeansOne(t *testing.T) {
	inBubble(t, 0, func(t *testing.T, p *Pool) {
		var s Strand
		ran := false
		p.Go(&s, func() { ran = true })
		synctest.Wait()
		if !ran {
			t.Fatal("the job did not run")
		}
	})
}

func TestDropForgetsWhatHasNotStarted(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, p *Pool) {
		gate := make(chan struct{})
		var ran []string
		job := func(name string) func() { return func() { <-gate; ran = append(ran, name) } }
		var busy, queued Strand
		p.Go(&busy, job("first"))
		p.Go(&busy, job("dropped"))
		p.Go(&busy, job("dropped"))
		p.Go(&queued, job("dropped"))
		synctest.Wait()
		if n := busy.Drop(); n != 2 {
			t.Errorf("dropped %d jobs of the running strand", n)
		}
		if n := queued.Drop(); n != 1 {
			t.Errorf("dropped %d jobs of the waiting strand", n)
		}
		wantWaiting(t, &busy, 0)
		wantWaiting(t, &queued, 0)
		close(gate)
		wantIdle(t, &busy)
		wantIdle(t, &queued)
		p.Go(&queued, job("later"))
		synctest.Wait()
		want := []string{"first", "later"}
		if !slices.Equal(ran, want) {
			t.Fatalf("ran %q, want %q", ran, want)
		}
		if queued.Drop() != 0 {
			t.Fatal("dropped something from an idle strand")
		}
	})
}

// A strand with many jobs lets others run after its budget.
func TestLongStrandIsFair(t *testing.T) {
	inBubble(t, 1, func(t *testing.T, p *Pool) {
		var long, short Strand
		n := 0
		b := Batch{Pool: p}
		for range 10 * budget {
			b.Go(&long, func() { n++ })
		}
		b.Go(&short, func() {
			if n != budget {
				t.Errorf("another strand ran after %d jobs", n)
			}
			if n := waiting(&long); n != 9*budget {
				t.Errorf("%d jobs of the long strand wait", n)
			}
		})
		b.Submit()
		synctest.Wait()
		if n != 10*budget {
			t.Fatalf("%d jobs ran", n)
		}
	})
}

func TestIdleGoroutinesEnd(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, p *Pool) {
		var strands [8]Strand
		for range 3 {
			gate := make(chan struct{})
			for i := range strands {
				p.Go(&strands[i], func() { <-gate })
			}
			wantStats(t, p, Stats{Goroutines: 8, Running: 8})
			close(gate)
			wantStats(t, p, Stats{Goroutines: 8})
			time.Sleep(59 * time.Second)
			wantStats(t, p, Stats{Goroutines: 8})
			time.Sleep(61 * time.Second)
			wantStats(t, p, Stats{})
		}
	})
}

func TestWorkerUsedLastIsUsedFirst(t *testing.T) {
	inBubble(t, 3, func(t *testing.T, p *Pool) {
		var strands [3]Strand
		gate := make(chan struct{})
		for i := range strands {
			p.Go(&strands[i], func() { <-gate })
		}
		synctest.Wait()
		close(gate)
		synctest.Wait()
		before := slices.Clone(p.idle)
		for range 10 {
			p.Go(&strands[0], func() {})
			synctest.Wait()
			if !slices.Equal(p.idle, before) {
				t.Fatal("another worker took the job")
			}
		}
	})
}

func TestTrickleKeepsOneGoroutine(t *testing.T) {
	inBubble(t, 8, func(t *testing.T, p *Pool) {
		var strands [8]Strand
		gate := make(chan struct{})
		for i := range strands {
			p.Go(&strands[i], func() { <-gate })
		}
		synctest.Wait()
		close(gate)
		for range 13 {
			time.Sleep(10 * time.Second)
			p.Go(&strands[0], func() {})
		}
		wantStats(t, p, Stats{Goroutines: 1})
	})
}

func TestPanicIsReportedAndStopsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []string
		p := New(1, time.Second, func(v any, stack []byte) {
			if !strings.Contains(string(stack), "TestPanicIsReported") {
				t.Errorf("the stack does not show the job:\n%s", stack)
			}
			reports = append(reports, v.(string))
		})
		var s Strand
		ran := false
		p.Go(&s, func() { panic("job") })
		p.Go(&s, func() { ran = true })
		if err := p.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if !ran || !slices.Equal(reports, []string{"job"}) {
			t.Fatalf("ran: %v, reports: %q", ran, reports)
		}
	})
}

func TestGoexitLosesNeitherStrandNorSlot(t *testing.T) {
	inBubble(t, 2, func(t *testing.T, p *Pool) {
		var s, other Strand
		ran := 0
		for range 3 {
			p.Go(&s, runtime.Goexit)
			p.Go(&s, func() { ran++ })
		}
		p.Go(&s, runtime.Goexit)
		wantIdle(t, &s)
		if ran != 3 {
			t.Fatalf("%d jobs ran", ran)
		}
		gate := make(chan struct{})
		p.Go(&s, func() { <-gate })
		p.Go(&other, func() { <-gate })
		wantStats(t, p, Stats{Goroutines: 2, Running: 2})
		close(gate)
	})
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	p := New(1, time.Minute, nil)
	var strands [32]Strand
	b := Batch{Pool: p}
	done := make(chan struct{}, 1)
	job, last := func() {}, func() { done <- struct{}{} }
	allocs := testing.AllocsPerRun(200, func() {
		for range 4 {
			for i := range strands[1:] {
				b.Go(&strands[i], job)
			}
		}
		b.Go(&strands[31], last)
		b.Submit()
		<-done
	})
	// Of 125 jobs. A collection, and the race detector on purpose, empties the
	// pool of nodes now and then.
	if allocs > 60 {
		t.Fatalf("%v allocations per pass", allocs)
	}
	p.Close(context.Background())
}

func TestStress(t *testing.T) {
	var panics atomic.Int64
	p := New(6, time.Millisecond, func(any, []byte) { panics.Add(1) })
	var strands [16]Strand
	var accepted, ended atomic.Int64
	var wg sync.WaitGroup
	var wantPanics atomic.Int64
	for seed := range uint64(4) {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(seed, 0))
			b := Batch{Pool: p}
			for range 3000 {
				s := &strands[rng.IntN(len(strands))]
				kind := rng.IntN(40)
				job := func() {
					ended.Add(1)
					switch kind {
					case 0:
						wantPanics.Add(1)
						panic("stress")
					case 1:
						runtime.Goexit()
					case 2:
						time.Sleep(100 * time.Microsecond)
					}
				}
				accepted.Add(1)
				if kind%2 == 0 {
					p.Go(s, job)
				} else {
					b.Go(s, job)
				}
				switch {
				case kind > 35:
					b.Submit()
				case kind == 35:
					accepted.Add(int64(-s.Drop()))
				case kind == 34:
					time.Sleep(2 * time.Millisecond)
				}
			}
			b.Submit()
		})
	}
	wg.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatalf("%v: %+v", err, p.Stats())
	}
	if accepted.Load() != ended.Load() || panics.Load() != wantPanics.Load() {
		t.Fatalf("accepted %d, ended %d, panics %d of %d",
			accepted.Load(), ended.Load(), panics.Load(), wantPanics.Load())
	}
	for i := range strands {
		if n := waiting(&strands[i]); n != 0 {
			t.Fatalf("strand %d: %d jobs wait", i, n)
		}
	}
}
