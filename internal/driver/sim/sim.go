// Package sim is a deterministic network in memory, and a driver over it.
//
// A Network stands for the kernel and for everything beyond it. The engine
// under test sees a driver.System; the test holds the other ends of its
// connections as Peers. A seed decides what a real network leaves open: how
// many bytes one receive finds, how many a send takes, in which order the
// connections get their turn, which of them break. Breaches of the driver's
// contract by the engine are recorded (Network.Violations), so a test can ask
// afterwards whether a descriptor was used after its end.
//
// In stepped mode one goroutine drives everything: Poll never blocks, time
// moves only by Advance, and the same seed with the same calls gives the same
// events, bit for bit. In live mode the same network runs in real time, Poll
// blocks, and peers may live in other goroutines.
package sim

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

const (
	// defaultBufferBytes is what each direction of a connection holds when
	// Config leaves it open: about what a kernel begins with.
	defaultBufferBytes = 64 << 10

	// maxViolations bounds the record: the first few tell the story, and an
	// engine that errs in a loop must not fill the memory.
	maxViolations = 100
)

// Config describes a Network. The zero value is a perfect network in stepped
// mode.
type Config struct {
	// Seed decides everything that the calls leave open.
	Seed uint64

	// Faults says how often the network misbehaves.
	Faults Faults

	// Live is true exactly when the network runs in real time: Poll and the
	// methods of Peer block, and goroutines may share the network.
	Live bool

	// DescriptorLimit is how many descriptors may be open at once; 0 means
	// no limit. Peers have none and do not count.
	DescriptorLimit int

	// BufferBytes is how many bytes each direction of a connection holds
	// between its two ends; 0 means 64 KiB.
	BufferBytes int

	// Personality says how the driver treats connections; the zero value
	// lets the seed choose for each of them.
	Personality Personality
}

// Personality is the kind of kernel interface that a connection behaves like.
type Personality uint8

const (
	// Mixed lets the seed choose one of the others for each connection.
	Mixed Personality = iota

	// Readiness behaves like epoll and kqueue: Send copies at once what
	// fits, Sent(id, 0, nil) says that the way is free again, and Shut
	// closes the descriptor before it returns.
	Readiness

	// Completion behaves like io_uring: Send takes nothing at once, reads
	// the caller's memory later and answers with what left; bytes may have
	// been taken from the kernel before a Pause and wait for Resume; Shut
	// closes the descriptor only when the Send under way has ended.
	Completion
)

// Faults are probabilities between 0 (never) and 1 (always). The zero value
// is a perfect network.
type Faults struct {
	ShortRead   float64 // a Received carries only a few of the waiting bytes
	PartialSend float64 // a Send or TryWrite takes fewer bytes than fit, perhaps none
	Spurious    float64 // an unanswered Send is answered with Sent(id, 0, nil) for nothing
	Reset       float64 // the network breaks a TCP connection, and the bytes in it are lost
	AcceptFail  float64 // accepting fails with EMFILE though descriptors are free
	OpenFail    float64 // Open fails with ENOMEM
	Delay       float64 // an event is put off to a later Poll; less than 1
	Reorder     float64 // live mode: an event overtakes earlier ones of other connections
	EarlyReturn float64 // Poll returns before it has waited or reported; less than 1
}

// check panics if f holds what is no probability, or what would let nothing
// ever happen.
func (f Faults) check() {
	for _, p := range []float64{f.ShortRead, f.PartialSend, f.Spurious, f.Reset,
		f.AcceptFail, f.OpenFail, f.Delay, f.Reorder, f.EarlyReturn} {
		if !(p >= 0 && p <= 1) {
			panic(fmt.Sprintf("sim: %v is not a probability", p))
		}
	}
	if f.Delay == 1 || f.EarlyReturn == 1 {
		panic("sim: with Delay or EarlyReturn at 1 nothing would ever be reported")
	}
}

// Network is a simulated network and kernel. It is a driver.System for any
// number of loops. In live mode its methods may be called from any goroutine,
// in stepped mode from one.
type Network struct {
	// mu guards all that follows, and everything reachable from it. It is
	// never held while an event is reported.
	mu sync.Mutex

	live        bool
	start       time.Time     // live mode: the moment from which Now counts
	now         time.Duration // stepped mode: the virtual time
	rng         *rand.Rand
	faults      Faults
	bufferBytes int
	personality Personality

	ends        slab
	descriptors descriptors
	places      places
	loops       []*loop // loop i has number i+1
	violations  []string
}

// New makes a network. It panics if cfg makes no sense.
func New(cfg Config) *Network {
	cfg.Faults.check()
	if cfg.BufferBytes < 0 || cfg.DescriptorLimit < 0 || cfg.Personality > Completion {
		panic(fmt.Sprintf("sim: impossible configuration %+v", cfg))
	}
	n := &Network{
		live:        cfg.Live,
		start:       time.Now(),
		rng:         rand.New(rand.NewPCG(cfg.Seed, 0x736c75696365)),
		faults:      cfg.Faults,
		bufferBytes: cfg.BufferBytes,
		personality: cfg.Personality,
	}
	if n.bufferBytes == 0 {
		n.bufferBytes = defaultBufferBytes
	}
	n.descriptors.init(cfg.DescriptorLimit)
	n.places.init()
	return n
}

// Name returns "sim".
func (n *Network) Name() string { return "sim" }

// Probe returns nil.
func (n *Network) Probe() error { return nil }

// New makes the driver of one more loop, which reports to h and takes its
// blocks from pool.
func (n *Network) New(h driver.Events, pool *buffer.Pool) (driver.Driver, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.loops) == maxLoops {
		return nil, fmt.Errorf("sim: more than %d loops", maxLoops)
	}
	d := &loop{
		sockets: sockets{n},
		number:  uint16(len(n.loops) + 1),
		events:  h,
		pool:    pool,
		signal:  make(chan struct{}, 1),
	}
	n.loops = append(n.loops, d)
	return d, nil
}

// SetFaults changes how often the network misbehaves from now on. It panics
// if f makes no sense.
func (n *Network) SetFaults(f Faults) {
	f.check()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Advance moves the virtual time of stepped mode forward by d. It panics if d
// is negative or if the network is live.
func (n *Network) Advance(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.live || d < 0 {
		panic("sim: Advance is for stepped mode, and forward only")
	}
	n.now += d
}

// Quiet reports whether no loop has anything to report: until a peer, a loop
// or the clock does something, every Poll will be empty.
func (n *Network) Quiet() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, d := range n.loops {
		if d.ready.len() > 0 {
			return false
		}
	}
	return true
}

// Violations returns the first 100 breaches of the driver's contract by its
// callers, in the order in which they happened. It is empty for a correct
// engine.
func (n *Network) Violations() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]string(nil), n.violations...)
}

// violate records a breach of contract.
func (n *Network) violate(format string, args ...any) {
	if len(n.violations) < maxViolations {
		n.violations = append(n.violations, fmt.Sprintf(format, args...))
	}
}

// chance is true with probability p. It leaves the generator alone when the
// answer is certain, so that an unused fault does not change a trace.
func (n *Network) chance(p float64) bool {
	return p > 0 && (p >= 1 || n.rng.Float64() < p)
}

// coin is true half of the time.
func (n *Network) coin() bool { return n.rng.Uint64()&1 == 0 }

// clock returns the time since the network began, virtual or real.
func (n *Network) clock() time.Duration {
	if n.live {
		return time.Since(n.start)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.now
}
