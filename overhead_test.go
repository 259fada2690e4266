package sluice

import (
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

// BenchmarkLoopOverhead is what the connection layer itself costs for one
// echoed message of 1 KiB: between a driver that has the bytes and takes them
// back at once. The kernel's part is several microseconds.
func BenchmarkLoopOverhead(b *testing.B) {
	for _, perPass := range []int{1, 64} {
		b.Run(map[int]string{1: "OnePerPass", 64: "SixtyFourPerPass"}[perPass], func(b *testing.B) {
			e, err := newEngine(Config{Loops: 1, Accept: AcceptPerLoop}, instantSystem{System: sim.New(sim.Config{})}, func(*eventLoop) {})
			if err != nil {
				b.Fatal(err)
			}
			l := e.loops[0]
			d := l.drv.(*instant)
			r := newRoute(e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) { _ = c.WriteBuffer(in) }}, nil)
			for fd := range perPass {
				l.adopt(fd, r)
			}
			d.conns = perPass
			b.ReportAllocs()
			for n := 0; n < b.N; n += perPass {
				if err := l.pass(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// instant is a driver on which every connection has a message in every pass.
type instant struct {
	driver.Driver
	events driver.Events
	block  *buffer.Block
	conns  int
	start  time.Time
}

type instantSystem struct{ driver.System }

func (instantSystem) New(h driver.Events, pool *buffer.Pool) (driver.Driver, error) {
	return &instant{events: h, block: pool.Get(64 << 10), start: time.Now()}, nil
}

func (d *instant) Open(_ driver.ID, fd int) (int, error) { return fd, nil }
func (d *instant) RemoteAddr(int) net.Addr               { return nil }
func (d *instant) Now() time.Duration                    { return time.Since(d.start) }
func (d *instant) Counters() driver.Counters             { return driver.Counters{} }
func (d *instant) Wake()                                 {}
func (d *instant) TryWrite(_ int, p []byte) (int, error) { return len(p), nil }
func (d *instant) Send(_ driver.ID, bufs [][]byte) (int, error) {
	n := 0
	for _, p := range bufs {
		n += len(p)
	}
	return n, nil
}

func (d *instant) Poll(time.Duration) error {
	for id := range d.conns {
		d.events.Received(driver.ID(id), d.block, d.block.Bytes()[:1024], nil)
	}
	return nil
}

// TestALongPassGivesWay is about passes whose callbacks take long: the goroutines
// that they make runnable do not wait for the end of the pass.
func TestALongPassGivesWay(t *testing.T) {
	s := newStepped(t, Config{})
	l := s.eng.loops[0]
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	l.reports, l.yielded = 0, l.time()-yieldEvery
	var ran atomic.Bool
	go ran.Store(true)
	for range timeEvery {
		l.begin()
	}
	if !ran.Load() {
		t.Error("another goroutine did not run meanwhile")
	}
}
