package sluice

import (
	"context"
	"runtime"
	"time"
)

// This file gives a script's connections offloaded jobs. They run on other
// goroutines, but in step with the dice: the script waits wherever one of them
// begins or ends, so a seed is replayed exactly all the same.

// simJob is a job that waits until the script, or OnHangup, lets it end.
type simJob struct {
	started, release chan struct{}
	begun            bool // true exactly when the script has seen it start
	act              bool // true exactly when it is to do something before it ends
}

// offload gives the connection a job, if it has none.
func (c *simConn) offload(h Conn) {
	if _, err := h.Write(nil); c.job != nil || err != nil {
		return // once sending has failed, the job would not be run
	}
	j := &simJob{started: make(chan struct{}), release: make(chan struct{})}
	err := h.Offload(func(h Conn) {
		close(j.started)
		<-j.release
		if j.act {
			c.engineStep(h)
		}
	})
	if err == nil {
		c.job = j
	}
}

// jobs returns how many jobs of c are not done, and how many of them have not
// been handed over.
func (c Conn) jobs() (unfinished, waiting int) {
	s, err := c.lockAny()
	if err != nil {
		return 0, 0
	}
	defer s.mu.Unlock()
	if a := c.part(); a != nil {
		return a.jobs.count, len(a.jobs.waiting)
	}
	return 0, 0
}

// awaitJob waits until the connection's job has begun, if a pass has handed it
// over, and notes if it was dropped.
func (c *simConn) awaitJob() {
	if c.job == nil || c.job.begun {
		return
	}
	switch unfinished, waiting := c.handle.jobs(); {
	case unfinished == 0:
		c.job = nil
	case waiting == 0:
		select {
		case <-c.job.started:
			c.job.begun = true
		case <-time.After(bound):
			c.s.fail("connection %d: its job does not start", c.number)
			c.job = nil
			return
		}
		if c.hungUp {
			c.finishJob(false)
		}
	}
}

// finishJob lets the connection's job, which has begun, come to its end.
func (c *simConn) finishJob(act bool) {
	c.job.act = act
	close(c.job.release)
	for n := 1; n > 0; n, _ = c.handle.jobs() {
		runtime.Gosched()
	}
	c.job = nil
}

// endJobs leaves no goroutine behind.
func (s *script) endJobs() {
	for _, c := range s.conns {
		if c.job != nil {
			close(c.job.release)
		}
	}
	if s.eng != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what a planted bug left behind is not waited for
		_ = s.eng.jobs.Close(ctx)
	}
}
