// Package workers runs jobs that may block on a bounded number of goroutines,
// so that an event loop need not. Jobs of one Strand run in order.
//
// Strands, not jobs, wait in the pool's queue. A worker runs a strand's jobs up
// to a budget and then puts it behind the others. At most one worker at a time
// is on its way to work: when it arrives and finds more than it takes, it calls
// the next. So a loop wakes at most one goroutine however much it hands over,
// short jobs do not start a crowd, and long ones still get a worker each.
package workers

import (
	"context"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// budget is the number of jobs that a strand may run while others wait.
const budget = 64

// Pool is a bounded set of goroutines that run strands. Its methods may be
// called from any goroutine.
type Pool struct {
	limit    int
	idleTime time.Duration
	logPanic func(v any, stack []byte)

	active    atomic.Int64  // strands that are active
	closed    atomic.Bool   // true exactly when no job is accepted any more
	abandoned atomic.Bool   // true exactly when jobs not yet started are to be dropped
	drained   chan struct{} // closed when the pool is closed and no strand is active
	drainOnce sync.Once

	mu       sync.Mutex
	queue    list      // strands waiting for a worker
	idle     []*worker // a stack: the one that worked last, whose stack and caches are warm, is on top
	low      int       // the least length of idle since trim looked: so many were not needed
	alive    int       // goroutines
	coming   bool      // true exactly when a worker is on its way to the queue
	trimming bool      // true exactly when trimmer is to fire
	trimmer  *time.Timer
}

// worker is a goroutine of the pool.
type worker struct {
	wake   chan bool // where it sleeps while idle; receiving false ends it
	coming bool      // true exactly when Pool.coming means this one
	strand *Strand   // the one it runs
}

// Stats is a snapshot of a Pool.
type Stats struct {
	Goroutines int // goroutines, busy and idle, at most the pool's maximum
	Running    int // goroutines that are not idle
	Waiting    int // strands that wait for a goroutine
}

// New returns a pool of at most limit goroutines (at least one). They are
// started when needed and end after having been idle for one to two times idle.
// What a job panics with is recovered and given to logPanic, with the stack;
// logPanic must not be nil.
func New(limit int, idle time.Duration, logPanic func(v any, stack []byte)) *Pool {
	return &Pool{limit: max(limit, 1), idleTime: idle, logPanic: logPanic, drained: make(chan struct{})}
}

// Go adds a job to s and lets it run as soon as a goroutine is free and the
// jobs before it have finished. It returns false, and the job will not run, if
// the pool is closed.
func (p *Pool) Go(s *Strand, job func()) bool {
	runnable, ok := p.add(s, job)
	if runnable {
		var l list
		l.push(s)
		p.submit(l)
	}
	return ok
}

// Batch collects the strands that become runnable in a pass of a loop, to hand
// them over with one call. Batch{Pool: p} is ready. It is for one goroutine.
type Batch struct {
	Pool *Pool
	list list
}

// Go adds a job to s, as Pool.Go does, but if nothing else has made s runnable
// it does not run before Submit. Submit must follow.
func (b *Batch) Go(s *Strand, job func()) bool {
	runnable, ok := b.Pool.add(s, job)
	if runnable {
		b.list.push(s)
	}
	return ok
}

// Submit hands the collected strands over to the pool and empties the batch.
func (b *Batch) Submit() {
	if b.list.head != nil {
		b.Pool.submit(b.list)
		b.list = list{}
	}
}

// Close makes the pool accept no more jobs and waits until those accepted have
// finished. If ctx ends first, Close drops the jobs that have not started and
// returns ctx's error; those that run cannot be stopped and go on.
func (p *Pool) Close(ctx context.Context) error {
	p.closed.Store(true)
	p.checkDrained()
	var err error
	select {
	case <-p.drained:
	case <-ctx.Done():
		err = ctx.Err()
		p.abandoned.Store(true)
		for s := p.pop(); s != nil; s = p.pop() {
			p.run(s) // only drops its jobs now
		}
	}
	p.mu.Lock()
	p.release(len(p.idle))
	p.mu.Unlock()
	return err
}

// Stats returns the pool's present state.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{Goroutines: p.alive, Running: p.alive - len(p.idle), Waiting: p.queue.len}
}

