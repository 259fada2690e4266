//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package sock

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

// listen makes a listener that ends with the test.
func listen(t *testing.T, d *Descriptors, network, address string, o driver.ListenOptions) (int, net.Addr) {
	t.Helper()
	fd, addr, err := d.Listen(t.Context(), network, address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.CloseListener(fd) })
	return fd, addr
}

// acceptOne connects to addr and accepts that on fd.
func acceptOne(t *testing.T, fd int, addr net.Addr) (accepted int, peer net.Conn) {
	t.Helper()
	peer, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { peer.Close() })
	await(t, fd, unix.POLLIN)
	accepted, err = NewAcceptor(fd).Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(accepted) })
	return accepted, peer
}

// await waits until fd is ready.
func await(t *testing.T, fd int, events int16) {
	t.Helper()
	set := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for {
		n, err := unix.Poll(set, 10_000)
		if n == 1 {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("descriptor %d does not become ready: %v", fd, err)
		}
	}
}

func option(t *testing.T, fd, level, name int) int {
	t.Helper()
	value, err := unix.GetsockoptInt(fd, level, name)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestAcceptedConnectionsHaveTheListenersOptions(t *testing.T) {
	var d Descriptors
	for _, on := range []bool{false, true} {
		o := driver.ListenOptions{}
		if on {
			o = driver.ListenOptions{NoDelay: true, KeepAlive: time.Minute}
		}
		fd, addr := listen(t, &d, "tcp", "127.0.0.1:0", o)
		c, _ := acceptOne(t, fd, addr)
		if got := option(t, c, unix.IPPROTO_TCP, unix.TCP_NODELAY) != 0; got != on {
			t.Errorf("TCP_NODELAY is %v, want %v", got, on)
		}
		if got := option(t, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0; got != on {
			t.Errorf("SO_KEEPALIVE is %v, want %v", got, on)
		}
	}
}

func TestAdoptSetsTheOptionsAndLeavesTheListenerOpen(t *testing.T) {
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	for network, address := range map[string]string{
		"tcp": "127.0.0.1:0", "unix": filepath.Join(shortDir(t), "s"),
	} {
		ln, err := config.Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer ln.Close()
		var d Descriptors
		fd, err := d.Adopt(ln, driver.ListenOptions{ReusePort: true, NoDelay: true, KeepAlive: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		c, _ := acceptOne(t, fd, ln.Addr())
		if network == "tcp" && (option(t, c, unix.IPPROTO_TCP, unix.TCP_NODELAY) == 0 ||
			option(t, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE) == 0) {
			t.Error("an accepted connection has not the options")
		}
		if err := d.CloseListener(fd); err != nil {
			t.Errorf("%s: CloseListener: %v", network, err)
		}
		peer, err := net.Dial(network, ln.Addr().String())
		if err != nil {
			t.Errorf("%s: the listener was closed: %v", network, err)
			continue
		}
		peer.Close()
		ln.Close()
		if _, err := d.Adopt(ln, driver.ListenOptions{}); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: Adopt of a closed listener: %v", network, err)
		}
	}
}

func TestDescriptorsDoNotBlockAndAreNotInherited(t *testing.T) {
	var d Descriptors
	fd, addr := listen(t, &d, "tcp", "127.0.0.1:0", driver.ListenOptions{})
	if _, err := NewAcceptor(fd).Accept(); err != unix.EAGAIN {
		t.Errorf("Accept with nobody there: %v, want EAGAIN", err)
	}
	accepted, _ := acceptOne(t, fd, addr)
	connected, err := Connect(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(connected)
	for name, fd := range map[string]int{"listening": fd, "accepted": accepted, "connected": connected} {
		status, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
		if err != nil || status&unix.O_NONBLOCK == 0 {
			t.Errorf("the %s descriptor blocks (%v)", name, err)
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("the %s descriptor survives exec (%v)", name, err)
		}
	}
}

func TestReusePortSharesAnAddress(t *testing.T) {
	var d Descriptors
	_, addr := listen(t, &d, "tcp", "127.0.0.1:0", driver.ListenOptions{ReusePort: true})
	listen(t, &d, "tcp", addr.String(), driver.ListenOptions{ReusePort: true})
	_, _, err := d.Listen(t.Context(), "tcp", addr.String(), driver.ListenOptions{})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), addr.String()) {
		t.Errorf("without ReusePort: %v", err)
	}
	path := filepath.Join(shortDir(t), "s")
	_, _, err = d.Listen(t.Context(), "unix", path, driver.ListenOptions{ReusePort: true})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "SO_REUSEPORT") {
		t.Errorf("ReusePort of a Unix socket: %v", err)
	}
}

func TestListenErrorsNameWhatIsWrong(t *testing.T) {
	var d Descriptors
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		ctx              context.Context
		network, address string
		names            string
	}{
		{t.Context(), "udp", "127.0.0.1:0", "udp"},
		{t.Context(), "unixpacket", "/tmp/x", "unixpacket"},
		{t.Context(), "", "127.0.0.1:0", "network"},
		{t.Context(), "tcp", "127.0.0.1", "missing port"},
		{t.Context(), "tcp4", "[::1]:0", "::1"},
		{t.Context(), "unix", filepath.Join(shortDir(t), "no/such/folder"), "no/such/folder"},
		{canceled, "tcp", "localhost:0", "localhost"},
	} {
		fd, _, err := d.Listen(c.ctx, c.network, c.address, driver.ListenOptions{})
		if err == nil {
			t.Errorf("Listen(%q, %q) made %d", c.network, c.address, fd)
		} else if !strings.Contains(err.Error(), c.names) {
			t.Errorf("Listen(%q, %q): %v; nothing of %q", c.network, c.address, err, c.names)
		}
	}
}

