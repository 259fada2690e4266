package load

import (
	"os"
	"time"

	"github.com/sluice-go/sluice/bench/internal/proc"
)

// meter takes the measurements of one client process.
type meter struct {
	cfg       Config
	epoch     time.Time
	before    sample // when the measuring began
	requests  int64  // answers since then
	latencies Histogram
	result    Result
}

func newMeter(cfg Config) meter {
	return meter{cfg: cfg, epoch: time.Now(), latencies: newHistogram()}
}

func (m *meter) now() time.Duration { return time.Since(m.epoch) }

// record notes answers to what began at the given time since the epoch.
func (m *meter) record(began time.Duration, answers int) {
	m.latencies.record(m.now()-began, answers)
	m.requests += int64(answers)
}

func (m *meter) count(err error) {
	m.result.Errors++
	if m.result.FirstError == "" {
		m.result.FirstError = err.Error()
	}
}

// begin begins the measured time: what was recorded before is forgotten.
func (m *meter) begin() (err error) {
	m.requests = 0
	m.latencies.h.Reset()
	m.before, err = m.sample()
	return err
}

// end ends the measured time. Only errors and latencies are added after it.
func (m *meter) end() error {
	after, err := m.sample()
	if err != nil {
		return err
	}
	r, before := &m.result, m.before
	r.Requests = m.requests
	r.Elapsed = after.at - before.at
	r.ServerCPU = after.server - before.server
	r.ClientCPU = after.client - before.client
	r.BusiestCPU = r.ClientCPU
	r.Busy, r.Cores = after.busy-before.busy, len(m.cfg.Cores)
	r.Resident, err = proc.Resident(m.cfg.ServerPID)
	return err
}

// conclude returns the result when nothing is under way any more. The
// latencies are also those of what came back after the measured time: the
// slowest of all may be among them.
func (m *meter) conclude() Result {
	m.result.Latencies = m.latencies
	m.result.derive()
	return m.result
}

// sample is a moment of the clocks that a measurement compares.
type sample struct {
	at             time.Duration
	server, client time.Duration // processor time
	busy           time.Duration // of the cores
}

func (m *meter) sample() (s sample, err error) {
	if s.server, err = proc.CPU(m.cfg.ServerPID); err != nil {
		return s, err
	}
	if s.client, err = proc.CPU(os.Getpid()); err != nil {
		return s, err
	}
	s.at = m.now()
	s.busy, err = proc.Busy(m.cfg.Cores)
	return s, err
}
