package reactor

import (
	"encoding/binary"
	"errors"
	"math"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

// Epoll returns the driver over epoll(7).
func Epoll() driver.System {
	return &system{name: "epoll", newPoller: func() (poller, error) { return newEpoll() }}
}

// epoll is the poller over epoll(7). TCP is edge-triggered: a level would have
// the kernel look at each connection once more, after it was read, only to find
// nothing, which is 2.5 % of all that an echo of 1 KB costs at 100 connections.
type epoll struct {
	fd      int
	eventfd int
	events  []unix.EpollEvent
}

// wakeToken belongs to the eventfd; no connection's token has all bits.
const wakeToken = ^token(0)

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	eventfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &epoll{fd: fd, eventfd: eventfd}
	// This one descriptor is edge-triggered: every write to it is a new
	// event, so its counter, which 2^64 wakes would fill, is never read.
	err = p.control(unix.EPOLL_CTL_ADD, eventfd, wakeToken, unix.EPOLLIN|unix.EPOLLET)
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *epoll) control(op, fd int, t token, events uint32) error {
	// The kernel hands back what lies where the descriptor usually is.
	e := unix.EpollEvent{Events: events, Fd: int32(t), Pad: int32(t >> 32)}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(p.fd, op, fd, &e))
}

func (p *epoll) add(fd int, t token, want interest) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, t, epollEvents(t, want))
}

func (p *epoll) modify(fd int, t token, _, want interest) error {
	return p.control(unix.EPOLL_CTL_MOD, fd, t, epollEvents(t, want))
}

// again relies on the kernel: it looks anew at what is modified.
func (p *epoll) again(fd int, t token, want interest) error {
	return p.modify(fd, t, want, want)
}

func (p *epoll) remove(fd int, _ interest) error {
	return p.control(unix.EPOLL_CTL_DEL, fd, 0, 0)
}

func epollEvents(t token, want interest) (events uint32) {
	if !t.level() {
		events |= unix.EPOLLET
	}
	if want&readable != 0 {
		events |= unix.EPOLLIN
	}
	if want&readable != 0 && !t.level() {
		events |= unix.EPOLLRDHUP | unix.EPOLLPRI
	}
	if want&writable != 0 {
		events |= unix.EPOLLOUT
	}
	return events
}

// epollReady is the inverse of epollEvents. Errors and the end of both
// directions are reported though nobody asked, so they must lead somewhere.
func epollReady(events uint32) (ready interest) {
	if events&(unix.EPOLLIN|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		ready |= readable
	}
	if events&(unix.EPOLLOUT|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		ready |= writable
	}
	if events&(unix.EPOLLRDHUP|unix.EPOLLPRI|unix.EPOLLERR|unix.EPOLLHUP) != 0 {
		ready |= behind
	}
	return ready
}

// wait is one epoll_wait, which is what unix.EpollWait comes to. A finer
// clock than its milliseconds (epoll_pwait2, 5.11) would buy nothing: the
// timers above tick in milliseconds.
func (p *epoll) wait(events []event, wait time.Duration) (int, error) {
	if len(p.events) < len(events) {
		p.events = make([]unix.EpollEvent, len(events))
	}
	n, err := unix.EpollWait(p.fd, p.events[:len(events)], milliseconds(wait))
	if err != nil {
		if err == unix.EINTR {
			return 0, nil
		}
		return 0, os.NewSyscallError("epoll_wait", err)
	}
	filled := 0
	for i := range p.events[:n] {
		e := &p.events[i]
		t := token(uint32(e.Fd)) | token(uint32(e.Pad))<<32
		if t == wakeToken {
			continue
		}
		events[filled] = event{t, epollReady(e.Events)}
		filled++
	}
	return filled, nil
}

// milliseconds rounds up, so that a wait is over when its Poll returns and
// the loop does not spin until then. Negative means for ever.
func milliseconds(wait time.Duration) int {
	switch {
	case wait < 0:
		return -1
	case wait > math.MaxInt32*time.Millisecond:
		return math.MaxInt32
	}
	return int((wait + time.Millisecond - 1) / time.Millisecond)
}

func (p *epoll) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	// It could only fail on a full counter, and a full one wakes as well.
	_, _ = unix.Write(p.eventfd, one[:])
}

func (p *epoll) close() error {
	return errors.Join(
		os.NewSyscallError("close", unix.Close(p.eventfd)),
		os.NewSyscallError("close", unix.Close(p.fd)))
}
