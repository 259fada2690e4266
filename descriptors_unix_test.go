//go:build unix

package sluice

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice/internal/driver/sim"
)

func TestAFullDescriptorTableHoldsAcceptingBackAndItRecovers(t *testing.T) {
	test := func(t *testing.T, w *world) {
		e := w.engine(t, Config{Loops: 1})
		ln := w.serve(t, e, Funcs{Data: echo})
		first := w.connect(t, ln)
		mustEcho(t, first, []byte("before"))
		sum := func(count func(LoopStats) int64) (n int64) {
			for _, l := range e.Stats().Loops {
				n += count(l)
			}
			return n
		}
		accepted := func() int64 { return sum(func(l LoopStats) int64 { return l.Accepted }) }
		paused := func() bool { return sum(func(l LoopStats) int64 { return l.AcceptErrors }) > 0 }
		spare, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer spare.Close()
		var others []net.Conn // only the last is not accepted
		for !paused() {
			c, err := w.dial(ln.Addr())
			if err != nil { // this end has no descriptor: make room for it alone
				if err := errors.Join(err, spare.Close()); errors.Is(err, os.ErrClosed) {
					t.Fatal(err)
				}
				continue
			}
			others = append(others, c)
			eventually(t, "an outcome", func() bool {
				return paused() || accepted() == int64(1+len(others))
			})
		}
		for range 5 { // those that were accepted go on meanwhile
			mustEcho(t, first, []byte("during"))
		}
		for _, c := range others[:len(others)-1] {
			c.Close()
		}
		last := others[len(others)-1] // waited in the backlog all the time
		_ = last.SetDeadline(time.Now().Add(bound))
		mustEcho(t, last, []byte("after"))
		last.Close()
		mustEcho(t, w.connect(t, ln), []byte("a new one"))
	}
	t.Run("sim", func(t *testing.T) {
		test(t, simWorld(t, sim.Config{Live: true, Seed: 1, DescriptorLimit: 8}))
	})
	// The kernel's limit holds for a process: the engine gets one of its own.
	for _, sys := range nativeSystems() {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(sys.Name()+"/"+network, func(t *testing.T) {
				w := realWorld(t, sys, network)
				lowered(t, func() { test(t, w) })
			})
		}
	}
}

// set sets a limit, whose type differs from system to system.
func set[T int64 | uint64](p *T, v int) { *p = T(v) }

// lowered runs test with a descriptor limit that leaves room for about 60
// more.
func lowered(t *testing.T, test func()) {
	t.Helper()
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	next := f.Fd() // the lowest free number
	f.Close()
	low := old
	set(&low.Cur, int(next)+60)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &old); err != nil {
			t.Error(err)
		}
	}()
	test()
}

// shortenBacklog gives a listening descriptor room for one connection.
func shortenBacklog(fd uintptr) { _ = syscall.Listen(int(fd), 1) }
