package sluice

import "sync/atomic"

// Balancer chooses the loop of a new connection. Pick is given its descriptor
// (-1 for a connection that is being dialed) and how many connections each
// loop has, and returns the index of the loop chosen; an index out of range
// counts as 0, a panic too. It is called from the goroutine that accepts and from those
// that dial, one at a time. conns is valid only during the call.
//
// With AcceptPerLoop the kernel spreads accepted connections over the loops,
// and the Balancer serves dialed ones only.
type Balancer interface {
	Pick(fd int, conns []int) int
}

// RoundRobin returns a Balancer that takes the loops in turn. It is the
// default.
func RoundRobin() Balancer { return new(roundRobin) }

type roundRobin struct{ next atomic.Uint64 }

func (r *roundRobin) Pick(_ int, conns []int) int {
	return int((r.next.Add(1) - 1) % uint64(len(conns)))
}

// LeastConnections returns a Balancer that picks the loop with the fewest
// connections. It suits connections that live long and unequally.
func LeastConnections() Balancer { return leastConnections{} }

type leastConnections struct{}

func (leastConnections) Pick(_ int, conns []int) int {
	least := 0
	for i, n := range conns {
		if n < conns[least] {
			least = i
		}
	}
	return least
}

// FDHash returns a Balancer that picks loop fd modulo the number of loops.
func FDHash() Balancer { return fdHash{} }

type fdHash struct{}

func (fdHash) Pick(fd int, conns []int) int { return max(fd, 0) % len(conns) }
