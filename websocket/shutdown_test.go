package websocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

// within is a context for a Shutdown.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// goingAway expects that a member's client was told that the server goes away.
func (m *member) goingAway(t *testing.T) {
	t.Helper()
	err := receive(t, "the client's OnClose", m.gone)
	var said *websocket.CloseError
	if !errors.As(err, &said) || said.Status != websocket.GoingAway {
		t.Errorf("the client's OnClose was given %v, want a CloseError with 1001", err)
	}
	if err := receive(t, "OnClose", m.closed); err != nil {
		t.Errorf("the server's OnClose was given %v, want nil", err)
	}
}

// refused expects that a handshake is refused because the server is shutting down.
func (st *site) refused() {
	st.t.Helper()
	c := st.dial()
	c.send(hello())
	if resp := c.response(); resp.StatusCode != http.StatusServiceUnavailable {
		st.t.Errorf("a handshake is answered with %s, want 503", resp.Status)
	}
	_ = c.Close()
}

func TestShutdownTellsEverybodyAndWaitsForThem(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		r := newRoom(t, w, &websocket.Server{}, 60, 0)
		if err := r.Shutdown(context.Background()); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if n := r.Stats().Conns; n != 0 {
			t.Errorf("behind Shutdown there are %d connections", n)
		}
		for _, m := range r.members {
			m.goingAway(t)
		}
		if err := r.Shutdown(context.Background()); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("a second Shutdown: %v, want http.ErrServerClosed", err)
		}
		r.refused()
		if s := r.Stats(); s.Refused != 1 || s.Opened != 60 {
			t.Errorf("Stats are %+v", s)
		}
	})
}

func TestShutdownWithoutConnections(t *testing.T) {
	h := websocket.Funcs{}
	if err := (&websocket.Server{Handler: h}).Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown of a server that was not used: %v", err)
	}
	if err := (&websocket.Server{}).Shutdown(context.Background()); err == nil {
		t.Error("Shutdown of a server with wrong settings returns no error")
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := (&websocket.Server{Handler: h}).Shutdown(ended); err != nil {
		t.Errorf("Shutdown of a server that has nothing to wait for: %v", err)
	}
	eachWorld(t, func(t *testing.T, w *world) {
		r := newRoom(t, w, &websocket.Server{}, 3, 0)
		for _, m := range r.members {
			_ = m.client.Close(websocket.NormalClosure, "")
			receive(t, "OnClose", m.closed)
		}
		if err := r.Shutdown(within(t, bound)); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// lenient is a context that has a deadline, but does not end then: a loaded machine has
// time.
type lenient struct {
	context.Context
	deadline time.Time
}

func (l lenient) Deadline() (time.Time, bool) { return l.deadline, true }

func TestShutdownSpreadsTheClosing(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members = 600 // three seconds' worth, but for the deadline
		r := newRoom(t, w, &websocket.Server{}, members, 0)
		var mu sync.Mutex
		ticks := map[int64]int{}
		began := time.Now()
		var wg sync.WaitGroup
		for _, m := range r.members {
			wg.Go(func() {
				m.goingAway(t)
				mu.Lock()
				defer mu.Unlock()
				ticks[int64(time.Since(began)/(50*time.Millisecond))]++
			})
		}
		if err := r.Shutdown(lenient{within(t, bound), began.Add(600 * time.Millisecond)}); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		wg.Wait()
		most := 0
		for _, n := range ticks {
			most = max(most, n)
		}
		if len(ticks) < 4 || most > members*3/4 {
			t.Errorf("the connections, %d, were closed in %d intervals of 50 ms, %d in one of them", members, len(ticks), most)
		}
	})
}

func TestShutdownAbortsThoseWhoDoNotAnswerWhenTheTimeIsUp(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const members, silent = 10, 4
		r := newRoom(t, w, &websocket.Server{}, members, silent)
		var clients []*client
		for i := range silent {
			_, c := r.open(i)
			clients = append(clients, c)
		}
		ended := make(chan error, 1)
		ctx, cancel := context.WithCancel(context.Background())
		go func() { ended <- r.Shutdown(ctx) }()
		for _, m := range r.members[silent:] {
			m.goingAway(t)
		}
		for _, c := range clients {
			c.expect(closing, closePayload(websocket.GoingAway, ""))
		}
		r.refused() // meanwhile
		select {
		case err := <-ended:
			t.Fatalf("Shutdown does not wait: %v", err)
		default:
		}
		cancel()
		if err := receive(t, "Shutdown", ended); !errors.Is(err, context.Canceled) {
			t.Errorf("Shutdown: %v, want context.Canceled", err)
		}
		for i, c := range clients {
			if b, err := io.ReadAll(c.r); err == nil || len(b) > 0 {
				t.Errorf("client %d got %q and the end, want a reset", i, b)
			}
			if err := receive(t, "OnClose", r.members[i].closed); !errors.Is(err, sluice.ErrAborted) {
				t.Errorf("OnClose was given %v, want ErrAborted", err)
			}
		}
		r.refused()
	})
}

