package sluice

import (
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"time"
)

// Config is an Engine's settings. The zero value is ready to use.
type Config struct {
	// Loops is the number of event loops that serve connections.
	// 0 means one for each processor that Go may use (GOMAXPROCS).
	Loops int

	// Driver names how the loops talk to the kernel: "epoll" (Linux),
	// "io_uring" (Linux 6.1 or newer, unless it is forbidden), "kqueue" (macOS
	// and the BSDs), or "portable", which works everywhere, costs two goroutines
	// a connection and is meant for development. "" and "auto" mean the first of
	// Drivers that can be used here: on Linux epoll, since io_uring costs less
	// only with small messages on hundreds of connections, and then less than a
	// tenth. See CheckDriver.
	Driver string

	// DirectDescriptors keeps TCP connections in tables of the loops' own rings
	// instead of the process's table of descriptors: each loop has room for as
	// many as the process may have descriptors (RLIMIT_NOFILE) without using one
	// for longer than it takes to open the connection. It needs the driver
	// "io_uring" and Linux 6.13, which New tells. SetNoDelay and SetKeepAlive
	// then fail, and so does SendFile, with errors.ErrUnsupported; Detach takes
	// a descriptor, a write from another goroutine always wakes the loop, bytes
	// come in pieces of 8 KiB, and Close waits for every peer's end as it does
	// for that of a slow one. Beyond the tables, connections have descriptors:
	// LoopStats.Direct counts those that have none.
	DirectDescriptors bool

	// Accept says who accepts connections.
	Accept AcceptMode

	// Balancer picks the loop of a new connection. nil means RoundRobin.
	Balancer Balancer

	// IdleTimeout closes a connection on which no byte came or left for so
	// long and no offloaded job was unfinished. 0 means never.
	// Conn.SetIdleTimeout changes it for one.
	IdleTimeout time.Duration

	// LingerTimeout is for how long a peer may take nothing of what was written
	// before Close and is still to be sent; then it is cut off, and so it is at
	// the write deadline. When the peer's kernel has all bytes, the wait for
	// its end is half a second or, if it did not take them without delay, as
	// long as this. 0 means 10 seconds.
	LingerTimeout time.Duration

	// HighWater and LowWater are counts of bytes waiting to be sent on one
	// connection. Above HighWater reading pauses, so that a peer that does
	// not take answers cannot go on asking (see Conn.SetBackpressure); at
	// LowWater it resumes and OnDrain is called. 0 means 1 MiB and a quarter
	// of HighWater.
	HighWater int
	LowWater  int

	// WriteLimit is the number of bytes that may wait to be sent on one
	// connection; a write beyond it fails with ErrWriteLimit.
	// 0 means 16 MiB or HighWater, whichever is more; at most 1 GiB.
	WriteLimit int

	// ReadLimit is how many received bytes OnData may leave unread before
	// the connection is aborted with ErrReadLimit, which is what keeps a
	// message that never ends from taking all memory. It must exceed the
	// longest message that a handler waits for, and the 64 KiB of one read
	// where a handler pauses, as WebSocket's do. 0 means 16 MiB.
	ReadLimit int

	// AbortOnLimit makes a write beyond WriteLimit also abort the
	// connection, with ErrWriteLimit as the cause. It suits pushing to many
	// peers, where one that does not read is to be dropped. What a callback
	// writes is sent when it returns, so WriteLimit must have room for all
	// that one callback writes to one connection (a callback is given up to
	// 64 KiB of new bytes at a time), or the callback calls Conn.Flush.
	AbortOnLimit bool

	// KeepAlive is the idle time after which TCP probes the peer.
	// 0 means 15 seconds, a negative value none.
	KeepAlive time.Duration

	// HandshakeTimeout ends a connection whose TLS handshake is not over so long
	// after it was accepted or connected. 0 means 10 seconds.
	HandshakeTimeout time.Duration

	// MaxHandshakes is how many TLS handshakes may run at a time. Each has a
	// goroutine and about 20 KB; others wait, and their time passes. One that has
	// not sent its first whole message does not count; one in a callback that
	// does not return when its context ends, does. 0 means 10,000.
	MaxHandshakes int

	// Workers is the greatest number of goroutines that run offloaded jobs
	// at one time. 0 means 256 for each processor.
	Workers int

	// Logger gets what an operator should know: panics of handlers,
	// exhausted descriptors. nil means slog.Default().
	Logger *slog.Logger
}

// AcceptMode says which loops accept connections.
type AcceptMode uint8

