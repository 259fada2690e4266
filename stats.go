package sluice

import (
	"math"
	"sync"
	"time"

	"github.com/sluice-go/sluice/internal/driver"
)

// Stats is a snapshot of an engine's counters.
type Stats struct {
	Driver string // the driver's name
	Loops  []LoopStats
	Jobs   JobStats

	HandshakesWaiting int // TLS handshakes at present for which Config.MaxHandshakes leaves no place
}

// LoopStats are the counters of one loop since it began, but for those that
// say they are present values.
type LoopStats struct {
	Main            bool  // accepts for the other loops and has no connections
	Conns           int64 // connections at present, those being dialed or closed included
	Accepted        int64 // connections accepted by this loop, for itself or for others
	AcceptErrors    int64 // pauses of accepting, for want of descriptors as a rule
	HandshakeErrors int64 // TLS handshakes that failed
	BytesIn         int64 // bytes received, with TLS decrypted
	BytesOut        int64 // bytes that the kernel took
	Passes          int64 // turns of the loop
	Enters          int64 // system calls that waited for the kernel, looked or submitted
	Submissions     int64 // operations handed to the kernel in them; io_uring only
	Completions     int64 // events or completions that the kernel reported in them
	Starved         int64 // receives that stopped for want of a buffer; io_uring only
	Overflows       int64 // times that the completion queue was full; io_uring only
	Direct          int64 // those of Conns that have no descriptor, see Config.DirectDescriptors
	Wakeups         int64 // times that another goroutine ended the loop's sleep
	Queued          int   // requests, functions and connections waiting for the loop at present
	LiveBlocks      int64 // blocks of buffer memory in use at present
	LiveBytes       int64 // their size in bytes

	// Busy is how long the loop's present turn has lasted, in whole
	// milliseconds, and 0 while it waits for something to do. More than a few
	// say that a callback takes long or blocks, and that all the loop's other
	// connections wait for it.
	Busy time.Duration
}

// JobStats tell about offloaded jobs at present.
type JobStats struct {
	Goroutines int // of the pool, at most Config.Workers
	Running    int // goroutines that run a job
	Waiting    int // connections with jobs for which no goroutine is free
}

// Stats returns the engine's counters. They are brought up to date once per
// pass, so a loop's are consistent with each other at the end of a pass.
func (e *Engine) Stats() Stats {
	w := e.jobs.Stats()
	st := Stats{
		Driver: e.sys.Name(),
		Jobs:   JobStats{Goroutines: w.Goroutines, Running: w.Running, Waiting: w.Waiting},

		HandshakesWaiting: e.handshakes.Waiting(),
	}
	for i, l := range e.all() {
		l.published.mu.Lock()
		c := l.published.counters
		l.published.mu.Unlock()
		st.Loops = append(st.Loops, LoopStats{
			Main:            i >= len(e.loops),
			Conns:           c.conns,
			Accepted:        c.accepted,
			AcceptErrors:    c.acceptErrors,
			HandshakeErrors: c.handshakeErrors,
			BytesIn:         c.bytesIn,
			BytesOut:        c.bytesOut + l.bytesDirect.Load(),
			Passes:          c.passes,
			Enters:          c.driver.Enters,
			Submissions:     c.driver.Submissions,
			Completions:     c.driver.Completions,
			Starved:         c.driver.Starved,
			Overflows:       c.driver.Overflows,
			Direct:          c.driver.Direct,
			Wakeups:         l.wakeups.Load(),
			Queued:          l.attention.Len() + l.tasks.Len() + l.incoming.Len(),
			LiveBlocks:      l.pool.Live(),
			LiveBytes:       l.pool.LiveBytes(),
			Busy:            time.Duration(max(l.time()-l.began.Load(), 0)) * time.Millisecond,
		})
	}
	return st
}

// counters are a loop's own; plain, because they change with every message.
type counters struct {
	conns, accepted, acceptErrors, handshakeErrors, bytesIn, bytesOut, passes int64
	driver                                                                    driver.Counters
}

// published is what others see of them. A lock that nobody contends costs less
// than an atomic store for each of them.
type published struct {
	mu       sync.Mutex
	counters counters
}

// atRest stands for the time of a loop that waits, and lies ahead of all times.
const atRest = math.MaxInt64

// publish shows a pass's changes to others.
func (l *eventLoop) publish() {
	l.count.passes++
	l.count.driver = l.drv.Counters()
	l.published.mu.Lock()
	l.published.counters = l.count
	l.published.mu.Unlock()
}