func TestShutdownGivesThoseWhoDoNotAnswerTheCloseTimeout(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		r := newRoom(t, w, &websocket.Server{CloseTimeout: 30 * time.Millisecond}, 2, 1)
		m, c := r.open(0)
		ended := make(chan error, 1)
		go func() { ended <- r.Shutdown(within(t, bound)) }()
		c.expect(closing, closePayload(websocket.GoingAway, ""))
		c.over()
		if err := receive(t, "OnClose", m.closed); !errors.Is(err, websocket.ErrCloseTimeout) {
			t.Errorf("OnClose was given %v, want ErrCloseTimeout", err)
		}
		if err := receive(t, "Shutdown", ended); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

// Whoever connects while the server begins to shut down is refused, or told.
func TestShutdownMissesNobodyWhoConnectsAtThatMoment(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var opened, closed atomic.Int64
		s := &websocket.Server{Handler: websocket.Funcs{
			Open:  func(*websocket.Conn) { opened.Add(1) },
			Close: func(*websocket.Conn, error) { closed.Add(1) },
		}}
		eng, _ := (&world{driver: w.driver}).engine(t)
		st := w.serve(t, s)
		gone := make(chan error, 1)
		d := &websocket.Dialer{Engine: eng, Handler: websocket.Funcs{
			Close: func(c *websocket.Conn, err error) { c.Context().(chan error) <- err },
		}}
		var wg sync.WaitGroup
		var through, refused atomic.Int64
		for range 8 {
			wg.Go(func() {
				var told []chan error
				for {
					mine := make(chan error, 1)
					_, err := d.Dial(context.Background(), st.url("/"), mine)
					var no *websocket.HandshakeError
					if errors.As(err, &no) && no.Response.StatusCode == http.StatusServiceUnavailable {
						refused.Add(1)
						break
					}
					if err != nil {
						t.Errorf("Dial: %v", err)
						break
					}
					through.Add(1)
					told = append(told, mine)
				}
				for _, mine := range told {
					var said *websocket.CloseError
					if err := <-mine; !errors.As(err, &said) || said.Status != websocket.GoingAway {
						t.Errorf("a connection ended with %v", err)
					}
				}
			})
		}
		eventually(t, "connections", func() bool { return through.Load() >= 20 })
		go func() { gone <- s.Shutdown(within(t, bound)) }()
		if err := receive(t, "Shutdown", gone); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		wg.Wait()
		eventually(t, "the connections to end", func() bool { return s.Stats().Conns == 0 && closed.Load() == opened.Load() })
		if refused.Load() != 8 {
			t.Errorf("%d of 8 clients were refused in the end", refused.Load())
		}
		if st := s.Stats(); st.Opened != opened.Load() || st.Refused != refused.Load() {
			t.Errorf("Stats are %+v; %d were opened and %d refused", st, opened.Load(), refused.Load())
		}
	})
}

