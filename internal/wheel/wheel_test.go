package wheel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// advance returns the ids that an Advance fires, in order.
func advance(w *Wheel, now int64) []uint32 {
	var fired []uint32
	w.Advance(now, func(id uint32) { fired = append(fired, id) })
	return fired
}

func wantFired(t *testing.T, w *Wheel, now int64, want ...uint32) {
	t.Helper()
	if got := advance(w, now); !slices.Equal(got, want) {
		t.Fatalf("Advance(%d) fired %v, want %v", now, got, want)
	}
}

func wantNone(t *testing.T, w *Wheel) {
	t.Helper()
	if at, ok := w.Next(); ok {
		t.Fatalf("Next of an empty wheel is %d", at)
	}
}

func TestEntryHasSixteenBytes(t *testing.T) {
	if n := unsafe.Sizeof(entry{}); n != 16 {
		t.Fatalf("an entry has %d bytes", n)
	}
}

func TestZeroValueIsEmpty(t *testing.T) {
	var w Wheel
	wantNone(t, &w)
	wantFired(t, &w, 0)
	wantFired(t, &w, math.MaxInt64)
	w.Clear(7)
	wantNone(t, &w)
}

func TestFiresAtItsTimeAndOnce(t *testing.T) {
	for _, at := range []int64{1, 2, 63, 64, 65, 127, 128, 4095, 4096, 4097, 262143, 262144, 1e9, 1 << 40, 1<<62 + 12345} {
		var w Wheel
		w.Set(3, at)
		wantFired(t, &w, at-1)
		wantFired(t, &w, at, 3)
		wantFired(t, &w, at)
		wantNone(t, &w)
	}
}

func TestFiresWhenAdvancedPastItsTime(t *testing.T) {
	var w Wheel
	w.Set(0, 1)
	w.Set(1, 100_000)
	wantFired(t, &w, 1<<50, 0, 1)
	wantNone(t, &w)
}

func TestTimeInThePastFiresOnTheNextAdvance(t *testing.T) {
	var w Wheel
	advance(&w, 1000)
	w.Set(1, 999)
	w.Set(2, 1000)
	w.Set(3, -5)
	if at, ok := w.Next(); !ok || at > 1000 {
		t.Fatalf("Next is %d, %v with overdue entries", at, ok)
	}
	wantFired(t, &w, 1000, 1, 2, 3)
	wantNone(t, &w)
}

func TestSetMovesTheEntry(t *testing.T) {
	var w Wheel
	w.Set(1, 10)
	w.Set(1, 5000)
	wantFired(t, &w, 4999)
	w.Set(1, 5001)
	wantFired(t, &w, 5000)
	wantFired(t, &w, 5001, 1)
	wantNone(t, &w)
}

func TestClearedEntryDoesNotFire(t *testing.T) {
	var w Wheel
	for id := range uint32(10) {
		w.Set(id, 70)
	}
	for id := uint32(0); id < 10; id += 2 {
		w.Clear(id)
		w.Clear(id)
	}
	wantFired(t, &w, 70, 1, 3, 5, 7, 9)
	wantNone(t, &w)
}

func TestFiresInTheOrderOfTimesThenOfSets(t *testing.T) {
	var w Wheel
	times := []int64{9000, 20, 9000, 300, 20, 70_000, 9000}
	for id, at := range times {
		w.Set(uint32(id), at)
	}
	advance(&w, 10)
	w.Set(7, 9000)
	wantFired(t, &w, 1e6, 1, 4, 3, 0, 2, 6, 7, 5)
}

func TestFarFuture(t *testing.T) {
	var w Wheel
	advance(&w, 1e12)
	w.Set(0, math.MaxInt64)
	w.Set(1, math.MaxInt64-1)
	wantFired(t, &w, math.MaxInt64-2)
	wantFired(t, &w, math.MaxInt64-1, 1)
	wantFired(t, &w, math.MaxInt64, 0)
	w.Set(0, math.MaxInt64)
	wantFired(t, &w, math.MaxInt64, 0)
	wantNone(t, &w)
}

func TestFireMaySetItselfInThePast(t *testing.T) {
	var w Wheel
	w.Set(1, 10)
	for now := int64(10); now < 15; now++ {
		calls := 0
		w.Advance(now, func(id uint32) {
			calls++
			w.Set(id, now-3)
		})
		if calls != 1 {
			t.Fatalf("fired %d times in one Advance", calls)
		}
	}
}