// shortDir makes a folder whose files' paths fit into a socket address, as
// those of t.TempDir do not everywhere.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func TestUnixFileLivesAsLongAsItsListener(t *testing.T) {
	var d Descriptors
	t.Chdir(shortDir(t))
	fd, addr, err := d.Listen(t.Context(), "unix", "relative", driver.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	acceptOne(t, fd, addr)
	path, err := filepath.Abs("relative")
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(shortDir(t))
	if !exists(path) {
		t.Fatal("the file went before the listener")
	}
	if err := d.CloseListener(fd); err != nil {
		t.Error(err)
	}
	if exists(path) {
		t.Error("the file is left")
	}
	if len(d.files) > 0 {
		t.Error("the file is remembered")
	}
}

func TestUnixFileOfAnotherListenerIsLeftAlone(t *testing.T) {
	var d Descriptors
	path := filepath.Join(shortDir(t), "s")
	for _, replace := range []func(){
		func() {},
		func() { listen(t, &d, "unix", path, driver.ListenOptions{}) },
	} {
		fd, _, err := d.Listen(t.Context(), "unix", path, driver.ListenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		// A file system whose clock ticks coarsely may give the new file
		// both number and time of the old one.
		time.Sleep(20 * time.Millisecond)
		replace()
		before := exists(path)
		if err := d.CloseListener(fd); err != nil {
			t.Error(err)
		}
		if exists(path) != before {
			t.Error("CloseListener removed a file that it did not make")
		}
	}
}

func TestCloseListenerOfNoDescriptorIsAnError(t *testing.T) {
	var d Descriptors
	if err := d.CloseListener(-1); !errors.Is(err, unix.EBADF) {
		t.Errorf("CloseListener(-1): %v", err)
	}
}

func TestFileOwnsItsDescriptor(t *testing.T) {
	var d Descriptors
	fd, addr := listen(t, &d, "tcp", "127.0.0.1:0", driver.ListenOptions{})
	peer, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	await(t, fd, unix.POLLIN)
	c, err := NewAcceptor(fd).Accept()
	if err != nil {
		t.Fatal(err)
	}
	file, err := d.File(c)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if err := unix.Close(c); err != unix.EBADF {
		t.Errorf("the file's descriptor is still open: %v", err)
	}
	if _, err := d.File(-1); err == nil {
		t.Error("File(-1) made a file")
	}
}
