package queue

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
)

func wantTake(t *testing.T, q *Queue[int], max int, want ...int) {
	t.Helper()
	if got := q.Take(max); !slices.Equal(got, want) {
		t.Fatalf("Take(%d) is %v, want %v", max, got, want)
	}
}

func push(q *Queue[int], from, to int) {
	for i := from; i < to; i++ {
		q.Push(i)
	}
}

func TestZeroValueIsEmpty(t *testing.T) {
	var q Queue[int]
	if q.Take(10) != nil || q.Len() != 0 || !q.Empty() {
		t.Fatal("the zero value is not empty")
	}
}

func TestTakeIsBoundedAndInOrder(t *testing.T) {
	var q Queue[int]
	push(&q, 0, 5)
	wantTake(t, &q, 2, 0, 1)
	push(&q, 5, 7)
	if q.Len() != 5 || q.Empty() {
		t.Fatalf("Len is %d", q.Len())
	}
	wantTake(t, &q, 0)
	wantTake(t, &q, -1)
	wantTake(t, &q, 2, 2, 3)
	wantTake(t, &q, 2, 4) // what is left of a batch comes before later items
	wantTake(t, &q, 2, 5, 6)
	if q.Take(2) != nil || !q.Empty() {
		t.Fatal("not empty at the end")
	}
}

func TestItemPushedWhileTakingWaits(t *testing.T) {
	var q Queue[int]
	push(&q, 0, 3)
	for _, v := range q.Take(10) {
		q.Push(10 + v)
	}
	wantTake(t, &q, 10, 10, 11, 12)
}

// The slice that Take returned must stay as it is while producers push.
func TestTakenSliceIsNotOverwritten(t *testing.T) {
	var q Queue[int]
	for round := range 20 {
		push(&q, round, round+4)
		a := q.Take(3)
		if len(a) == 0 {
			t.Fatal("nothing taken")
		}
		saved := slices.Clone(a)
		push(&q, 1000, 1050)
		if !slices.Equal(a, saved) {
			t.Fatalf("%v became %v", saved, a)
		}
		if cap(a) != len(a) {
			t.Fatal("an append to the slice would overwrite the rest of the batch")
		}
		for !q.Empty() {
			q.Take(7)
		}
	}
}

func TestNothingIsLostAndEveryProducerKeepsItsOrder(t *testing.T) {
	const producers, each = 8, 20_000
	type item struct{ producer, n int }
	var q Queue[item]
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for n := range each {
				q.Push(item{p, n})
			}
		})
	}
	var next [producers]int
	deadline := time.Now().Add(time.Minute)
	for total, max := 0, 1; total < producers*each; max = max%300 + 1 {
		items := q.Take(max)
		if len(items) > max {
			t.Fatalf("Take(%d) returned %d items", max, len(items))
		}
		if len(items) == 0 {
			if time.Now().After(deadline) {
				t.Fatalf("%d items are missing", producers*each-total)
			}
			runtime.Gosched()
		}
		for _, it := range items {
			if it.n != next[it.producer] {
				t.Fatalf("producer %d: item %d came instead of %d", it.producer, it.n, next[it.producer])
			}
			next[it.producer]++
		}
		total += len(items)
	}
	wg.Wait()
	if q.Len() != 0 || q.Take(1) != nil {
		t.Fatalf("%d items too many", q.Len())
	}
}

func TestBurstMemoryIsGivenBack(t *testing.T) {
	for _, passes := range []int{0, 1, 2, 3, 3 * window} { // passes with an item after the burst
		var q Queue[int]
		push(&q, 0, 100_000)
		for len(q.Take(1000)) > 0 {
		}
		if cap(q.in)+cap(q.out) < 100_000 {
			t.Fatal("the test does not see the burst's slice")
		}
		for pass := range 3 * window {
			if pass < passes {
				q.Push(pass)
			}
			q.Take(1000)
		}
		if n := cap(q.in) + cap(q.out); n > 2*keepItems {
			t.Errorf("%d passes: room for %d items is kept", passes, n)
		}
	}
}

func TestSteadyLoadKeepsItsMemory(t *testing.T) {
	const batch = 1024
	for _, take := range []int{1, 16, batch} {
		var q Queue[int]
		round := func() {
			push(&q, 0, batch)
			for len(q.Take(take)) > 0 {
			}
		}
		round()
		round()
		if n := testing.AllocsPerRun(1000, round); n != 0 {
			t.Errorf("Take(%d): %v allocations per round", take, n)
		}
		for range 1000 {
			if round(); min(cap(q.in), cap(q.out)) < batch {
				t.Fatalf("Take(%d): gave back a slice in use", take)
			}
		}
	}
}

func TestReferencesAreDroppedByTheNextTake(t *testing.T) {
	var q Queue[*[64]byte]
	collected := make(chan struct{}, 3)
	for range 3 {
		v := new([64]byte)
		runtime.AddCleanup(v, func(struct{}) { collected <- struct{}{} }, struct{}{})
		q.Push(v)
	}
	q.Take(2)
	q.Take(2) // drops the first two, lends the third
	q.Take(2) // drops the third
	for i := range 3 {
		runtime.GC()
		select {
		case <-collected:
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of 3 items are still referred to", 3-i)
		}
	}
	runtime.KeepAlive(&q)
}
