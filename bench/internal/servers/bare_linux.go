package servers

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"
)

// backlog is what Go's net package asks for, too, where the kernel allows it.
const backlog = 4096

// bareLoop is an echo server on epoll with nothing between it and the kernel:
// one goroutine, one listener, one buffer, no object per connection.
type bareLoop struct {
	epoll    int
	listener int
	buf      []byte
	// stalled holds what the kernel would not take, by descriptor. Such a
	// connection is not read until all of it has left.
	stalled map[int][]byte
}

func bare(addr string) error {
	failed := make(chan error)
	for range Loops() {
		l, err := newBareLoop(addr)
		if err != nil {
			return err
		}
		go func() { failed <- l.run() }()
	}
	return <-failed
}

func newBareLoop(addr string) (*bareLoop, error) {
	listener, err := listen(addr)
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	l := &bareLoop{epoll: epoll, listener: listener, buf: make([]byte, readSize), stalled: map[int][]byte{}}
	return l, l.control(unix.EPOLL_CTL_ADD, listener, unix.EPOLLIN)
}

// listen returns a listening descriptor of one loop. TCP_NODELAY passes on to
// the connections that it accepts. The kernel spreads connections over the
// listeners if there are several.
func listen(addr string) (int, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, min(Loops()-1, 1)),
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Port: int(ap.Port()), Addr: ap.Addr().As4()}),
		unix.Listen(fd, backlog),
	)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return fd, nil
}

func (l *bareLoop) control(op, fd int, events uint32) error {
	if err := unix.EpollCtl(l.epoll, op, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Timeouts of epoll_wait.
const (
	forever = -1
	atOnce  = 0
)

// run looks for more events before it goes to sleep, as the libraries do:
// without, a request of 1 KiB over 100 connections costs an eighth more. And it gives way to the scheduler now and then while it never sleeps:
// otherwise the runtime takes its processor away again and again, which costs
// a fifth with 10,000 connections.
func (l *bareLoop) run() error {
	events := make([]unix.EpollEvent, 256)
	timeout := forever
	for {
		n, err := unix.EpollWait(l.epoll, events, timeout)
		switch {
		case err != nil && err != unix.EINTR:
			return fmt.Errorf("epoll_wait: %w", err)
		case n == len(events):
			timeout = atOnce
			runtime.Gosched()
		case n > 0:
			timeout = atOnce
		default:
			timeout = forever
			runtime.Gosched()
		}
		for _, ev := range events[:max(n, 0)] {
			switch fd := int(ev.Fd); {
			case fd == l.listener:
				err = l.accept()
			case len(l.stalled) > 0 && l.stalled[fd] != nil:
				err = l.flush(fd)
			default:
				err = l.echo(fd)
			}
			if err != nil {
				return err
			}
		}
	}
}

func (l *bareLoop) accept() error {
	for {
		fd, _, err := unix.Accept4(l.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			if err := l.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN); err != nil {
				return err
			}
		case unix.EAGAIN:
			return nil
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return fmt.Errorf("accept4: %w", err)
		}
	}
}

func (l *bareLoop) echo(fd int) error {
	n, err := unix.Read(fd, l.buf)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return nil
	case err != nil || n == 0:
		return unix.Close(fd)
	}
	sent, err := send(fd, l.buf[:n])
	if err != nil {
		return unix.Close(fd)
	}
	if sent < n {
		l.stalled[fd] = append([]byte(nil), l.buf[sent:n]...)
		return l.control(unix.EPOLL_CTL_MOD, fd, unix.EPOLLOUT)
	}
	return nil
}

func (l *bareLoop) flush(fd int) error {
	rest := l.stalled[fd]
	sent, err := send(fd, rest)
	if err != nil {
		delete(l.stalled, fd)
		return unix.Close(fd)
	}
	if sent < len(rest) {
		l.stalled[fd] = rest[sent:]
		return nil
	}
	delete(l.stalled, fd)
	return l.control(unix.EPOLL_CTL_MOD, fd, unix.EPOLLIN)
}

// send writes p until all of it is taken or the socket is full.
func send(fd int, p []byte) (int, error) {
	sent := 0
	for sent < len(p) {
		n, err := unix.Write(fd, p[sent:])
		switch err {
		case nil:
			sent += n
		case unix.EINTR:
		case unix.EAGAIN:
			return sent, nil
		default:
			return sent, err
		}
	}
	return sent, nil
}