func TestFireMaySetItselfBetweenTheLastAndThisAdvance(t *testing.T) {
	var w Wheel
	w.Set(1, 10)
	calls := 0
	w.Advance(1000, func(id uint32) {
		calls++
		w.Set(id, 500)
	})
	if calls != 1 {
		t.Fatalf("fired %d times in one Advance", calls)
	}
	wantFired(t, &w, 1000, 1)
}

func TestFireMayClearAnotherDueEntry(t *testing.T) {
	var w Wheel
	for id := range uint32(3) {
		w.Set(id, 50)
	}
	var fired []uint32
	w.Advance(60, func(id uint32) {
		fired = append(fired, id)
		w.Clear((id + 1) % 3)
		w.Clear(id)
	})
	if !slices.Equal(fired, []uint32{0, 2}) {
		t.Fatalf("fired %v", fired)
	}
	wantNone(t, &w)
}

func TestFireMayMoveAnotherDueEntry(t *testing.T) {
	var w Wheel
	w.Set(0, 50)
	w.Set(1, 50)
	w.Set(2, 50)
	w.Advance(50, func(id uint32) {
		if id != 0 {
			t.Errorf("fired %d although it was moved", id)
		}
		w.Set(1, 50) // due: by the next Advance
		w.Set(2, 80)
	})
	wantFired(t, &w, 50, 1)
	wantFired(t, &w, 80, 2)
}

func TestPanicInFireLosesNothing(t *testing.T) {
	var w Wheel
	for id := range uint32(4) {
		w.Set(id, 5)
	}
	func() {
		defer func() { recover() }()
		w.Advance(5, func(id uint32) {
			if id == 1 {
				panic("fire")
			}
		})
	}()
	if _, ok := w.Next(); !ok {
		t.Fatal("nothing is left after the panic")
	}
	wantFired(t, &w, 5, 2, 3)
	wantNone(t, &w)
}

func TestIDBeyondTheLimitPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Fatal("no panic")
		}
	}()
	var w Wheel
	w.Set(maxID+1, 1)
}

func TestClockThatGoesBackFiresNothingEarly(t *testing.T) {
	var w Wheel
	advance(&w, 10_000_000)
	w.Set(1, 10_000_063)
	wantFired(t, &w, 5)
	wantFired(t, &w, 10_000_062)
	wantFired(t, &w, 10_000_063, 1)
}

// A sleeper that follows Next must make progress and be woken in vain at most
// once per level that lies between the entry and its time.
func TestNextNeitherOversleepsNorWakesOften(t *testing.T) {
	tests := []struct {
		start, wait int64
		limit       int
	}{
		{0, 50, 1},
		{1_000_037, 30_000, 3},
		{77_777_777, 60_000, 3},
		{262_143, 5000, 4}, // across the border of level 3
		{123_456_789, 3_600_000, 4},
		{987_654_321, 30 * 86_400_000, 6},
	}
	for _, tt := range tests {
		var w Wheel
		advance(&w, tt.start)
		due := tt.start + tt.wait
		w.Set(9, due)
		now := tt.start
		for wakes := 1; ; wakes++ {
			at, ok := w.Next()
			if !ok || at <= now || at > due {
				t.Fatalf("wait %d: Next is %d, %v at %d", tt.wait, at, ok, now)
			}
			now = at
			if len(advance(&w, now)) == 1 {
				if now != due || wakes > tt.limit {
					t.Fatalf("wait %d: fired %d late after %d wakes", tt.wait, now-due, wakes)
				}
				break
			}
		}
	}
}

// An Advance over a gap visits occupied slots only. Stepping every
// millisecond of these 300 years would hang the test.
func TestLongGapIsNotStepped(t *testing.T) {
	var w Wheel
	w.Set(0, 1)
	for i := int64(1); i <= 300; i++ {
		year := i * 365 * 86_400_000
		w.Set(1, year+1)
		advance(&w, year)
		wantFired(t, &w, year+1, 1)
	}
}

func TestSteadyStateDoesNotAllocate(t *testing.T) {
	var w Wheel
	const n = 1000
	now := int64(0)
	rng := rand.New(rand.NewPCG(1, 2))
	fire := func(id uint32) { w.Set(id, now+1+rng.Int64N(100_000)) }
	for id := range uint32(n) {
		fire(id)
	}
	if allocs := testing.AllocsPerRun(1000, func() {
		now += 100
		w.Clear(uint32(now) % n)
		fire(uint32(now) % n)
		w.Advance(now, fire)
	}); allocs != 0 {
		t.Fatalf("%v allocations", allocs)
	}
}
