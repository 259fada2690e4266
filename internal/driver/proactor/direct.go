//go:build linux

package proactor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/sock"
	"github.com/sluice-go/sluice/internal/uring"
)

// table is a ring's own table of files. A TCP connection moves there when it is
// opened and is no descriptor of the process from then on, so that a process may
// have many times more connections than descriptors. The price is that only the
// ring can do something with it: other goroutines cannot write to it at once, its
// options stay as they are, and files are sent by reading them. When the table is
// full, connections remain descriptors.
type table struct {
	ring  *uring.Ring
	size  int
	used  int             // how many places were ever used
	free  []int32         // those of them that are empty
	addrs []*[chunk]addrs // by number; for all goroutines that keep the connection open
}

// addrs are a connection's addresses, for which there is nobody to ask later.
type addrs struct{ local, remote netip.AddrPort }

// chunk is for how many connections addresses find room at a time.
const chunk = 1024

func newTable(ring *uring.Ring) (*table, error) {
	n, err := uring.FilesMax()
	if err != nil {
		return nil, err
	}
	if err := ring.MakeFiles(n); err != nil {
		return nil, err
	}
	return &table{ring: ring, size: n, addrs: make([]*[chunk]addrs, (n+chunk-1)/chunk)}, nil
}

// add moves fd to the table and returns its number there, or fd if it stays
// where it is.
func (t *table) add(fd int) int {
	local, ok := (sock.Sockets{}).LocalAddr(fd).(*net.TCPAddr)
	if !ok || len(t.free) == 0 && t.used == t.size {
		return fd
	}
	if len(t.free) == 0 {
		t.free = append(t.free, int32(t.used))
		t.used++
	}
	i := int(t.free[len(t.free)-1])
	if t.ring.SetFile(i, fd) != nil {
		return fd // no memory for it, most likely
	}
	t.free = t.free[:len(t.free)-1]
	if t.addrs[i/chunk] == nil {
		t.addrs[i/chunk] = new([chunk]addrs)
	}
	a := addrs{local: local.AddrPort()}
	if remote, ok := (sock.Sockets{}).RemoteAddr(fd).(*net.TCPAddr); ok {
		a.remote = remote.AddrPort()
	}
	*t.at(i) = a
	unix.Close(fd)
	return i | uring.Fixed
}

// count returns how many connections are in the table, which may be nil.
func (t *table) count() int64 {
	if t == nil {
		return 0
	}
	return int64(t.used - len(t.free))
}

// at returns where the addresses of file i lie.
func (t *table) at(i int) *addrs { return &t.addrs[i/chunk][i%chunk] }

// remove closes file i.
func (t *table) remove(i int) error {
	t.free = append(t.free, int32(i))
	return t.ring.SetFile(i, -1)
}

// direct moves fd to the table if there is one, and returns what to call it.
func (d *proactor) direct(fd int) int {
	if d.table == nil {
		return fd
	}
	return d.table.add(fd)
}

// descriptor returns a descriptor of the process for c: its own, or a new one.
func (d *proactor) descriptor(c *conn) (int, error) {
	if c.fd&uring.Fixed == 0 {
		return int(c.fd), nil
	}
	data, result := userData(installing, 0, 0), int32(0)
	d.ring.Install(int(c.fd), data)
	if err := d.finishNow(data, func(r int32) { result = r }); err != nil {
		return -1, err
	}
	if result < 0 {
		return -1, fmt.Errorf("a descriptor for a direct connection: %w", os.NewSyscallError("io_uring FIXED_FD_INSTALL", unix.Errno(-result)))
	}
	return int(result), nil
}

// errDirect says what cannot be done.
var errDirect = errors.New("the options of a direct descriptor cannot be changed: TCP_NODELAY is on, and Config.KeepAlive holds for all connections")

// isDirect reports whether fd is the number of a file in the table.
func isDirect(fd int) bool { return fd >= 0 && fd&uring.Fixed != 0 }

// TryWrite implements driver.Sockets.
func (d *proactor) TryWrite(fd int, p []byte) (int, error) {
	if isDirect(fd) {
		return 0, nil // only by the ring
	}
	return d.Sockets.TryWrite(fd, p)
}

// TrySendFile implements driver.Sockets.
func (d *proactor) TrySendFile(fd int, f *os.File, off int64, n int) (int, error) {
	if isDirect(fd) {
		return 0, errors.ErrUnsupported
	}
	return d.Sockets.TrySendFile(fd, f, off, n)
}

// Unsent implements driver.Sockets.
func (d *proactor) Unsent(fd int) int {
	if isDirect(fd) {
		return -1
	}
	return d.Sockets.Unsent(fd)
}

// LocalAddr implements driver.Sockets.
func (d *proactor) LocalAddr(fd int) net.Addr {
	if isDirect(fd) {
		return net.TCPAddrFromAddrPort(d.table.at(fd &^ uring.Fixed).local)
	}
	return d.Sockets.LocalAddr(fd)
}

// RemoteAddr implements driver.Sockets.
func (d *proactor) RemoteAddr(fd int) net.Addr {
	if isDirect(fd) {
		remote := d.table.at(fd &^ uring.Fixed).remote
		if !remote.IsValid() {
			return nil // it had gone before it was opened
		}
		return net.TCPAddrFromAddrPort(remote)
	}
	return d.Sockets.RemoteAddr(fd)
}

// SetNoDelay implements driver.Sockets.
func (d *proactor) SetNoDelay(fd int, on bool) error {
	if isDirect(fd) {
		return fmt.Errorf("TCP_NODELAY: %w (%w)", errDirect, errors.ErrUnsupported)
	}
	return d.Sockets.SetNoDelay(fd, on)
}

// SetKeepAlive implements driver.Sockets.
func (d *proactor) SetKeepAlive(fd int, idle time.Duration) error {
	if isDirect(fd) {
		return fmt.Errorf("SO_KEEPALIVE: %w (%w)", errDirect, errors.ErrUnsupported)
	}
	return d.Sockets.SetKeepAlive(fd, idle)
}
