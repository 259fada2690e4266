//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"testing"

	"github.com/sluice-go/sluice/internal/driver/drivertest"
)

func TestContract(t *testing.T) {
	for name, system := range systems {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(name+" "+network, func(t *testing.T) {
				drivertest.Run(t, func(t *testing.T) drivertest.Fixture {
					return drivertest.Sockets(t, network, system())
				})
			})
		}
	}
}
