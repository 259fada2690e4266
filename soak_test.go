package sluice

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

var (
	soakFor     = flag.Duration("soak.for", 0, "run TestSoak for so long")
	soakDriver  = flag.String("soak.driver", "auto", "the driver of TestSoak")
	soakClients = flag.Int("soak.clients", 200, "clients of TestSoak at a time")
)

// soak counts what TestSoak did.
type soak struct {
	t       *testing.T
	talks   atomic.Int64 // connections that ended in order, every byte echoed
	stalls  atomic.Int64 // those of them whose client stopped reading at times
	resets  atomic.Int64 // connections that a side cut off
	dialed  atomic.Int64 // connections that the engine made
	bytes   atomic.Int64 // echoed and compared
	timeout time.Duration
}

// TestSoak has clients connect, talk, stall and reset at random for a long time.
// Afterwards nothing may be left and no byte may have been lost:
//
//	go test -run '^TestSoak$' -v -timeout 20m . -soak.for 10m -soak.driver io_uring
func TestSoak(t *testing.T) {
	if *soakFor == 0 {
		t.Skip("a command: see its comment")
	}
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors(t)
	e, err := New(Config{Driver: *soakDriver, IdleTimeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	s := &soak{t: t, timeout: 30 * time.Second}
	ln, err := e.Listen("tcp", "127.0.0.1:0", Funcs{Data: soakEcho})
	if err != nil {
		t.Fatal(err)
	}
	rude, err := e.Listen("tcp", "127.0.0.1:0", Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
		if soakEcho(c, in); rand.IntN(20) == 0 {
			c.Abort()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	outside, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var servers, clients sync.WaitGroup
	servers.Go(func() {
		for {
			c, err := outside.Accept()
			if err != nil {
				return
			}
			servers.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	end := time.Now().Add(*soakFor)
	for i := range *soakClients {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			for time.Now().Before(end) && !t.Failed() {
				switch rng.IntN(8) {
				case 0:
					s.dial(e, outside.Addr(), rng)
				case 1:
					s.visit(rude.Addr(), rng, true)
				default:
					s.visit(ln.Addr(), rng, false)
				}
			}
		})
	}
	clients.Wait()
	st := e.Stats()
	for i, l := range st.Loops {
		t.Logf("loop %d: %+v", i, l)
	}
	t.Logf("%s: %d connections talked, %d of them stalled, %d were cut off, %d were dialed; %d MiB were echoed and compared",
		st.Driver, s.talks.Load(), s.stalls.Load(), s.resets.Load(), s.dialed.Load(), s.bytes.Load()>>20)
	if err := errors.Join(outside.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	servers.Wait()
	for i, l := range e.all() {
		if n := l.pool.Live(); n != 0 {
			t.Errorf("loop %d: %d blocks are not released", i, n)
		}
		if l.count.conns != 0 || l.assigned.Load() != 0 {
			t.Errorf("loop %d: %d connections counted, %d assigned", i, l.count.conns, l.assigned.Load())
		}
	}
	eventually(t, "all goroutines to end", func() bool { return runtime.NumGoroutine() <= goroutines })
	eventually(t, "all descriptors to be closed", func() bool { return openDescriptors(t) <= descriptors })
}

// openDescriptors counts the process's descriptors, where the system tells.
func openDescriptors(t *testing.T) int {
	if runtime.GOOS != "linux" {
		return 0
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// soakEcho echoes in one of the ways that there are, and sometimes not at once.
func soakEcho(c Conn, in *buffer.LinkBuffer) {
	var err error
	switch rand.IntN(16) {
	case 0: // a copy
		p := make([]byte, in.Len())
		_, _ = in.Read(p)
		_, err = c.Write(p)
	case 1: // a part now, the rest with what comes next, or later
		var part buffer.LinkBuffer
		defer part.Close() // which has nothing unless WriteBuffer failed
		if err = in.Slice(&part, (in.Len()+1)/2); err == nil {
			err = c.WriteBuffer(&part)
		}
		if in.Len() > 0 {
			c.Wake()
		}
	case 2: // a rest
		err = c.WriteBuffer(in)
		_ = c.PauseRead()
		_, _ = c.AfterFunc(time.Duration(rand.IntN(20))*time.Millisecond, func(c Conn) { _ = c.ResumeRead() })
	default:
		err = c.WriteBuffer(in)
	}
	if err != nil {
		c.Abort()
	}
}

// visit makes one connection and tells it something at random. Of a rude server
// nothing is expected but that what comes is right.
func (s *soak) visit(addr net.Addr, rng *rand.Rand, rude bool) {
	p, err := net.Dial("tcp", addr.String())
	if err != nil {
		s.t.Errorf("dial: %v", err)
		return
	}
	defer p.Close()
	_ = p.SetDeadline(time.Now().Add(s.timeout))
	n := 1 << rng.IntN(21)
	stalls, cut := 0, rng.IntN(4) == 0
	if rng.IntN(8) == 0 {
		stalls = 1 + rng.IntN(50)
	}
	stall := stalls > 0
	want := make([]byte, n)
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	var writing sync.WaitGroup
	pieces := rand.New(rand.NewPCG(rng.Uint64(), 2))
	writing.Go(func() {
		for rest := want; len(rest) > 0; {
			k := min(len(rest), 1+pieces.IntN(64<<10))
			if _, err := p.Write(rest[:k]); err != nil {
				return // reading finds out whether that is an error
			}
			rest = rest[k:]
		}
		if !cut {
			_ = p.(*net.TCPConn).CloseWrite()
		}
	})
	defer writing.Wait()
	limit := n
	if cut {
		limit = rng.IntN(n + 1)
	}
	got, buf := 0, make([]byte, 1+rng.IntN(128<<10))
	for {
		if cut && got >= limit {
			_ = p.(*net.TCPConn).SetLinger(rng.IntN(2) - 1) // a reset, or whatever close does
			_ = p.Close()
			s.resets.Add(1)
			return
		}
		if stalls > 0 && rng.IntN(4) == 0 {
			stalls--
			time.Sleep(time.Duration(rng.IntN(50)) * time.Millisecond)
		}
		k, err := p.Read(buf)
		if got+k > n || !bytes.Equal(buf[:k], want[got:got+k]) {
			s.t.Errorf("%v: the bytes from %d on are not those that were sent", p.LocalAddr(), got)
			return
		}
		got += k
		s.bytes.Add(int64(k))
		switch {
		case err == nil:
		case rude:
			s.resets.Add(1)
			_ = p.Close() // so that the writer ends
			return
		case err != io.EOF || got != n:
			s.t.Errorf("%v: after %d of %d bytes: %v", p.LocalAddr(), got, n, err)
			return
		default:
			s.talks.Add(1)
			if stall {
				s.stalls.Add(1)
			}
			return
		}
	}
}

// dial has the engine make a connection to an echo server outside.
func (s *soak) dial(e *Engine, addr net.Addr, rng *rand.Rand) {
	want := make([]byte, 1<<rng.IntN(20))
	for i := range want {
		want[i] = byte(rng.Uint32())
	}
	got, over := 0, make(chan error, 1)
	c, err := e.Dial(s.t.Context(), "tcp", addr.String(), Funcs{
		Open: func(c Conn) { _, _ = c.Write(want) },
		Data: func(c Conn, in *buffer.LinkBuffer) {
			p := make([]byte, in.Len())
			_, _ = in.Read(p)
			if got+len(p) > len(want) || !bytes.Equal(p, want[got:got+len(p)]) {
				s.t.Errorf("dialed: the bytes from %d on are not those that were sent", got)
			}
			if got += len(p); got == len(want) {
				_ = c.Close()
			}
		},
		Close: func(c Conn, err error) {
			if err == nil && got != len(want) {
				err = fmt.Errorf("%d of %d bytes", got, len(want))
			}
			over <- err
		},
	})
	if err != nil {
		s.t.Errorf("Dial: %v", err)
		return
	}
	if err := receive(s.t, "the end of a dialed connection", over); err != nil {
		s.t.Errorf("%v: %v", c.LocalAddr(), err)
		return
	}
	s.dialed.Add(1)
	s.bytes.Add(int64(len(want)))
}
