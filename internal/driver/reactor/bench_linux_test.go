package reactor

import (
	"context"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
)

// loopback makes a pair of connected TCP descriptors.
func loopback(b *testing.B) (here, there int) {
	b.Helper()
	var d sock.Descriptors
	ln, addr, err := d.Listen(context.Background(), "tcp", "127.0.0.1:0", driver.ListenOptions{NoDelay: true})
	if err != nil {
		b.Fatal(err)
	}
	defer d.CloseListener(ln)
	there, err = sock.Connect(addr)
	if err != nil {
		b.Fatal(err)
	}
	here, err = sock.NewAcceptor(ln).Accept()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(there) })
	return here, there
}

// BenchmarkEcho is the cost of a message that is received and sent back,
// with the peer's own write and read, while so many connections are ready
// together. BenchmarkSystemCalls is what the kernel alone takes of it.
func BenchmarkEcho(b *testing.B) {
	for _, conns := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d ready", conns), func(b *testing.B) {
			h := &handler{}
			r, asked := newReactor(b, h)
			r.poller = asked.poller // not counted
			bufs := make([][]byte, 1)
			h.received = func(id driver.ID, _ *buffer.Block, p []byte, _ error) {
				bufs[0] = p
				r.Send(id, bufs)
			}
			peers := make([]int, conns)
			for i := range peers {
				here, there := loopback(b)
				if _, err := r.Open(driver.ID(i), here); err != nil {
					b.Fatal(err)
				}
				peers[i] = there
			}
			message := make([]byte, 64)
			b.ReportAllocs()
			for b.Loop() {
				for _, p := range peers {
					unix.Write(p, message)
				}
				if err := r.Poll(-1); err != nil {
					b.Fatal(err)
				}
				for _, p := range peers {
					if n, err := unix.Read(p, message); n != len(message) {
						b.Fatal(n, err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*conns), "ns/message")
		})
	}
}

func BenchmarkSystemCalls(b *testing.B) {
	for _, conns := range []int{1, 64} {
		b.Run(fmt.Sprintf("%d ready", conns), func(b *testing.B) {
			epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
			if err != nil {
				b.Fatal(err)
			}
			defer unix.Close(epfd)
			peers := make([]int, conns)
			for i := range peers {
				here, there := loopback(b)
				b.Cleanup(func() { unix.Close(here) })
				unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, here, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(here)})
				peers[i] = there
			}
			events := make([]unix.EpollEvent, batchMin)
			scratch := make([]byte, readSize)
			message := make([]byte, 64)
			for b.Loop() {
				for _, p := range peers {
					unix.Write(p, message)
				}
				n, _ := unix.EpollWait(epfd, events, -1)
				for _, e := range events[:n] {
					m, _ := unix.Read(int(e.Fd), scratch)
					unix.Write(int(e.Fd), scratch[:m])
				}
				for _, p := range peers {
					if n, err := unix.Read(p, message); n != len(message) {
						b.Fatal(n, err)
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*conns), "ns/message")
		})
	}
}
