package sluice

import (
	"errors"

	"github.com/sluice-go/sluice/internal/workers"
)

// Above jobsHigh jobs of one connection that are not done, reading from it
// pauses; at jobsLow it resumes. A peer that asks faster than it can be served
// waits in its own socket then, not in our memory.
const (
	jobsHigh = 64
	jobsLow  = 16
)

// errNilFunc is returned where a function to be called later is nil.
var errNilFunc = errors.New("sluice: the function is nil")

// Offload runs fn, which may block, on a goroutine of a pool that
// Config.Workers bounds. The jobs of one connection run in the order of the
// calls, one at a time, beside the callbacks. A job that panics costs the
// connection, as a callback does. Jobs that have not started when the
// connection breaks, or when what was written before Close has been sent,
// never do; OnClose is not called before the one that runs has returned. More
// than 64 unfinished jobs pause reading until 16 are left. The only error is
// ErrClosed.
//
// To answer and then close, call Close in the job. A job must not use slices
// that OnData was lent. What OnData writes itself is sent at once, before the
// answers of jobs that have not run yet. The idle timeout does not pass while
// jobs are unfinished.
func (c Conn) Offload(fn func(c Conn)) error {
	if fn == nil {
		return errNilFunc
	}
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	a := c.act()
	a.jobs.waiting = append(a.jobs.waiting, fn)
	if a.jobs.count++; a.jobs.count > jobsHigh {
		s.flags |= flagPausedJobs
	}
	s.want |= wantJobs
	c.notify(s)
	return nil
}

// jobs are a connection's offloaded jobs. slot.mu guards them.
type jobs struct {
	strand  workers.Strand
	waiting []func(Conn) // not yet given to the strand
	count   int          // jobs that are not done: waiting, in the strand, running
}

// drop forgets the jobs that have not started.
func (j *jobs) drop() {
	if j.count > 0 {
		j.count -= len(j.waiting) + j.strand.Drop()
		j.waiting = nil
	}
}

// batchJobs gives a connection's new jobs to its strand, with the slot
// locked. They start when the pass has ended and the batch is handed over, so
// that a pass wakes one goroutine and not one for each request.
func (l *eventLoop) batchJobs(ch *chunk, i uint32) {
	c := ch.conn(i)
	j := &ch.part(i).jobs
	for n, fn := range j.waiting {
		if !l.batch.Go(&j.strand, func() { c.runJob(fn) }) {
			j.count-- // the pool was closed, which is after the last connection
		}
		j.waiting[n] = nil
	}
	j.waiting = j.waiting[:0]
	l.yield = true
}

// runJob runs a job on a worker.
func (c Conn) runJob(fn func(Conn)) {
	l := c.ch.loop
	defer c.jobDone()
	if s, err := c.lock(); err == nil {
		broken := s.flags&flagWriteBroken != 0
		s.mu.Unlock()
		if !broken {
			l.callFunc("Offload", c, fn)
		}
	}
}

// jobDone counts a job that has run.
func (c Conn) jobDone() {
	s, err := c.lockAny()
	if err != nil {
		return
	}
	j := &c.act().jobs
	j.count--
	s.acted(c.ch.loop.time()) // a connection that is being served is not idle
	resume := j.count <= jobsLow && s.flags&flagPausedJobs != 0
	if resume {
		s.flags &^= flagPausedJobs
	}
	if j.count == 0 || resume {
		c.notify(s)
		return
	}
	s.mu.Unlock()
}
