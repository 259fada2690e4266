// Package portable is a driver over package net, for systems that have none
// of their own. Each connection costs a goroutine and the block that it reads
// into: it is made for developing on such a system, not for serving many
// connections, and so it does everything in the plainest way.
//
// A descriptor of this System is the number of an entry in its table, not of
// the operating system's; System.File turns one that was detached into a file
// that has a real descriptor.
package portable

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// System is the table of descriptors that the portable drivers of an engine
// share. Its methods may be called from any goroutine.
type System struct {
	mu    sync.Mutex
	slots []slot
	free  []int // numbers to be used again, the latest first
}

// slot is an entry of the table: a connection, a listener, or free.
type slot struct {
	conn     net.Conn
	listener *listener
}

// listener is what Listen made.
type listener struct {
	net.Listener
	options driver.ListenOptions
	adopted bool     // true exactly when it is to stay open
	used    bool     // true exactly while a driver accepts from it; guarded by System.mu
	kept    net.Conn // accepted, but not reported before Unlisten; guarded by System.mu
}

// New makes a System.
func New() *System { return &System{} }

// Name returns "portable".
func (s *System) Name() string { return "portable" }

// Probe returns nil: it works everywhere.
func (s *System) Probe() error { return nil }

// New makes the driver of a loop.
func (s *System) New(h driver.Events, pool *buffer.Pool) (driver.Driver, error) {
	return &loop{
		sockets: sockets{s},
		events:  h,
		pool:    pool,
		start:   time.Now(),
		results: results{signal: make(chan struct{}, 1)},
	}, nil
}

// Listen makes a listening descriptor. ReusePort gives errors.ErrUnsupported,
// for package net has no portable way to it.
func (s *System) Listen(ctx context.Context, network, address string, o driver.ListenOptions) (int, net.Addr, error) {
	if o.ReusePort {
		return -1, nil, fmt.Errorf("listen %s %s: sharing the port: %w", network, address, errors.ErrUnsupported)
	}
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return -1, nil, fmt.Errorf("listen %s: %w", address, net.UnknownNetworkError(network))
	}
	// A resolver that answers at once wins against ctx half of the time.
	if err := ctx.Err(); err != nil {
		return -1, nil, fmt.Errorf("listen %s %s: %w", network, address, err)
	}
	// Accepted connections get the keep-alive of o, not that of package net.
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, network, address)
	if err != nil {
		return -1, nil, err
	}
	fd := s.add(slot{listener: &listener{Listener: ln, options: o}})
	return fd, ln.Addr(), nil
}

// Adopt makes a descriptor of l.
func (s *System) Adopt(l net.Listener, o driver.ListenOptions) (int, error) {
	return s.add(slot{listener: &listener{Listener: l, options: o, adopted: true}}), nil
}

// CloseListener closes what Listen made, or forgets what Adopt was given.
func (s *System) CloseListener(fd int) error {
	ln := s.get(fd).listener
	if ln == nil {
		return fmt.Errorf("close listener %d: %w", fd, net.ErrClosed)
	}
	s.remove(fd)
	s.mu.Lock()
	kept := ln.kept
	ln.kept = nil
	s.mu.Unlock()
	if kept != nil {
		kept.Close()
	}
	if ln.adopted {
		return nil
	}
	return ln.Close()
}

// File makes a file of a descriptor that was detached or never opened. Where
// package net cannot (on Windows), the error is errors.ErrUnsupported and the
// connection is closed.
func (s *System) File(fd int) (*os.File, error) {
	c, ok := s.get(fd).conn.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("file of descriptor %d: %w", fd, net.ErrClosed)
	}
	f, err := c.File()
	// The file has a descriptor of its own for the same connection.
	s.remove(fd).conn.Close()
	return f, err
}

// add gives v a number.
func (s *System) add(v slot) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := len(s.free); k > 0 {
		fd := s.free[k-1]
		s.free = s.free[:k-1]
		s.slots[fd] = v
		return fd
	}
	s.slots = append(s.slots, v)
	return len(s.slots) - 1
}

// get returns what has number fd, an empty slot if nothing has.
func (s *System) get(fd int) slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	if fd < 0 || fd >= len(s.slots) {
		return slot{}
	}
	return s.slots[fd]
}

// remove frees number fd, which is in use, and returns what had it.
func (s *System) remove(fd int) slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.slots[fd]
	s.slots[fd] = slot{}
	s.free = append(s.free, fd)
	return v
}

// sockets is driver.Sockets.
type sockets struct{ system *System }

// conn returns the connection with number fd.
func (s sockets) conn(fd int) (net.Conn, error) {
	c := s.system.get(fd).conn
	if c == nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, net.ErrClosed)
	}
	return c, nil
}

// TryWrite writes what fits at once.
func (s sockets) TryWrite(fd int, p []byte) (int, error) {
	c, err := s.conn(fd)
	if err != nil {
		return 0, err
	}
	return tryWrite(c, p)
}

// TrySendFile returns errors.ErrUnsupported: package net sends files only in a
// way that may block.
func (s sockets) TrySendFile(int, *os.File, int64, int) (int, error) {
	return 0, errors.ErrUnsupported
}

// Unsent returns how many bytes the peer has not got, where the system tells.
func (s sockets) Unsent(fd int) int {
	c, err := s.conn(fd)
	if err != nil {
		return 0
	}
	return unsent(c)
}

// LocalAddr returns the address of this side, or that of a listener.
func (s sockets) LocalAddr(fd int) net.Addr {
	switch v := s.system.get(fd); {
	case v.conn != nil:
		return v.conn.LocalAddr()
	case v.listener != nil:
		return v.listener.Addr()
	}
	return nil
}

// RemoteAddr returns the address of the other side.
func (s sockets) RemoteAddr(fd int) net.Addr {
	c, err := s.conn(fd)
	if err != nil {
		return nil
	}
	return c.RemoteAddr()
}

// SetNoDelay switches Nagle's algorithm off or on.
func (s sockets) SetNoDelay(fd int, on bool) error {
	c, err := s.conn(fd)
	if tcp, ok := c.(*net.TCPConn); ok {
		return tcp.SetNoDelay(on)
	}
	return err
}

// SetKeepAlive sets or switches off TCP keep-alive.
func (s sockets) SetKeepAlive(fd int, idle time.Duration) error {
	c, err := s.conn(fd)
	if tcp, ok := c.(*net.TCPConn); ok {
		return setKeepAlive(tcp, idle)
	}
	return err
}

func setKeepAlive(c *net.TCPConn, idle time.Duration) error {
	switch {
	case idle < 0:
		return fmt.Errorf("keep-alive after %v: %w", idle, os.ErrInvalid)
	case idle == 0:
		return c.SetKeepAlive(false)
	}
	// The interval and count of probes stay the system's.
	return c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: idle, Interval: -1, Count: -1})
}
