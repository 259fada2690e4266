//go:build linux

package proactor

import (
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
)

// echoing sends back what comes, out of the block in which it came.
type echoing struct {
	b    *testing.B
	d    driver.Driver
	fds  []int
	lent []*buffer.Block // by id, what is being sent
	sent int
}

func (e *echoing) Accepted(_ driver.ID, fd int, _ error) { e.fds = append(e.fds, fd) }
func (e *echoing) Connected(driver.ID, int, error)       {}
func (e *echoing) Closed(driver.ID)                      {}
func (e *echoing) Received(id driver.ID, b *buffer.Block, p []byte, err error) {
	if err != nil {
		e.b.Fatal(err)
	}
	b.Retain()
	e.lent[id] = b
	if _, err := e.d.Send(id, [][]byte{p}); err != nil {
		e.b.Fatal(err)
	}
}
func (e *echoing) Sent(id driver.ID, n int, err error) {
	e.lent[id].Release()
	e.sent++
}

// BenchmarkBuffers is the server's time for a message that is received and sent
// back while 256 connections are ready together, by how many buffers there are and
// how large they are. It is what sizes in IOUring go by.
func BenchmarkBuffers(b *testing.B) {
	const conns = 256
	for _, message := range []int{64, 1 << 10, 4 << 10} {
		for _, size := range []int{8 << 10, 64 << 10} {
			for _, n := range []int{32, 64, 128, 256, 512} {
				b.Run(fmt.Sprintf("message=%d/size=%dK/buffers=%d", message, size>>10, n), func(b *testing.B) {
					s := IOUring().(*system).sizes
					s.buffers, s.bufferSize = n, size
					benchmarkEcho(b, newSystem(s), conns, message)
				})
			}
		}
	}
}

func benchmarkEcho(b *testing.B, sys driver.System, conns, size int) {
	if err := sys.Probe(); err != nil {
		b.Skip(err)
	}
	var pool buffer.Pool
	e := &echoing{b: b, lent: make([]*buffer.Block, conns)}
	d, err := sys.New(e, &pool)
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	e.d = d
	fd, addr, err := sys.Listen(b.Context(), "tcp", "127.0.0.1:0", driver.ListenOptions{NoDelay: true})
	if err != nil {
		b.Fatal(err)
	}
	defer sys.CloseListener(fd)
	if err := d.Listen(0, fd); err != nil {
		b.Fatal(err)
	}
	peers := make([]int, conns)
	for i := range peers {
		if peers[i], err = sock.Connect(addr.(*net.TCPAddr)); err != nil {
			b.Fatal(err)
		}
		defer unix.Close(peers[i])
		for len(e.fds) == 0 {
			if err := d.Poll(10 * time.Millisecond); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := d.Open(driver.ID(i), e.fds[0]); err != nil {
			b.Fatal(err)
		}
		e.fds = e.fds[1:]
	}
	message := make([]byte, size)
	var spent time.Duration
	for b.Loop() {
		for _, p := range peers {
			if _, err := unix.Write(p, message); err != nil {
				b.Fatal(err)
			}
		}
		e.sent = 0
		begin := time.Now()
		for e.sent < conns {
			if err := d.Poll(-1); err != nil {
				b.Fatal(err)
			}
		}
		spent += time.Since(begin)
		for _, p := range peers {
			if n, err := unix.Read(p, message); n != size {
				b.Fatal(n, err)
			}
		}
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*conns), "server-ns/message")
}