// add appends a job to s and reports whether that made s runnable, so that the
// caller must submit it, and whether the job was accepted.
func (p *Pool) add(s *Strand, job func()) (runnable, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	runnable = !s.active
	if runnable {
		p.active.Add(1) // before the look at closed: either Close sees s or we see Close
	}
	if p.closed.Load() {
		if runnable {
			p.leave()
		}
		return false, false
	}
	s.active = true
	s.push(job)
	return runnable, true
}

// submit puts strands at the end of the queue.
func (p *Pool) submit(l list) {
	p.mu.Lock()
	p.queue.append(l)
	p.summon()
	p.mu.Unlock()
}

// summon gets a worker on its way if there is work and none is coming. p.mu is
// held.
func (p *Pool) summon() {
	if p.coming || p.queue.head == nil {
		return
	}
	if top := len(p.idle) - 1; top >= 0 {
		w := p.idle[top]
		p.idle[top] = nil
		p.idle = p.idle[:top]
		p.low = min(p.low, top)
		p.coming, w.coming = true, true
		w.wake <- true
	} else if p.alive < p.limit {
		p.alive++
		p.coming = true
		go p.work(&worker{wake: make(chan bool, 1), coming: true})
	}
}

// work is a worker's goroutine. If a job ends it by runtime.Goexit, another
// takes its place.
func (p *Pool) work(w *worker) {
	defer func() {
		if w.strand != nil {
			go p.work(w)
		}
	}()
	for p.next(w) {
		if p.run(w.strand) {
			w.strand = nil
		}
	}
}

// next puts the strand that w ran last, if it is not done with, behind the
// others and waits for a strand to run. It returns false when w is to end.
func (p *Pool) next(w *worker) bool {
	if w.strand != nil {
		w.strand.pause()
	}
	for {
		p.mu.Lock()
		if w.strand != nil {
			p.queue.push(w.strand)
		}
		if w.coming {
			w.coming, p.coming = false, false
		}
		w.strand = p.queue.pop()
		if w.strand != nil {
			p.summon()
			p.mu.Unlock()
			return true
		}
		if p.closed.Load() {
			p.alive--
			p.mu.Unlock()
			return false
		}
		p.rest(w)
		p.mu.Unlock()
		if !<-w.wake {
			return false
		}
	}
}

// run runs the jobs of s, at most budget of them, and reports whether s is idle
// and hence no longer the worker's.
func (p *Pool) run(s *Strand) (idle bool) {
	for range budget {
		if p.abandoned.Load() {
			s.Drop()
		}
		if job := s.start(); job != nil {
			p.protect(job)
			continue
		}
		if s.OnIdle != nil {
			p.protect(s.OnIdle)
		}
		if s.retire() {
			p.leave()
			return true
		}
	}
	return false
}

// protect runs a job and reports its panic.
func (p *Pool) protect(job func()) {
	defer func() {
		if v := recover(); v != nil {
			p.logPanic(v, debug.Stack())
		}
	}()
	job()
}

// leave notes that a strand is no longer active.
func (p *Pool) leave() {
	p.active.Add(-1)
	p.checkDrained()
}

// checkDrained lets Close return if nothing is left to wait for.
func (p *Pool) checkDrained() {
	if p.closed.Load() && p.active.Load() == 0 {
		p.drainOnce.Do(func() { close(p.drained) })
	}
}

// pop takes the first strand off the queue.
func (p *Pool) pop() *Strand {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.pop()
}

// rest lays w on the stack of idle workers. p.mu is held.
func (p *Pool) rest(w *worker) {
	p.idle = append(p.idle, w)
	if p.trimming {
		return
	}
	p.trimming, p.low = true, len(p.idle)
	if p.trimmer == nil {
		p.trimmer = time.AfterFunc(p.idleTime, p.trim)
	} else {
		p.trimmer.Reset(p.idleTime)
	}
}

// trim ends the workers that were idle ever since it last looked. One timer for
// all spares each worker setting one whenever it falls idle.
func (p *Pool) trim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(p.low)
	p.low = len(p.idle)
	p.trimming = p.low > 0
	if p.trimming {
		p.trimmer.Reset(p.idleTime)
	}
}

// release ends the n workers that have been idle longest. p.mu is held.
func (p *Pool) release(n int) {
	for _, w := range p.idle[:n] {
		w.wake <- false
	}
	p.idle = slices.Delete(p.idle, 0, n)
	p.low = min(p.low, len(p.idle))
	p.alive -= n
}
