package websocket

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// gentle is how many connections are closed per second at least: so few that
	// come back do no harm, and a server with a few is not kept from ending.
	gentle = 200

	// shutdownTick is how often Shutdown closes some more.
	shutdownTick = 10 * time.Millisecond
)

// Shutdown ends the server in order: it stops listening, answers handshakes with 503,
// closes the connections with the status 1001 and waits until they have ended. Their
// closing is spread evenly over three quarters of the time until ctx's deadline, so that
// clients that connect again do not come all at once, but at least 200 are closed in a
// second; without a deadline all are at once. A peer that takes nothing holds it for
// CloseTimeout and sluice.Config.LingerTimeout, 15 seconds unless they are set. When ctx
// ends first, the rest is aborted and its error returned.
//
// Over httpd the listener is httpd's and stays open: take the server out of the load
// balancer first, and call httpd.Server.Shutdown afterwards, with time of its own; it does
// not wait for connections of WebSocket. Shutdown must not be called from a callback. A
// second call returns http.ErrServerClosed at once.
func (s *Server) Shutdown(ctx context.Context) error {
	sv, err := s.ready()
	if err != nil {
		return err
	}
	if sv.leaving.Swap(true) {
		return http.ErrServerClosed
	}
	close(s.stop)
	s.mu.Lock()
	listeners, own := s.listeners, s.own
	s.mu.Unlock()
	for _, ln := range listeners {
		_ = ln.Close()
	}
	err = sv.close(ctx)
	if own != nil {
		if err != nil {
			_ = own.Close()
		} else {
			err = own.Shutdown(ctx)
		}
	}
	return err
}

// close closes all connections and waits for their end.
func (s *service) close(ctx context.Context) error {
	began := time.Now()
	conns, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	spread := time.Duration(len(conns)) * time.Second / gentle
	if end, ok := ctx.Deadline(); ok {
		spread = min(spread, end.Sub(began)*3/4)
	} else {
		spread = 0
	}
	tick := time.NewTicker(shutdownTick)
	defer tick.Stop()
	for next := 0; ; {
		due := len(conns)
		if passed := time.Since(began); passed < spread {
			due = 1 + int(float64(due)*float64(passed)/float64(spread))
		}
		for ; next < min(due, len(conns)); next++ {
			_ = conns[next].Close(GoingAway, "") // fails only if it closes already
			conns[next] = nil
		}
		if next == len(conns) && s.admitted.Load() == 0 && s.stats().Conns == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.abort()
			return ctx.Err()
		}
	}
}

// snapshot returns the connections that are open. When ctx ends first, as it may while a
// loop is busy, they are aborted and its error is returned.
func (s *service) snapshot(ctx context.Context) ([]*Conn, error) {
	var mu sync.Mutex
	var all []*Conn
	told := make(chan struct{}, 1<<10) // no loop waits
	s.all.mu.Lock()
	asked := s.all.each(func(p *shard) {
		mu.Lock()
		all = slices.AppendSeq(all, p.open())
		mu.Unlock()
		told <- struct{}{}
	})
	s.all.mu.Unlock()
	for range asked {
		select {
		case <-told:
		case <-ctx.Done():
			s.abort()
			return nil, ctx.Err()
		}
	}
	return all, nil
}

// abort has the loops abort their connections.
func (s *service) abort() {
	s.all.mu.Lock()
	defer s.all.mu.Unlock()
	s.all.each(func(p *shard) {
		for c := range p.open() {
			_ = c.Abort()
		}
	})
}
