package tlsconn

import (
	"runtime"
	"sync"
	"testing"
)

func TestFewHandshakesComputeAtATime(t *testing.T) {
	var p pacer
	p.init()
	most := p.free
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			var a pace
			for turn := range 20 {
				p.begin(&a, turn > 0)
				p.mu.Lock()
				if n := p.busy.Len(); n > most || n+p.free != most {
					t.Errorf("%d compute and %d places are free, want %d", n, p.free, most)
				}
				p.mu.Unlock()
				runtime.Gosched()
				p.rest(&a)
			}
		})
	}
	all.Wait()
	if p.free != most || p.busy.Len() > 0 || p.waiting.Len() > 0 {
		t.Errorf("%d places are free, want %d; %d compute, %d wait", p.free, most, p.busy.Len(), p.waiting.Len())
	}
}

// Callbacks that block hold nobody up for long, however many they are.
func TestWhoBlocksIsNotCounted(t *testing.T) {
	var p pacer
	p.init()
	blocked := make([]pace, 5*p.free)
	for i := range blocked {
		p.begin(&blocked[i], false) // returns
	}
	var a pace
	p.begin(&a, true)
	p.rest(&a)
	for i := range blocked {
		p.rest(&blocked[i])
	}
	if want := pacePerProc * runtime.GOMAXPROCS(0); p.free != want || p.busy.Len() > 0 {
		t.Errorf("%d places are free, want %d", p.free, want)
	}
}
