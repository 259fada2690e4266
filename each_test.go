package sluice

import (
	"io"
	"sync"
	"testing"
)

func TestEachVisitsTheConnectionsOfOneListenerEachOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		if w.network == "unix" {
			t.Skip("the second listener would need another path")
		}
		var lns []*Listener
		var peers [2][]peer
		for k := range 2 {
			ln := w.serve(t, e, w.ordered(t, Funcs{Data: echo}))
			lns = append(lns, ln)
			for range 20 + k {
				p := w.connect(t, ln)
				mustEcho(t, p, []byte("hello"))
				peers[k] = append(peers[k], p)
			}
		}
		if _, err := e.Dial(t.Context(), w.network, w.outsideEcho(t).Addr().String(), Funcs{}); err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		seen := map[Conn]int{}
		lns[1].Each(func(c Conn) {
			mu.Lock()
			defer mu.Unlock()
			seen[c]++
			switch len(seen) {
			case 1:
				panic(errTest) // costs this one connection
			default:
				_, _ = c.WriteString("goodbye")
				_ = c.Close()
			}
		})
		if len(seen) != 21 {
			t.Errorf("%d connections were visited, not 21", len(seen))
		}
		for c, n := range seen {
			if n != 1 || c.IsOpen() {
				t.Errorf("visited %d times; open: %v", n, c.IsOpen())
			}
		}
		whole := 0
		for _, p := range peers[1] {
			if got, err := io.ReadAll(p); string(got) == "goodbye" && err == nil {
				whole++
			}
		}
		if whole != 20 {
			t.Errorf("%d of 20 connections were closed in order", whole)
		}
		for _, p := range peers[0] {
			mustEcho(t, p, []byte("still here"))
		}
	})
}

// A main loop accepts more than the other takes in one pass, and then Each is
// called.
func TestEachVisitsWhatIsOnItsWayToItsLoopAndLetsTheLoopBreathe(t *testing.T) {
	s := newStepped(t, Config{})
	e, err := newEngine(Config{Loops: 1, Accept: AcceptMain}, s.net, func(*eventLoop) {})
	if err != nil {
		t.Fatal(err)
	}
	s.eng = e
	ln, err := e.bindListener(t.Context(), "tcp", "127.0.0.1:0", Funcs{})
	if err != nil {
		t.Fatal(err)
	}
	const conns = 2*perPass + 20
	l, main := e.loops[0], e.main
	main.do(func() { _ = ln.acceptors[0].start() })
	for range conns {
		if _, err := s.net.Dial(ln.Addr()); err != nil {
			t.Fatal(err)
		}
		if err := main.pass(); err != nil {
			t.Fatal(err)
		}
	}
	visited, most := 0, 0
	done := make(chan struct{})
	go func() { defer close(done); ln.Each(func(Conn) { visited++ }) }()
	eventually(t, "the call", func() bool { return !l.tasks.Empty() })
	eventually(t, "Each", func() bool {
		before := visited
		if err := l.pass(); err != nil {
			t.Fatal(err)
		}
		most = max(most, visited-before)
		select {
		case <-done:
			return true
		default:
			return false
		}
	})
	if visited != conns || most > perPass {
		t.Errorf("%d of %d connections were visited, up to %d in one pass", visited, conns, most)
	}
}

func TestEachReturnsWhenTheEngineHasEnded(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{})
		ln := w.serve(t, e, Funcs{Data: echo})
		mustEcho(t, w.connect(t, ln), []byte("hello"))
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		ln.Each(func(Conn) { t.Error("a connection after the engine's end") })
	})
}
