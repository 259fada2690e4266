package sim

import (
	"errors"
	"fmt"
	"math/bits"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/sluice-go/sluice/internal/driver"
)

// firstDescriptor is the lowest number given out: a process has 0 to 2 open.
const firstDescriptor = 3

// descriptors is the table of open descriptors. A new one gets the lowest free
// number, as a kernel does it, so that a number is used again as soon as
// possible and stale uses meet a stranger.
type descriptors struct {
	slots     []uint32 // by number: the end behind it, 0 for none
	taken     []uint64 // one bit for each number in use
	low       int      // words of taken below this one are full
	used      int
	limit     int
	listeners map[int]*listener
}

func (t *descriptors) init(limit int) {
	t.limit = limit
	t.taken = []uint64{1<<firstDescriptor - 1}
	t.slots = make([]uint32, firstDescriptor)
	t.listeners = map[int]*listener{}
}

// take opens a descriptor for an end, or for a listener if that is 0. It fails
// with EMFILE at the limit.
func (t *descriptors) take(end uint32) (int, error) {
	if t.limit > 0 && t.used >= t.limit {
		return -1, syscall.EMFILE
	}
	for t.low < len(t.taken) && t.taken[t.low] == ^uint64(0) {
		t.low++
	}
	if t.low == len(t.taken) {
		t.taken = append(t.taken, 0)
	}
	bit := bits.TrailingZeros64(^t.taken[t.low])
	t.taken[t.low] |= 1 << bit
	fd := t.low*64 + bit
	if fd == len(t.slots) {
		t.slots = append(t.slots, 0)
	}
	t.slots[fd] = end
	t.used++
	return fd, nil
}

// release closes descriptor fd.
func (t *descriptors) release(fd int) {
	t.slots[fd] = 0
	t.taken[fd/64] &^= 1 << (fd % 64)
	t.low = min(t.low, fd/64)
	t.used--
}

// end returns the end behind descriptor fd, or 0 if there is none.
func (t *descriptors) end(fd int) uint32 {
	if fd < 0 || fd >= len(t.slots) {
		return 0
	}
	return t.slots[fd]
}

// Descriptors returns how many descriptors are open, those of listeners and of
// accepted connections that were not opened included.
func (n *Network) Descriptors() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.descriptors.used
}

// Options returns what SetNoDelay, SetKeepAlive or the options of its listener
// made of descriptor fd.
func (n *Network) Options(fd int) (noDelayOn bool, keepAlive time.Duration, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.usable(fd, "Options")
	if e == nil {
		return false, 0, syscall.EBADF
	}
	return e.is(noDelay), time.Duration(e.keepAlive) * time.Second, nil
}

// Take gives up descriptor fd, which was detached or never opened, for a Peer
// that holds the same end of its connection.
func (n *Network) Take(fd int) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i, err := n.loose(fd, "Take")
	if err != nil {
		return nil, err
	}
	n.descriptors.release(fd)
	e := n.ends.at(i)
	e.fd, e.state = -1, outside
	return &Peer{n, i, e.generation}, nil
}

// File closes descriptor fd, which was detached or never opened, and fails
// with errors.ErrUnsupported, for there is no file behind a simulated one.
func (n *Network) File(fd int) (*os.File, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	i, err := n.loose(fd, "File")
	if err != nil {
		return nil, err
	}
	n.close(i, false)
	return nil, fmt.Errorf("sim: descriptor %d has no file: %w", fd, errors.ErrUnsupported)
}

// loose returns the end behind descriptor fd, which no driver may hold.
func (n *Network) loose(fd int, call string) (uint32, error) {
	e := n.usable(fd, call)
	if e == nil {
		return 0, syscall.EBADF
	}
	if e.state != detached && e.state != accepted {
		n.violate("%s of descriptor %d, which a driver still holds", call, fd)
		return 0, fmt.Errorf("sim: descriptor %d: %w", fd, syscall.EBUSY)
	}
	return n.descriptors.end(fd), nil
}

