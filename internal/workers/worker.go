package workers

import (
	"runtime/debug"
	"slices"
	"time"
)

// budget is the number of jobs that a strand may run while others wait.
const budget = 64

// worker is a goroutine of the pool.
type worker struct {
	wake   chan bool // where it sleeps while idle; receiving false ends it
	coming bool      // true exactly when Pool.coming means this one
	strand *Strand   // the one it runs
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
	if p.coming.Load() || p.queue.head == nil {
		return
	}
	if top := len(p.idle) - 1; top >= 0 {
		w := p.idle[top]
		p.idle[top] = nil
		p.idle = p.idle[:top]
		p.low = min(p.low, top)
		w.coming = true
		p.coming.Store(true)
		w.wake <- true
	} else if p.alive < p.limit {
		p.alive++
		p.coming.Store(true)
		go p.work(&worker{wake: make(chan bool, 1), coming: true})
	} else if now := time.Now(); p.LogFull != nil && now.Sub(p.full) >= time.Minute {
		p.full = now
		go p.LogFull()
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
	for {
		p.mu.Lock()
		if w.strand != nil {
			p.queue.push(w.strand)
		}
		if w.coming {
			w.coming = false
			p.coming.Store(false)
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
		job := s.start()
		if job == nil {
			p.leave()
			return true
		}
		p.protect(job)
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
