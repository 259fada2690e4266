package portable_test

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sluice-go/sluice/internal/driver/drivertest"
	"github.com/sluice-go/sluice/internal/driver/portable"
)

// The optional hooks of the suite, where the system allows them.
var (
	failAccept  func(*testing.T) func()
	descriptors func() int
	tellsUnsent bool
)

func TestDriverContractTCP(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
		return fixture("tcp", "127.0.0.1:0", func() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") })
	})
}

func TestDriverContractUnix(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
		dir, servers := t.TempDir(), 0
		return fixture("unix", filepath.Join(dir, "inside"), func() (net.Listener, error) {
			servers++
			return net.Listen("unix", filepath.Join(dir, fmt.Sprint(servers)))
		})
	})
}

func fixture(network, address string, listen func() (net.Listener, error)) drivertest.Fixture {
	return drivertest.Fixture{
		System:      portable.New(),
		Network:     network,
		Address:     address,
		Dial:        dial,
		Listen:      listen,
		Reset:       reset,
		FailAccept:  failAccept,
		Descriptors: descriptors,
		TellsUnsent: tellsUnsent,
	}
}

// dial makes a peer. If the driver aborts a connection as soon as it is
// accepted, its peer may not even see it made: then another is.
func dial(a net.Addr) (c net.Conn, err error) {
	for range 100 {
		if c, err = net.Dial(a.Network(), a.String()); !errors.Is(err, syscall.ECONNRESET) {
			break
		}
	}
	return c, err
}

// reset ends a peer so that the other side sees a reset, if it is TCP.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	c.Close()
}