// usable returns the end behind descriptor fd, or records a violation and
// returns nil if the descriptor is closed or was shut.
func (n *Network) usable(fd int, call string) *end {
	i := n.descriptors.end(fd)
	if i == 0 {
		n.violate("%s of descriptor %d, which is no open connection", call, fd)
		return nil
	}
	e := n.ends.at(i)
	if e.state == shutting || e.state == dialing {
		n.violate("%s of descriptor %d, whose connection was shut or is not made yet", call, fd)
		return nil
	}
	return e
}

// sockets is driver.Sockets.
type sockets struct{ net *Network }

var _ driver.Sockets = sockets{}

// TryWrite writes what fits at once.
func (s sockets) TryWrite(fd int, p []byte) (int, error) {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.usable(fd, "TryWrite")
	if e == nil {
		return 0, syscall.EBADF
	}
	if e.is(sending) {
		n.violate("TryWrite of descriptor %d while a Send is unanswered", fd)
		return 0, nil
	}
	if len(p) > 0 && n.chance(n.faults.PartialSend) {
		p = p[:n.rng.IntN(len(p))]
	}
	return n.write(n.descriptors.end(fd), p)
}

// TrySendFile returns errors.ErrUnsupported.
func (s sockets) TrySendFile(fd int, _ *os.File, _ int64, _ int) (int, error) {
	s.net.mu.Lock()
	defer s.net.mu.Unlock()
	if s.net.usable(fd, "TrySendFile") == nil {
		return 0, syscall.EBADF
	}
	return 0, errors.ErrUnsupported
}

// Unsent returns how many bytes are on their way to the other side, which has
// not read them.
func (s sockets) Unsent(fd int) int {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.usable(fd, "Unsent") == nil {
		return 0
	}
	return n.ends.peek(n.ends.at(n.descriptors.end(fd) ^ 1)).in.len()
}

// LocalAddr returns the address of this side, or that of a listener.
func (s sockets) LocalAddr(fd int) net.Addr {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := n.descriptors.listeners[fd]; l != nil {
		return l.place.addr()
	}
	if e := n.usable(fd, "LocalAddr"); e != nil {
		return n.places.at(e.place).addr()
	}
	return nil
}

// RemoteAddr returns the address of the other side.
func (s sockets) RemoteAddr(fd int) net.Addr {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.usable(fd, "RemoteAddr") == nil {
		return nil
	}
	return n.places.at(n.ends.at(n.descriptors.end(fd) ^ 1).place).addr()
}

// SetNoDelay notes the option for Network.Options.
func (s sockets) SetNoDelay(fd int, on bool) error {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.usable(fd, "SetNoDelay")
	if e == nil {
		return os.NewSyscallError("setsockopt", syscall.EBADF)
	}
	e.setNoDelay(on)
	return nil
}

// SetKeepAlive notes the option for Network.Options, in whole seconds rounded
// up. Like Linux it refuses more than 32767 seconds.
func (s sockets) SetKeepAlive(fd int, idle time.Duration) error {
	n := s.net
	n.mu.Lock()
	defer n.mu.Unlock()
	e := n.usable(fd, "SetKeepAlive")
	if e == nil {
		return os.NewSyscallError("setsockopt", syscall.EBADF)
	}
	if idle < 0 || idle > maxKeepAlive {
		return os.NewSyscallError("setsockopt", syscall.EINVAL)
	}
	e.setKeepAlive(idle)
	return nil
}

const maxKeepAlive = 32767 * time.Second

func (e *end) setNoDelay(on bool) {
	e.flags &^= noDelay
	if on && e.is(isTCP) {
		e.flags |= noDelay
	}
}

func (e *end) setKeepAlive(idle time.Duration) {
	if e.is(isTCP) {
		e.keepAlive = uint16((idle + time.Second - 1) / time.Second)
	}
}
