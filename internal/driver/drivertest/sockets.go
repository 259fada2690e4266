//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package drivertest

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

// Sockets is the Fixture of a driver over the sockets of this machine. The
// network is "tcp" or "unix".
func Sockets(t *testing.T, network string, system driver.System) Fixture {
	address := "127.0.0.1:0"
	server := address
	if network == "unix" {
		dir := shortDir(t)
		address, server = filepath.Join(dir, "driver"), filepath.Join(dir, "server")
	}
	servers := 0
	f := Fixture{
		System:  system,
		Network: network,
		Address: address,
		Dial: func(addr net.Addr) (net.Conn, error) {
			return net.Dial(addr.Network(), addr.String())
		},
		Listen: func() (net.Listener, error) {
			if servers++; network == "unix" {
				return net.Listen(network, server+string(rune('0'+servers)))
			}
			return net.Listen(network, server)
		},
		Reset: func(c net.Conn) {
			if c, ok := c.(*net.TCPConn); ok {
				c.SetLinger(0)
			}
			c.Close()
		},
		FailAccept: ExhaustDescriptors,
	}
	switch runtime.GOOS {
	case "linux":
		f.TellsUnsent, f.SendsFiles = true, true
		f.Descriptors = func() int { return descriptors(t) }
	case "darwin":
		f.TellsUnsent, f.SendsFiles = network == "tcp", true
	case "freebsd":
		f.SendsFiles = true
	}
	return f
}

// descriptors counts the open descriptors of the process.
func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries) // with the directory itself, each time
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

// ExhaustDescriptors lowers the limit of descriptors to what is open already,
// until restore is called.
func ExhaustDescriptors(t *testing.T) (restore func()) {
	t.Helper()
	lowest, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(lowest)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lowered := limit
	set(&lowered.Cur, lowest)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &lowered); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
}

// set assigns a limit, whose type differs from system to system.
func set[T int64 | uint64](limit *T, n int) { *limit = T(n) }
