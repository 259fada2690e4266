package load

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// pollMs bounds one wait for events, in milliseconds, and so the lateness of
// the end of a measurement in which nothing happens.
const pollMs = 20

// run serves events until the given time since the epoch, or until nothing is
// under way.
func (g *generator) run(until time.Duration) error {
	for g.waiting > 0 && g.now() < until && g.result.Errors < tooManyErrors {
		n, err := unix.EpollWait(g.epoll, g.events, pollMs)
		if err != nil && err != unix.EINTR {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for _, ev := range g.events[:max(n, 0)] {
			g.ready(int(ev.Fd), ev.Events)
		}
	}
	return nil
}

func (g *generator) ready(i int, events uint32) {
	if events&unix.EPOLLOUT != 0 && g.conns[i].stalled {
		g.send(i)
	}
	if events&^uint32(unix.EPOLLOUT) != 0 && g.conns[i].fd >= 0 {
		g.receive(i)
	}
}

// measure runs the warm-up, the measured time and the end.
func (g *generator) measure() (Result, error) {
	if err := g.run(g.now() + g.cfg.WarmUp); err != nil {
		return Result{}, err
	}
	if err := g.begin(); err != nil {
		return Result{}, err
	}
	if err := g.run(g.before.at + g.cfg.Measure); err != nil {
		return Result{}, err
	}
	if err := g.end(); err != nil {
		return Result{}, err
	}
	g.ending = true
	if err := g.finish(); err != nil {
		return Result{}, err
	}
	return g.conclude(), nil
}

// finish runs until nothing is under way, or nothing comes back any more. What
// is under way then are errors.
func (g *generator) finish() error {
	for before := int64(-1); g.waiting > 0 && g.received > before; {
		before = g.received
		if err := g.run(g.now() + patience); err != nil {
			return err
		}
	}
	for i := range g.conns {
		if g.conns[i].waiting {
			g.fail(i, errNoAnswer)
		}
	}
	return nil
}
