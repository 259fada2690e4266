package load

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// connsPerSource is how many connections come from one source address,
	// which has about 28,000 ports for them.
	connsPerSource = 20_000
	// connectTimeout bounds the opening of one connection, and each part of its
	// handshake.
	connectTimeout = 5 * time.Second
)

// connectAll opens every connection, one after the other.
func (g *generator) connectAll() error {
	timeout := unix.NsecToTimeval(int64(connectTimeout))
	for i := range g.conns {
		fd, err := g.socket(0)
		if err != nil {
			return err
		}
		g.conns[i].fd = fd
		if source := g.cfg.source(i); source > 1 {
			err = bindSource(fd, source)
		}
		err = errors.Join(err,
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout),
			unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &timeout),
			connect(fd, g.server),
		)
		var c io.ReadWriter = blocking(fd)
		if g.cfg.TLS && err == nil {
			g.conns[i].tls, err = newSecure(fd)
			c = opening{g.conns[i].tls}
		}
		if f, ok := g.talk.(*frames); ok && err == nil {
			err = f.open(c)
		}
		err = errors.Join(err,
			unix.SetNonblock(fd, true),
			g.watch(i, unix.EPOLL_CTL_ADD, unix.EPOLLIN),
		)
		if err != nil {
			return fmt.Errorf("connection %d to %s: %w", i, g.cfg.Addr, err)
		}
	}
	return nil
}

// connect waits until fd is connected. A signal ends the waiting and not the
// connecting, which the next call waits for.
func connect(fd int, server unix.Sockaddr) error {
	_, err := retry(func() (int, error) { return 0, unix.Connect(fd, server) })
	return err
}

// blocking is a connection that is waited for.
type blocking int

func (fd blocking) Write(p []byte) (int, error) {
	return retry(func() (int, error) { return unix.Write(int(fd), p) })
}

func (fd blocking) Read(p []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(int(fd), p) })
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// retry calls call until no signal interrupts it.
func retry(call func() (int, error)) (int, error) {
	for {
		switch n, err := call(); err {
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, os.ErrDeadlineExceeded
		default:
			return max(n, 0), err
		}
	}
}

// source returns the number of the loopback address that connection i comes
// from.
func (cfg Config) source(i int) int { return 1 + (cfg.First+i)/connsPerSource }

func (g *generator) socket(flags int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|flags, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("TCP_NODELAY: %w", err)
	}
	return fd, nil
}

// bindSource makes fd come from loopback address number n, counted from
// 127.0.0.1. The port is chosen when it connects.
func bindSource(fd, n int) error {
	return errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1),
		unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, byte(n >> 8), byte(n)}}),
	)
}
