//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sock

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

// Descriptors is what a driver.System over real descriptors does by itself,
// whatever its drivers do. The zero value is ready. Its methods may be called
// from any goroutine.
type Descriptors struct {
	mu    sync.Mutex
	files map[int]socketFile
}

// socketFile is the file that a listening Unix socket made.
type socketFile struct {
	path string
	info os.FileInfo
}

// Listen makes a non-blocking listening descriptor on network tcp, tcp4, tcp6
// or unix. Names, dual-stack addresses and the backlog are package net's
// business, and so are the words of its errors.
func (d *Descriptors) Listen(ctx context.Context, network, address string, o driver.ListenOptions) (int, net.Addr, error) {
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return -1, nil, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	// A resolver that answers at once wins against ctx half of the time.
	if err := ctx.Err(); err != nil {
		return -1, nil, fmt.Errorf("listen %s %s: %w", network, address, err)
	}
	config := net.ListenConfig{Control: func(network, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = prepare(int(fd), network, o) }); e != nil {
			return e
		}
		return err
	}}
	// A multipath socket costs every connection, and its options are not
	// inherited as those of a plain one are.
	config.SetMultipathTCP(false)
	ln, err := config.Listen(ctx, network, address)
	if err != nil {
		return -1, nil, err
	}
	defer ln.Close()
	addr := ln.Addr()
	fd, err := duplicate(ln.(syscall.Conn))
	if err != nil {
		return -1, nil, &net.OpError{Op: "listen", Net: network, Addr: addr, Err: err}
	}
	if ln, ok := ln.(*net.UnixListener); ok {
		ln.SetUnlinkOnClose(false)
		d.remember(fd, addr.String())
	}
	return fd, addr, nil
}

// Adopt makes a second descriptor of the socket of l, a *net.TCPListener or a
// *net.UnixListener, and sets the options that its connections begin with. A
// multipath socket of an older Linux refuses some of them, and its connections
// do without.
func (d *Descriptors) Adopt(l net.Listener, o driver.ListenOptions) (int, error) {
	addr := l.Addr()
	fd, err := duplicate(l.(syscall.Conn))
	if err != nil {
		return -1, &net.OpError{Op: "listen", Net: addr.Network(), Addr: addr, Err: err}
	}
	_ = prepare(fd, addr.Network(), driver.ListenOptions{NoDelay: o.NoDelay, KeepAlive: o.KeepAlive})
	return fd, nil
}

// prepare sets the options of a socket that is going to listen. Accepted
// connections inherit them, by the kernel's hand or by Acceptor's.
func prepare(fd int, network string, o driver.ListenOptions) error {
	if o.ReusePort {
		if network == "unix" {
			return os.NewSyscallError("setsockopt SO_REUSEPORT", unix.EOPNOTSUPP)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, reusePort, 1); err != nil {
			return os.NewSyscallError("setsockopt SO_REUSEPORT", err)
		}
	}
	if o.NoDelay {
		if err := (Sockets{}).SetNoDelay(fd, true); err != nil {
			return err
		}
	}
	if o.KeepAlive > 0 {
		return Sockets{}.SetKeepAlive(fd, o.KeepAlive)
	}
	return nil
}

// duplicate returns a second descriptor of c's socket, which stays usable
// when c is closed.
func duplicate(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if e := raw.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		return -1, e
	}
	return fd, os.NewSyscallError("fcntl F_DUPFD_CLOEXEC", err)
}

// remember notes which file the Unix socket fd has just made, if any.
func (d *Descriptors) remember(fd int, name string) {
	if abstract(name) {
		return
	}
	path, err := filepath.Abs(name)
	if err != nil {
		return // a file that cannot be found again cannot be removed
	}
	info, err := os.Lstat(path)
	if err != nil {
		return // someone removed it already
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.files == nil {
		d.files = map[int]socketFile{}
	}
	d.files[fd] = socketFile{path, info}
}

// CloseListener closes what Listen or Adopt made. The file of a Unix socket
// that Listen made is removed too, unless another has taken its place meanwhile.
func (d *Descriptors) CloseListener(fd int) error {
	d.mu.Lock()
	file, ok := d.files[fd]
	delete(d.files, fd)
	d.mu.Unlock()
	var err error
	if ok && file.still() {
		err = os.Remove(file.path)
	}
	if e := unix.Close(fd); e != nil {
		err = os.NewSyscallError("close", e)
	}
	return err
}

// File makes a file of fd, which the file owns from then on. It fails only if
// fd is negative.
func (d *Descriptors) File(fd int) (*os.File, error) {
	f := os.NewFile(uintptr(fd), "socket")
	if f == nil {
		return nil, os.NewSyscallError("fcntl", unix.EBADF)
	}
	return f, nil
}

// still is true exactly when the file is the one that was remembered. The
// time is compared because a file system may give its number to another file.
func (f socketFile) still() bool {
	now, err := os.Lstat(f.path)
	return err == nil && os.SameFile(now, f.info) && now.ModTime().Equal(f.info.ModTime())
}
