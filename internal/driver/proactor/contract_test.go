//go:build linux

package proactor

import (
	"testing"

	"github.com/sluice-go/sluice/internal/driver/drivertest"
)

// needed skips the test where io_uring cannot be used, and says why.
func needed(t *testing.T) {
	t.Helper()
	if err := IOUring().Probe(); err != nil {
		t.Skip(err)
	}
}

func TestContract(t *testing.T) {
	needed(t)
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
				return drivertest.Sockets(t, network, IOUring())
			})
		})
	}
}
