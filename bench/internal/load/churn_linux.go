package load

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// churnSources is how many source addresses Churn uses in turn. The ports of
// all of them together last for longer than a run, however many connections
// linger in TIME_WAIT.
const churnSources = 250

// Churn calls ready, as Loop does, opens a connection, makes one exchange, closes it and begins again, on
// cfg.Conns connections at a time. A request is a whole such life; its latency
// lasts from before the connecting to the end of the reply.
func Churn(cfg Config, ready func() error) (Result, error) {
	if cfg.WebSocket || cfg.TLS {
		return Result{}, errors.New("connections with handshakes are opened one after the other: use Loop, or Handshakes")
	}
	g, err := newGenerator(cfg)
	if err != nil {
		return Result{}, err
	}
	defer g.close()
	if err := ready(); err != nil {
		return Result{}, err
	}
	opened := cfg.First
	open := func(i int) {
		opened++
		began := g.now()
		if err := g.connect(i, 1+opened%churnSources); err != nil {
			g.fail(i, err)
			return
		}
		g.startAt(i, began)
	}
	g.answered = func(i int) {
		unix.Close(g.conns[i].fd)
		g.conns[i].fd = -1
		open(i)
	}
	for i := range g.conns {
		open(i)
	}
	return g.measure()
}

// connect begins to open connection i from the given source and does not wait.
func (g *generator) connect(i, source int) error {
	fd, err := g.socket(unix.SOCK_NONBLOCK)
	if err != nil {
		return err
	}
	c := &g.conns[i]
	c.fd, c.stalled = fd, false
	if err := bindSource(fd, source); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := unix.Connect(fd, g.server); err != nil && err != unix.EINPROGRESS {
		return fmt.Errorf("connect: %w", err)
	}
	return g.watch(i, unix.EPOLL_CTL_ADD, unix.EPOLLIN)
}