// freeAddr is an address that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

func TestListenAndServeEndsWithShutdown(t *testing.T) {
	for _, own := range []bool{true, false} {
		t.Run(fmt.Sprintf("own=%v", own), func(t *testing.T) {
			before := takeCensus()
			rec := newRecorder(t)
			s := &websocket.Server{Handler: rec}
			eng, err := sluice.New(sluice.Config{})
			if err != nil {
				t.Fatal(err)
			}
			if !own {
				s.Engine = eng
			}
			addr, served := freeAddr(t), make(chan error, 1)
			go func() { served <- s.ListenAndServe(addr) }()
			told := make(chan error, 1)
			d := &websocket.Dialer{Engine: eng, Handler: websocket.Funcs{Close: func(_ *websocket.Conn, err error) { told <- err }}}
			eventually(t, "the server to listen", func() bool {
				_, err := d.Dial(t.Context(), "ws://"+addr, nil)
				return err == nil
			})
			rec.conn()
			if err := s.Shutdown(within(t, bound)); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if err := receive(t, "ListenAndServe", served); !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("ListenAndServe: %v, want http.ErrServerClosed", err)
			}
			var said *websocket.CloseError
			if err := receive(t, "the client's OnClose", told); !errors.As(err, &said) || said.Status != websocket.GoingAway {
				t.Errorf("the client's OnClose was given %v", err)
			}
			if c, err := net.Dial("tcp", addr); err == nil {
				_ = c.Close()
				t.Error("the server still listens")
			}
			if err := s.ListenAndServe(addr); !errors.Is(err, http.ErrServerClosed) {
				t.Errorf("ListenAndServe behind Shutdown: %v, want http.ErrServerClosed", err)
			}
			_ = eng.Close()
			eventually(t, "all of it to go", func() bool { return takeCensus().within(before) })
		})
	}
}

func TestShutdownDuringBroadcasts(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members = 60
		b := websocket.Backlog{Bytes: 10_000, Policy: websocket.DropOldest}
		r := newRoom(t, w, &websocket.Server{Backlog: b}, members, 1)
		slow, c := r.open(0) // which never reads
		r.join(r.members...)
		stop, began := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := uint32(0); ; i++ {
				r.group.Broadcast(prepared(i, 1000))
				if i == 100 {
					close(began)
				}
				select {
				case <-stop:
					return
				case <-time.After(500 * time.Microsecond):
				}
			}
		})
		<-began
		ended := make(chan error, 1)
		go func() { ended <- r.Shutdown(within(t, bound)) }()
		for i, m := range r.members[1:] {
			m.goingAway(t)
			for j, got := 1, m.list(); j < len(got); j++ {
				if got[j] <= got[j-1] {
					t.Fatalf("member %d got message %d behind %d", 1+i, got[j], got[j-1])
				}
			}
		}
		c.reset()
		receive(t, "OnClose of the one that does not read", slow.closed)
		if err := receive(t, "Shutdown", ended); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		close(stop)
		wg.Wait()
		if n := r.group.Len(); n != 0 {
			t.Errorf("the group has %d members", n)
		}
	})
}

func TestShutdownWhileACallbackRuns(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const members = 5
		w.cfg.Loops = 1
		r := newRoom(t, w, &websocket.Server{}, members, 0)
		busy, runs := make(chan struct{}), make(chan struct{})
		_ = r.members[0].conn.Transport().Execute(func(sluice.Conn) {
			close(runs)
			<-busy
		})
		<-runs
		ended := make(chan error, 1)
		go func() { ended <- r.Shutdown(within(t, bound)) }()
		select {
		case err := <-ended:
			t.Errorf("Shutdown does not wait: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
		close(busy)
		if err := receive(t, "Shutdown", ended); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		for _, m := range r.members {
			m.goingAway(t)
		}
	})
}
