// Package load is the client side of a measurement: one thread on epoll that
// keeps many connections busy. The loop is closed: a connection sends its next
// message when the whole reply to the one before has come back, and every byte
// of it was right. Nothing is allocated per message. Several processes may
// share the work: Split divides it, Merge puts their results together. The
// exceptions are GRPC, which leaves the connections to grpc-go's own client, and
// Handshakes: they have a goroutine for each connection; and Broadcast, in which
// one connection sends to all.
package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Limits of a Config.
const (
	minSize     = headerSize // bytes
	maxSize     = 16 << 20   // bytes
	maxPipeline = 1000       // requests
	maxWindow   = 100        // broadcasts: fewer than what servers keep for a connection
	maxConns    = 2_000_000  // connections of all client processes together
	maxTime     = time.Hour  // of the warm-up and of the measured time, each
	// spareFiles is what the process needs besides its connections.
	spareFiles = 32
)

// Config says what to do to a server.
type Config struct {
	Addr      string        // where the server listens: a loopback address and port
	ServerPID int           // the server's process, whose processor time is taken
	Cores     []int         // the cores of server and client, for telling noise
	Conns     int           // connections open at a time
	First     int           // how many connections other client processes have before this one's
	Size      int           // bytes of a message to a server that sends it back
	WebSocket bool          // true exactly when such a server speaks WebSocket, on path /
	Window    int           // how many messages Broadcast has under way to all connections; 0 for other loads
	TLS       bool          // true exactly when the server speaks all that over TLS
	Resume    bool          // true exactly when Handshakes resumes sessions
	HTTP      *HTTP         // what to ask an HTTP server for; nil for one that sends messages back
	WarmUp    time.Duration // before the measured time
	Measure   time.Duration // the measured time
}

// HTTP says what to ask an HTTP server for.
type HTTP struct {
	Target   string // path and query
	Body     string // the right answer's
	Pipeline int    // requests sent at a time on a connection
}

// Split returns the configs of several client processes that do together what
// cfg says. Of Broadcast there is one: when the next message is due is known by
// who has all connections.
func (cfg Config) Split(processes int) []Config {
	if cfg.Window > 0 {
		processes = 1
	}
	processes = max(1, min(processes, cfg.Conns))
	parts := make([]Config, processes)
	for i := range parts {
		from, to := i*cfg.Conns/processes, (i+1)*cfg.Conns/processes
		parts[i] = cfg
		parts[i].First = cfg.First + from
		parts[i].Conns = to - from
	}
	return parts
}

// Check returns why one client process cannot follow cfg, wherever the server
// is.
func (cfg Config) Check() error {
	if cfg.HTTP == nil && (cfg.Size < minSize || cfg.Size > maxSize) {
		return fmt.Errorf("message size %d, want %d to %d", cfg.Size, minSize, maxSize)
	}
	if cfg.WebSocket && cfg.HTTP != nil {
		return errors.New("WebSocket and HTTP at the same time")
	}
	if cfg.Window < 0 || cfg.Window > maxWindow {
		return fmt.Errorf("%d broadcasts at a time, want 1 to %d", cfg.Window, maxWindow)
	}
	if cfg.HTTP != nil && (cfg.HTTP.Pipeline < 1 || cfg.HTTP.Pipeline > maxPipeline) {
		return fmt.Errorf("%d requests at a time, want 1 to %d", cfg.HTTP.Pipeline, maxPipeline)
	}
	if cfg.WarmUp < 0 || cfg.WarmUp > maxTime || cfg.Measure < 0 || cfg.Measure > maxTime {
		return fmt.Errorf("a warm-up of %v and %v of measuring, want 0 to %v each", cfg.WarmUp, cfg.Measure, maxTime)
	}
	if cfg.First < 0 || cfg.First > maxConns-cfg.Conns {
		return fmt.Errorf("connections from number %d on, want numbers from 0 to %d", cfg.First, maxConns)
	}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if most := int(files.Cur) - spareFiles; cfg.Conns < 1 || cfg.Conns > most {
		return fmt.Errorf("%d connections, want 1 to %d: the limit of open files, to be raised by ulimit -n, or use more client processes", cfg.Conns, most)
	}
	return nil
}

// check returns the server's address, or why cfg cannot be followed.
func (cfg Config) check() (*unix.SockaddrInet4, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	addr, err := netip.ParseAddrPort(cfg.Addr)
	if err != nil {
		return nil, err
	}
	if !addr.Addr().Is4() || !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("%s is not an IPv4 loopback address", cfg.Addr)
	}
	return &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}, nil
}

// Loop opens all connections, makes one exchange on each, calls ready, keeps
// them busy for the warm-up and the measured time, and waits for the last
// replies. Several client processes begin together if ready returns when all
// of them have called it.
func Loop(cfg Config, ready func() error) (Result, error) {
	g, err := greeted(cfg)
	if err != nil {
		return Result{}, err
	}
	defer g.close()
	if err := ready(); err != nil {
		return Result{}, err
	}
	g.answered = g.start
	for i := range g.conns {
		if g.conns[i].fd >= 0 {
			g.start(i)
		}
	}
	return g.measure()
}

// Hold opens all connections, makes one exchange on each and returns with all
// of them open and idle. The caller closes them by calling release.
func Hold(cfg Config) (r Result, release func(), err error) {
	g, err := greeted(cfg)
	if err != nil {
		return Result{}, nil, err
	}
	r = g.result
	r.Requests = g.requests
	return r, g.close, nil
}

// greeted returns a generator with all connections open and one exchange done
// on each.
func greeted(cfg Config) (*generator, error) {
	g, err := newGenerator(cfg)
	if err != nil {
		return nil, err
	}
	if err := g.connectAll(); err != nil {
		g.close()
		return nil, err
	}
	started := min(exchangesAtOnce, cfg.Conns)
	g.answered = func(int) {
		if started < len(g.conns) {
			started++
			g.start(started - 1)
		}
	}
	for i := range started {
		g.start(i)
	}
	if err := g.finish(); err != nil {
		g.close()
		return nil, err
	}
	return g, nil
}

// exchangesAtOnce is how many connections wait for their first reply at a
// time: enough for a server to work in batches, too few to blow up its pools.
const exchangesAtOnce = 100
