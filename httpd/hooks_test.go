package httpd_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-go/sluice/httpd"
)

// states records what ConnState is told, by the client's address.
type states struct {
	mu   sync.Mutex
	seen map[string][]string
	of   map[string]net.Conn
	bad  []string
}

func (s *states) hook(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil {
		s.seen, s.of = map[string][]string{}, map[string]net.Conn{}
	}
	addr := c.RemoteAddr().String()
	if old := s.of[addr]; old != nil && old != c {
		s.bad = append(s.bad, fmt.Sprintf("%s: another net.Conn at %v", addr, state))
	}
	s.of[addr] = c
	s.seen[addr] = append(s.seen[addr], state.String())
}

// expect waits until a client's states are those wanted.
func (s *states) expect(t *testing.T, c *client, want string) {
	t.Helper()
	var got string
	for range 10_000 {
		s.mu.Lock()
		got = strings.Join(s.seen[c.LocalAddr().String()], " ")
		s.mu.Unlock()
		if got == want || len(got) > len(want) {
			break
		}
		pause()
	}
	if got != want {
		t.Errorf("the states were %q, want %q", got, want)
	}
	for _, bad := range s.bad {
		t.Error(bad)
	}
}

func TestConnStateTellsAConnectionsLife(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var seen states
		answers := paths{
			"/": text("x"), "/panic": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			"/hijack": func(w http.ResponseWriter, r *http.Request) {
				c, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					_ = c.Close()
				}
			},
		}
		st := w.serve(t, &httpd.Server{ConnState: seen.hook, Handler: answers, LoopHandler: func(x *httpd.RequestCtx) bool {
			return string(x.Path()) == "/loop"
		}})
		c := st.dial()
		seen.expect(t, c, "new")
		_ = c.Close()
		seen.expect(t, c, "new closed")

		c = st.dial()
		c.exchange(get, "x")
		seen.expect(t, c, "new active idle")
		c.exchange(ask("/loop"), "")
		seen.expect(t, c, "new active idle active idle")
		c.exchange(getClose, "x")
		c.ended()
		_ = c.Close()
		seen.expect(t, c, "new active idle active idle active closed")

		c = st.dial()
		c.send(get, get, get)
		for range 3 {
			c.expect(200, "x")
		}
		c.closeWrite()
		c.ended()
		_ = c.Close()
		seen.expect(t, c, "new active idle active idle active idle closed")

		c = st.dial()
		c.refused(400, "GET  / HTTP/1.1\r\n\r\n")
		_ = c.Close()
		seen.expect(t, c, "new active closed")

		c = st.dial()
		c.send(ask("/panic"))
		c.broken()
		_ = c.Close()
		seen.expect(t, c, "new active closed")

		c = st.dial()
		c.send(ask("/hijack"))
		c.ended()
		_ = c.Close()
		eventually(t, "the connections to end", func() bool { return st.Stats().Conns == 0 })
		seen.expect(t, c, "new active hijacked")
	})
}

func TestAConnectionCanBeClosedByItsHook(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		conns := make(chan net.Conn, 10)
		st := w.serve(t, &httpd.Server{Handler: text("x"), ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateIdle {
				conns <- c
			}
		}})
		c := st.dial()
		c.exchange(get, "x")
		if err := receive(t, "StateIdle", conns).Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		c.ended()
	})
}

func TestStatsCountRequestsAndConnections(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, conversing())
		a, b := st.dial(), st.dial()
		a.exchange(ask("/h/1"), "handler:GET:/h/1:")
		a.exchange(ask("/loop/2"), "loop:GET:/loop/2:")
		b.exchange(ask("/loop/3"), "loop:GET:/loop/3:")
		if s := st.Stats(); s != (httpd.Stats{Conns: 2, Requests: 3}) {
			t.Errorf("Stats are %+v", s)
		}
		b.refused(400, "nonsense\r\n\r\n")
		_ = b.Close()
		eventually(t, "the connection to end", func() bool { return st.Stats() == httpd.Stats{Conns: 1, Requests: 3, Refused: 1} })
	})
}
