package sluice

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/sluice-go/sluice/internal/driver/sim"
)

// helloOf returns the first message of a client.
func helloOf(client *tls.Config) []byte {
	flight := &firstFlight{}
	_ = tls.Client(flight, client).Handshake()
	return flight.p
}

// neverOpen is a handler for connections that never get so far.
func neverOpen(t *testing.T) Handler {
	return Funcs{
		Open:  func(Conn) { t.Error("OnOpen was called") },
		Close: func(Conn, error) { t.Error("OnClose was called") },
	}
}

// mustEnd waits until the other end has closed c, whatever it said before.
func mustEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("it was not closed")
	}
}

// sums returns what a test wants to know of all loops.
func sums(e *Engine) (conns, accepted, failed int64) {
	for _, l := range e.Stats().Loops {
		conns += l.Conns
		accepted += l.Accepted
		failed += l.HandshakeErrors
	}
	return conns, accepted, failed
}

func TestTLSServerTakesAHelloInAnyPieces(t *testing.T) {
	const segment = 1460
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		e := w.engine(t, Config{})
		ln := w.serve(t, e, TLS(server, Funcs{Data: echo}))
		if n := len(helloOf(client)); n <= segment {
			t.Errorf("a hello has %d bytes: all this could be seen in one segment", n)
		}
		for _, size := range []int{segment, 1} {
			c := tls.Client(&inPieces{Conn: w.connect(t, ln), size: size}, client)
			exchange(t, c, bytesOf(10_000))
			c.Close()
		}
	})
}

// inPieces writes its first bytes in pieces which the other end may see one by one.
type inPieces struct {
	net.Conn
	size, done int
}

func (c *inPieces) Write(p []byte) (n int, err error) {
	const first = 1600
	for n < len(p) && err == nil {
		k := len(p) - n
		if c.done < first {
			k = min(k, c.size)
		}
		k, err = c.Conn.Write(p[n : n+k])
		n += k
		if c.done += k; c.done < first {
			runtime.Gosched()
		}
	}
	return n, err
}

