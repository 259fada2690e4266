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
	"sync"
	"sync/atomic"
	"time"
)

// Pool is a bounded set of goroutines that run strands. Its methods may be
// called from any goroutine.
type Pool struct {
	limit    int
	idleTime time.Duration
	logPanic func(v any, stack []byte)

	// LogFull, if it is not nil, is called, in a goroutine of its own and once
	// a minute at most, when work waits and no goroutine may be added. It is to
	// be set before the first job.
	LogFull func()

	active    atomic.Int64  // strands that are active
	closed    atomic.Bool   // true exactly when no job is accepted any more
	abandoned atomic.Bool   // true exactly when jobs not yet started are to be dropped
	coming    atomic.Bool   // true exactly when a worker is on its way to the queue; changed with mu
	drained   chan struct{} // closed when the pool is closed and no strand is active
	drainOnce sync.Once

	mu       sync.Mutex
	queue    list      // strands waiting for a worker
	idle     []*worker // a stack: the one that worked last, whose stack and caches are warm, is on top
	low      int       // the least length of idle since trim looked: so many were not needed
	alive    int       // goroutines
	full     time.Time // when LogFull was called
	trimming bool      // true exactly when trimmer is to fire
	trimmer  *time.Timer
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
		if p.active.Load() == 0 {
			break // both at once: nothing is to be dropped
		}
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

// Coming reports whether a goroutine of the pool has been made runnable and has
// not run yet.
func (p *Pool) Coming() bool { return p.coming.Load() }

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
