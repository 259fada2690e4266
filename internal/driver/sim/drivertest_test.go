package sim_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/sluice-go/sluice/internal/driver/drivertest"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// fixture lets the contract's suite run on a live network.
func fixture(cfg sim.Config, network, address string) func(*testing.T) drivertest.Fixture {
	return func(t *testing.T) drivertest.Fixture {
		cfg.Live = true
		servers := 0
		n := sim.New(cfg)
		t.Cleanup(func() {
			for _, v := range n.Violations() {
				t.Errorf("violation: %s", v)
			}
		})
		return drivertest.Fixture{
			System:  n,
			Network: network,
			Address: address,
			Dial:    func(a net.Addr) (net.Conn, error) { return n.Dial(a) },
			Listen: func() (net.Listener, error) {
				if network == "unix" {
					servers++
					return n.ListenPeer("unix", fmt.Sprintf("outside %d", servers))
				}
				return n.ListenPeer(network, address)
			},
			Reset: func(c net.Conn) { c.(*sim.Peer).Reset() },
			FailAccept: func(*testing.T) func() {
				f := cfg.Faults
				f.AcceptFail = 1
				n.SetFaults(f)
				return func() { n.SetFaults(cfg.Faults) }
			},
			Descriptors: n.Descriptors,
			TellsUnsent: true,
		}
	}
}

func TestDriverContract(t *testing.T) {
	rough := sim.Faults{ShortRead: 0.5, PartialSend: 0.5, Spurious: 0.2, Delay: 0.3, Reorder: 0.5, EarlyReturn: 0.2}
	for _, c := range []struct {
		name string
		cfg  sim.Config
		unix bool
	}{
		{name: "perfect", cfg: sim.Config{Seed: 1}},
		{name: "unix", cfg: sim.Config{Seed: 1}, unix: true},
		{name: "readiness", cfg: sim.Config{Seed: 2, Personality: sim.Readiness}},
		{name: "completion", cfg: sim.Config{Seed: 3, Personality: sim.Completion}},
		{name: "pieces", cfg: sim.Config{Seed: 4, Faults: sim.Faults{ShortRead: 0.3, PartialSend: 0.5}}},
		{name: "rough", cfg: sim.Config{Seed: 5, Faults: rough, BufferBytes: 20_000}},
	} {
		t.Run(c.name, func(t *testing.T) {
			network, address := "tcp", "127.0.0.1:0"
			if c.unix {
				network, address = "unix", "inside"
			}
			drivertest.Run(t, fixture(c.cfg, network, address))
		})
	}
}