func TestTLSHelloThatNeverEndsIsClosed(t *testing.T) {
	announced := []byte{22, 3, 1, 64, 0, 1}              // a record of 16 KiB
	spread := []byte{22, 3, 1, 0, 4, 1, 0, 255, 255}     // a message of 64 KiB, in as many records
	more := bytes.Repeat([]byte{22, 3, 1, 0, 1, 0}, 200) // for both
	eachWorld(t, func(t *testing.T, w *world) {
		server, _ := tlsConfigs()
		e := w.engine(t, Config{Loops: 1, HandshakeTimeout: 200 * time.Millisecond})
		ln := w.serve(t, e, TLS(server, neverOpen(t)))
		before := runtime.NumGoroutine()
		for _, hello := range [][]byte{announced, spread} {
			stops, trickles := w.connect(t, ln), w.connect(t, ln)
			if _, err := stops.Write(append(bytes.Clone(hello), more...)); err != nil {
				t.Fatal(err)
			}
			over := make(chan struct{})
			go func() {
				defer close(over)
				_, err := trickles.Write(hello)
				for i := 0; i < len(more) && err == nil; i++ {
					_, err = trickles.Write(more[i : i+1])
					time.Sleep(time.Millisecond)
				}
			}()
			mustEnd(t, stops)
			mustEnd(t, trickles)
			trickles.Close()
			<-over
		}
		eventually(t, "four failed handshakes", func() bool {
			conns, _, failed := sums(e)
			return conns == 0 && failed == 4
		})
		eventually(t, "their goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

// openers connects n times, each of which sends p and then nothing.
func (s *stepped) openers(t *testing.T, n int, p []byte, h Handler) (peers []*sim.Peer) {
	t.Helper()
	ln := s.listen(h)
	before, _, _ := sums(s.eng)
	for len(peers) < n {
		for range min(500, n-len(peers)) {
			c, err := s.net.Dial(ln)
			if err != nil {
				t.Fatal(err)
			}
			if k, err := c.TryWrite(p); k < len(p) || err != nil {
				t.Fatal(k, err)
			}
			peers = append(peers, c)
		}
		s.settle()
	}
	for conns := int64(0); conns < before+int64(n) || !s.net.Quiet(); conns, _, _ = sums(s.eng) {
		s.settle()
	}
	return peers
}

// listen has the engine serve h and returns where.
func (s *stepped) listen(h Handler) net.Addr {
	s.t.Helper()
	ln, err := s.eng.bindListener(s.t.Context(), "tcp", "127.0.0.1:0", h)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, a := range ln.acceptors {
		a.loop.do(func() { _ = a.start() })
	}
	s.settle()
	return ln.Addr()
}

// timeOut moves the clock to when handshakes take too long, and checks that all of
// them have failed by then and left nothing.
func (s *stepped) timeOut(peers []*sim.Peer) {
	s.t.Helper()
	s.advance(s.eng.cfg.HandshakeTimeout + time.Second)
	s.settle()
	if conns, _, failed := sums(s.eng); conns != 0 || failed != int64(len(peers)) {
		s.t.Errorf("%d connections are left, %d handshakes failed", conns, failed)
	}
	for _, c := range peers {
		var n int
		var err error
		for n = 1; n > 0 && err == nil; n, err = c.TryRead(make([]byte, 4096)) {
		}
		if err == nil {
			s.t.Fatal("the peer of one sees nothing of its end")
		}
		_ = c.Close()
	}
	if n := s.eng.loops[0].pool.Live(); n != 0 {
		s.t.Errorf("%d blocks are not released", n)
	}
	if v := s.net.Violations(); len(v) > 0 {
		s.t.Errorf("the engine broke the driver's contract: %q", v)
	}
}

func TestTenThousandTLSOpenersThatSendNoWholeHello(t *testing.T) {
	const conns = 10_000
	server, client := tlsConfigs()
	hello := helloOf(client)
	for _, test := range []struct {
		name string
		sent []byte
		most int64 // bytes of memory for each, of which the network has a third
	}{
		{"silent", nil, 1000},
		{"half a hello", hello[:len(hello)/2], 2200},
		{"all but the end of a hello", hello[:len(hello)-10], 2800},
		{"a large record announced", []byte{22, 3, 1, 64, 0, 1}, 1000},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newStepped(t, Config{})
			h := TLS(server, neverOpen(t))
			peers := s.openers(t, 1, test.sent, h) // with what is needed once
			_ = heap()
			before, goroutines := heap(), runtime.NumGoroutine()
			peers = append(peers, s.openers(t, conns-1, test.sent, h)...)
			each := (int64(heap()) - int64(before)) / (conns - 1)
			t.Logf("%d bytes each", each)
			if each > test.most {
				t.Errorf("%d bytes each, of at most %d", each, test.most)
			}
			if n := runtime.NumGoroutine(); n > goroutines {
				t.Errorf("%d goroutines, %d before", n, goroutines)
			}
			s.timeOut(peers)
		})
	}
}

func TestTLSHandshakesThatStopAreBounded(t *testing.T) {
	const conns, places, timers = 300, 20, 10 // goroutines of timers that have fired
	server, client := tlsConfigs()
	s := newStepped(t, Config{MaxHandshakes: places})
	before := runtime.NumGoroutine()
	peers := s.openers(t, conns, helloOf(client), TLS(server, neverOpen(t)))
	answered := func() (n int) {
		for _, c := range peers {
			if k, _ := c.TryRead(make([]byte, 1)); k > 0 {
				n++
			}
		}
		return n
	}
	total := 0
	eventually(t, "the first to be answered", func() bool {
		s.settle()
		if n := runtime.NumGoroutine() - before; n > places+timers {
			t.Fatalf("%d goroutines more", n)
		}
		total = max(total, answered())
		return total >= places
	})
	if n := s.eng.Stats().HandshakesWaiting; n != conns-places || total != places {
		t.Errorf("%d handshakes wait, %d were answered", n, total)
	}
	s.timeOut(peers)
	if n := s.eng.Stats().HandshakesWaiting; n != 0 {
		t.Errorf("%d handshakes still wait", n)
	}
	eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
}

func TestTLSHandshakesThatStopAreClosed(t *testing.T) {
	const conns, places = 60, 5
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		e := w.engine(t, Config{MaxHandshakes: places, HandshakeTimeout: 300 * time.Millisecond})
		ln := w.serve(t, e, TLS(server, neverOpen(t)))
		before := runtime.NumGoroutine()
		hello := helloOf(client)
		for range conns {
			if _, err := w.connect(t, ln).Write(hello); err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "all to have failed", func() bool {
			// The end of one has a goroutine for a moment, and so has its timer, when the
			// next begins.
			if n := runtime.NumGoroutine() - before; n > conns/2 && w.name != "portable" {
				t.Fatalf("%d goroutines more", n)
			}
			left, _, failed := sums(e)
			return left == 0 && failed == conns
		})
		if n := e.Stats().HandshakesWaiting; n != 0 {
			t.Errorf("%d handshakes still wait", n)
		}
		eventually(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	})
}

func TestTLSClientsThatLeaveTheQueueDelayNobody(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		server = server.Clone()
		held, release := make(chan struct{}), make(chan struct{})
		server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if hello.ServerName == "slow.example.com" {
				close(held)
				<-release // whatever its context says
			}
			return nil, nil
		}
		e := w.engine(t, Config{MaxHandshakes: 1})
		ln := w.serve(t, e, TLS(server, Funcs{Data: echo}))
		slow := client.Clone()
		slow.ServerName = "slow.example.com"
		first := w.connect(t, ln)
		if _, err := first.Write(helloOf(slow)); err != nil {
			t.Fatal(err)
		}
		receive(t, "the callback", held)
		waiting := func(n int) func() bool {
			return func() bool { return e.Stats().HandshakesWaiting == n }
		}
		var peers []peer
		for range 20 {
			c := w.connect(t, ln)
			if _, err := c.Write(helloOf(client)); err != nil {
				t.Fatal(err)
			}
			peers = append(peers, c)
		}
		eventually(t, "a queue", waiting(20))
		for _, c := range peers {
			c.Close()
		}
		eventually(t, "an empty queue", waiting(0))
		next := tls.Client(w.connect(t, ln), client)
		done := make(chan error, 1)
		go func() { done <- next.Handshake() }()
		eventually(t, "a queue of one", waiting(1))
		first.Close()
		close(release)
		if err := receive(t, "the handshake", done); err != nil {
			t.Fatal(err)
		}
		exchange(t, next, []byte("hello"))
	})
}
