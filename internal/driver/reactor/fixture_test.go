//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/drivertest"
)

// fixture runs the suite over the sockets of this machine.
func fixture(t *testing.T, network string, system driver.System) drivertest.Fixture {
	address := "127.0.0.1:0"
	server := address
	if network == "unix" {
		dir := shortDir(t)
		address, server = filepath.Join(dir, "driver"), filepath.Join(dir, "server")
	}
	servers := 0
	return drivertest.Fixture{
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
		FailAccept:  exhaustDescriptors,
		Descriptors: descriptorCounter(t),
		TellsUnsent: tellsUnsent(network),
		SendsFiles:  sendsFiles,
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

// exhaustDescriptors lowers the limit to what is open already.
func exhaustDescriptors(t *testing.T) (restore func()) {
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

func TestContract(t *testing.T) {
	for name, system := range systems {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(name+" "+network, func(t *testing.T) {
				drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
					return fixture(t, network, system())
				})
			})
		}
	}
}
