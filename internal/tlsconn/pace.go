package tlsconn

import (
	"container/list"
	"runtime"
	"sync"
	"time"
)

const (
	// pacePerProc is how many handshakes compute at a time, for each processor.
	pacePerProc = 2

	// paceMax is after how long a handshake is not counted among them any more:
	// a callback of its may block, of which nobody can tell.
	paceMax = 5 * time.Millisecond
)

// pacer has few handshakes compute at a time, so that loops need not wait for many.
// One takes up to some milliseconds, and Go's scheduler runs what lies in a
// processor's own queue before what waits for any processor, as does a loop that comes
// back from the kernel. So a handshake whose turn it is goes there, too, and takes its
// place behind it. Beside 200 clients that do nothing but handshakes with an RSA
// certificate, on one processor, an echo on an established connection took 60 ms
// (the median) without either, and takes 1.6 ms: go -C bench run . compare --scenario
// storm --a net-tls-rsa --b sluice-tls-rsa --conns 200.
type pacer struct {
	mu      sync.Mutex
	free    int
	busy    list.List // of *pace, who has computed longest in front
	waiting list.List // of *pace
	late    *time.Timer
}

// pace is the place of a handshake in a pacer. It belongs to one goroutine.
type pace struct {
	busy  *list.Element // nil if it is not counted
	since time.Time
	turn  chan struct{} // closed when it may go on
}

func (p *pacer) init() { p.free = pacePerProc * runtime.GOMAXPROCS(0) }

// begin blocks until a may compute. One that goes on comes before those that begin:
// it has cost most of its time already.
func (p *pacer) begin(a *pace, goesOn bool) {
	defer runtime.Gosched()
	p.mu.Lock()
	if p.free > 0 {
		p.free--
		p.start(a)
		p.mu.Unlock()
		return
	}
	a.turn = make(chan struct{})
	if goesOn {
		p.waiting.PushFront(a)
	} else {
		p.waiting.PushBack(a)
	}
	if p.waiting.Len() == 1 {
		p.watch()
	}
	p.mu.Unlock()
	<-a.turn
}

func (p *pacer) start(a *pace) {
	a.since = time.Now()
	a.busy = p.busy.PushBack(a)
}

// rest notes that a waits for its peer, or is done.
func (p *pacer) rest(a *pace) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.busy != nil {
		p.leave(a)
	}
}

// leave lets the next one compute in a's place.
func (p *pacer) leave(a *pace) {
	p.busy.Remove(a.busy)
	a.busy = nil
	next := p.waiting.Front()
	if next == nil {
		p.free++
		return
	}
	b := p.waiting.Remove(next).(*pace)
	p.start(b)
	close(b.turn)
}

// watch has check called when the one who has computed longest is late.
func (p *pacer) watch() {
	wait := paceMax
	if first := p.busy.Front(); first != nil {
		wait -= time.Since(first.Value.(*pace).since)
	}
	if p.late == nil {
		p.late = time.AfterFunc(wait, p.check)
	} else {
		p.late.Reset(wait)
	}
}

// check lets others compute in place of those who are late.
func (p *pacer) check() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.waiting.Len() > 0 {
		a := p.busy.Front().Value.(*pace)
		if time.Since(a.since) < paceMax {
			p.watch()
			return
		}
		p.leave(a)
	}
}