const (
	// AcceptAuto is AcceptPerLoop for TCP where the system spreads
	// connections over several listeners of one address (Linux and
	// FreeBSD), otherwise AcceptMain.
	AcceptAuto AcceptMode = iota

	// AcceptMain has a main loop that does nothing but accept and hand each
	// connection to the loop that the Balancer picks.
	AcceptMain

	// AcceptPerLoop gives each loop a listener of its own with SO_REUSEPORT;
	// the kernel spreads connections over them by a hash of the addresses.
	// Unix sockets cannot do this and are accepted as with AcceptMain.
	AcceptPerLoop
)

// String returns "auto", "main" or "perloop".
func (m AcceptMode) String() string {
	switch m {
	case AcceptAuto:
		return "auto"
	case AcceptMain:
		return "main"
	case AcceptPerLoop:
		return "perloop"
	}
	return fmt.Sprintf("AcceptMode(%d)", uint8(m))
}

const (
	defaultLinger     = 10 * time.Second
	defaultHighWater  = 1 << 20
	defaultWriteLimit = 16 << 20
	defaultReadLimit  = 16 << 20
	maxWriteLimit     = 1 << 30          // a slot counts in 32 bits
	defaultKeepAlive  = 15 * time.Second // as package net
	workersPerProc    = 256
	workerIdle        = 10 * time.Second // an unused worker goroutine ends after it

	// finWait bounds the wait for the peer's FIN after ours, once its kernel
	// has all bytes. Closing before the peer's last bytes were read makes
	// our kernel send a reset, upon which some systems throw away what the
	// application has not read; half a second is what package net/http
	// grants, too. A peer that proved slow gets the whole linger time.
	finWait = 500 * time.Millisecond

	// maxIdle is what slot.idle can hold.
	maxIdle = math.MaxUint32 * time.Millisecond
)

// withDefaults returns cfg with its zeros filled in, or what is wrong with it.
func (cfg Config) withDefaults() (Config, error) {
	set := func(p *int, def int) {
		if *p == 0 {
			*p = def
		}
	}
	set(&cfg.Loops, runtime.GOMAXPROCS(0))
	set(&cfg.HighWater, defaultHighWater)
	set(&cfg.LowWater, cfg.HighWater/4)
	set(&cfg.WriteLimit, max(defaultWriteLimit, cfg.HighWater))
	set(&cfg.ReadLimit, defaultReadLimit)
	set(&cfg.Workers, workersPerProc*runtime.GOMAXPROCS(0))
	set(&cfg.MaxHandshakes, 10_000)
	if cfg.HandshakeTimeout == 0 {
		cfg.HandshakeTimeout = 10 * time.Second
	}
	if cfg.LingerTimeout == 0 {
		cfg.LingerTimeout = defaultLinger
	}
	if cfg.KeepAlive == 0 {
		cfg.KeepAlive = defaultKeepAlive
	}
	cfg.KeepAlive = max(cfg.KeepAlive, 0)
	if cfg.Balancer == nil {
		cfg.Balancer = RoundRobin()
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	switch {
	case cfg.Loops < 0 || cfg.Loops > 1024:
		return cfg, fmt.Errorf("sluice: Config.Loops is %d; it must be between 0 and 1024", cfg.Loops)
	case cfg.Workers < 0:
		return cfg, fmt.Errorf("sluice: Config.Workers is %d; it must not be negative", cfg.Workers)
	case cfg.ReadLimit < 0:
		return cfg, fmt.Errorf("sluice: Config.ReadLimit is %d; it must not be negative", cfg.ReadLimit)
	case cfg.Accept > AcceptPerLoop:
		return cfg, fmt.Errorf("sluice: Config.Accept is %v; it must be AcceptAuto, AcceptMain or AcceptPerLoop", cfg.Accept)
	case cfg.IdleTimeout < 0 || cfg.IdleTimeout > maxIdle:
		return cfg, fmt.Errorf("sluice: Config.IdleTimeout is %v; it must be between 0 and %v", cfg.IdleTimeout, maxIdle)
	case cfg.MaxHandshakes < 0 || cfg.HandshakeTimeout < 0:
		return cfg, fmt.Errorf("sluice: Config.MaxHandshakes is %d and HandshakeTimeout %v; they must not be negative", cfg.MaxHandshakes, cfg.HandshakeTimeout)
	case cfg.LingerTimeout < 0:
		return cfg, fmt.Errorf("sluice: Config.LingerTimeout is %v; it must not be negative", cfg.LingerTimeout)
	case cfg.LowWater < 0 || cfg.LowWater > cfg.HighWater || cfg.HighWater > cfg.WriteLimit || cfg.WriteLimit > maxWriteLimit:
		return cfg, fmt.Errorf("sluice: Config has LowWater %d, HighWater %d, WriteLimit %d; they must ascend from 0 to at most %d",
			cfg.LowWater, cfg.HighWater, cfg.WriteLimit, maxWriteLimit)
	}
	return cfg, nil
}
