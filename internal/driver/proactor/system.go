//go:build linux

package proactor

import (
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
	"github.com/sluice-go/sluice/internal/uring"
)

// sizes are those of a driver's rings.
type sizes struct {
	// submissions are used in turn, 64 bytes each: more of them save system
	// calls, but push other things out of the cache.
	submissions uint32
	completions uint32 // several for each submission, since operations go on

	// The kernel goes through all buffers in turn, so together they should
	// stay in the cache of one core.
	buffers    int // a power of two
	bufferSize int // in bytes
}

// system makes the drivers.
type system struct {
	sock.Descriptors
	sizes
	direct bool // see table
	mu     sync.Mutex
	// waiting are the connections that the kernel had accepted when a driver
	// ended listening, by listening descriptor. They wait for the next, as they
	// would in the kernel's queue.
	waiting map[int][]int
}

// IOUring returns the driver over io_uring(7).
func IOUring() driver.System {
	return newSystem(sizes{submissions: 256, completions: 4096, buffers: 64, bufferSize: 8 << 10})
}

// Direct returns the same driver, but TCP connections are no descriptors of the
// process: see table.
func Direct() driver.System {
	s := IOUring().(*system)
	s.direct = true
	return s
}

func newSystem(s sizes) *system { return &system{sizes: s, waiting: map[int][]int{}} }

func (s *system) Name() string { return "io_uring" }

// What Probe says is found out once.
var (
	probed       = sync.OnceValue(uring.Probe)
	probedDirect = sync.OnceValue(uring.ProbeFiles)
)

func (s *system) Probe() error {
	if s.direct {
		return probedDirect()
	}
	return probed()
}

func (s *system) New(h driver.Events, pool *buffer.Pool) (driver.Driver, error) {
	ring, err := uring.New(s.submissions, s.completions)
	if err != nil {
		return nil, fmt.Errorf("cannot make a driver over io_uring: %w", errors.Join(uring.Probe(), err))
	}
	d := &proactor{
		system: s, events: h, pool: pool, ring: ring, eventfd: -1, arriving: -1,
		dials: map[driver.ID]net.Addr{}, held: map[driver.ID]*held{},
	}
	if d.lent, err = newLending(ring, pool, s.buffers, s.bufferSize); err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	d.scratch = pool.Get(readSize)
	if s.direct {
		if d.table, err = newTable(ring); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

// keep keeps connections that were accepted on fd.
func (s *system) keep(fd int, accepted []int) {
	if len(accepted) > 0 {
		s.mu.Lock()
		s.waiting[fd] = append(s.waiting[fd], accepted...)
		s.mu.Unlock()
	}
}

// take returns the connections that were kept for fd.
func (s *system) take(fd int) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	accepted := s.waiting[fd]
	delete(s.waiting, fd)
	return accepted
}

// CloseListener implements driver.System.
func (s *system) CloseListener(fd int) error {
	return errors.Join(closeAll(s.take(fd)), s.Descriptors.CloseListener(fd))
}

// closeAll resets connections that nobody wants, as the kernel does with those
// that wait when their listener is closed.
func closeAll(fds []int) error {
	var errs []error
	for _, fd := range fds {
		errs = append(errs, sock.Close(fd, true))
	}
	return errors.Join(errs...)
}
