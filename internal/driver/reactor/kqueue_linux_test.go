package reactor

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

// double stands in for kevent(2) on Linux: poll(2) over real descriptors,
// with the rules of kqueue. A filter is level-triggered; adding what is there
// changes nothing; removing what is not there is ENOENT; closing a descriptor
// removes its filters, and its number's next user does not inherit them; the
// read filter fires for bytes and at the end of the stream, the write filter
// for room and when the connection is broken; the user filter fires once per
// wait however often it was triggered (EV_CLEAR).
type double struct {
	watched map[watch]uint64 // the inode behind the descriptor when added
	eventfd int
	set     []unix.PollFd
}

type watch struct {
	fd     int
	filter filter
}

func newDouble() (*kqueue, error) {
	eventfd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("kqueue", err)
	}
	d := &double{watched: map[watch]uint64{}, eventfd: eventfd}
	return &kqueue{kevent: d.kevent, trigger: d.trigger, free: d.free}, nil
}

func kqueueDouble() driver.System {
	return &system{name: "kqueue", newPoller: func() (poller, error) { return newDouble() }}
}

func (d *double) trigger() { unix.Write(d.eventfd, []byte{1, 0, 0, 0, 0, 0, 0, 0}) }

func (d *double) free() error { return unix.Close(d.eventfd) }

// inode identifies what a descriptor stands for, as its number does not.
func inode(fd int) (uint64, error) {
	var stat unix.Stat_t
	err := unix.Fstat(fd, &stat)
	return stat.Ino, err
}

func (d *double) kevent(changes, events []kevent, wait time.Duration) (int, error) {
	for w, was := range d.watched {
		if now, err := inode(w.fd); err != nil || now != was {
			delete(d.watched, w)
		}
	}
	for _, c := range changes {
		if err := d.change(c); err != nil {
			return 0, os.NewSyscallError("kevent", err)
		}
	}
	if len(events) == 0 {
		return 0, nil
	}
	return d.wait(events, wait)
}

func (d *double) change(c kevent) error {
	now, err := inode(c.fd)
	if err != nil {
		return err
	}
	w := watch{c.fd, c.filter}
	if c.remove {
		if _, ok := d.watched[w]; !ok {
			return unix.ENOENT
		}
		delete(d.watched, w)
		return nil
	}
	d.watched[w] = now
	return nil
}

func (d *double) wait(events []kevent, wait time.Duration) (int, error) {
	d.set = append(d.set[:0], unix.PollFd{Fd: int32(d.eventfd), Events: unix.POLLIN})
	var order []watch
	for w := range d.watched { // in no order, as from the kernel
		p := unix.PollFd{Fd: int32(w.fd), Events: unix.POLLIN | unix.POLLRDHUP}
		if w.filter == filterWrite {
			p.Events = unix.POLLOUT
		}
		d.set, order = append(d.set, p), append(order, w)
	}
	if _, err := unix.Poll(d.set, milliseconds(wait)); err != nil {
		return 0, err
	}
	n := 0
	if d.set[0].Revents != 0 {
		var count [8]byte
		if _, err := unix.Read(d.eventfd, count[:]); err != nil {
			return 0, err
		}
		events[0] = kevent{filter: filterUser}
		n++
	}
	for i, p := range d.set[1:] {
		if p.Revents&unix.POLLNVAL != 0 {
			return 0, errors.New("a watched descriptor is closed")
		}
		if p.Revents != 0 && n < len(events) {
			events[n] = kevent{fd: order[i].fd, filter: order[i].filter}
			n++
		}
	}
	return n, nil
}
