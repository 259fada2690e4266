package httpd_test

import (
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/httpd"
)

func TestAClientThatEndsItsDirectionGetsAllAnswers(t *testing.T) {
	requests, bodies := conversation()
	requests = strings.Replace(requests, "Connection: close\r\n", "", 1)
	orders := map[string]string{
		"a LoopHandler's": ask("/loop/x"), "a Handler's": ask("/h/x"),
		"a Handler's before a LoopHandler's": ask("/h/x") + ask("/loop/x"), "a LoopHandler's before a Handler's": ask("/loop/x") + ask("/h/x"),
		"half a request": ask("/h/x") + get[:20], "half a request behind a LoopHandler's": ask("/h/x") + ask("/loop/x") + get[:20],
	}
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, conversing())
		c := st.dial()
		c.send(requests)
		c.closeWrite()
		c.hold(bodies)
		for range 20 { // the order of events differs
			for name, requests := range orders {
				c := st.dial()
				c.send(requests)
				c.closeWrite()
				for range strings.Count(requests, "/x ") {
					if a := c.answer(); a.StatusCode != 200 || a.err != nil {
						t.Errorf("%s: %d %v", name, a.StatusCode, a.err)
					}
				}
				c.ended()
				_ = c.Close()
			}
		}
	})
}

func TestAClientThatGoesAwayBetweenPipelinedRequestsLeavesNothing(t *testing.T) {
	requests, _ := conversation()
	ends := []func(*client){(*client).reset, func(c *client) { _ = c.Close() }}
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, conversing())
		for i := 0; i < len(requests); i += 13 {
			for _, end := range ends {
				c := st.dial()
				c.send(requests[:i])
				if i%2 == 0 {
					runtime.Gosched()
				}
				end(c)
			}
		}
		eventually(t, "the connections to end", func() bool { return st.Stats().Conns == 0 })
		st.dial().exchange(ask("/h/1"), "handler:GET:/h/1:")
	})
}

func TestWhatAClientSendsWhileItsRequestIsHandledIsBounded(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step := make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) { <-step })
		c := st.dial()
		const n = 2_000_000 // more than the sockets hold, as large as they may get
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, strings.Repeat(get, n))
			sent <- err
		}()
		var most int64
		for range 50 {
			most = max(most, st.liveBytes())
			pause()
		}
		if most > 1<<20 {
			t.Errorf("the server held %d bytes", most)
		}
		if st.bytesIn() == n*int64(len(get)) {
			t.Error("the client was not held back")
		}
		c.reset()
		close(step)
		if err := <-sent; err == nil {
			t.Error("all was sent")
		}
	})
}

func TestAStaleResponseWriterReachesNobody(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		stale := make(chan http.ResponseWriter, 1)
		use := func() {
			w := <-stale
			rc := http.NewResponseController(w)
			for _, n := range []int{1, 3000, 100_000} {
				_, _ = w.Write(make([]byte, n))
				_, _ = io.WriteString(w, strings.Repeat("s", n))
				_ = rc.Flush()
			}
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
			w.Header().Set("X-Stale", "1")
		}
		long := strings.Repeat("long", 5000)
		st := w.serve(t, &httpd.Server{Handler: paths{
			"/": func(w http.ResponseWriter, r *http.Request) {
				stale <- w
				_, _ = io.WriteString(w, "mine")
			},
			"/long": func(w http.ResponseWriter, r *http.Request) {
				stale <- w
				_, _ = io.WriteString(w, long)
			},
			"/use": func(w http.ResponseWriter, r *http.Request) {
				use() // of another request, maybe of this connection's last
				_, _ = io.WriteString(w, "used")
			},
		}})
		a, b := st.dial(), st.dial()
		atRest := func() { // an answer is there before its handler has quite returned
			eventually(t, "the handlers to return", func() bool { return st.eng.Stats().Jobs.Running == 0 })
		}
		for _, path := range []string{"/", "/long"} {
			for range 3 {
				a.send(ask(path))
				first := a.answer().body
				atRest()
				if first != "mine" && first != long {
					t.Fatalf("%s: %.100q", path, first)
				}
				b.exchange(ask("/use"), "used")
				a.exchange(ask(path), first)
				atRest()
				a.exchange(ask("/use"), "used")
			}
		}
		a.send(ask("/"))
		a.expect(200, "mine")
		atRest()
		use()
		a.silent(quiet)
		b.silent(quiet)
	})
}

func TestAHandlerThatExitsItsGoroutineCostsItsConnection(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{Handler: paths{"/": text("x"), "/exit": func(http.ResponseWriter, *http.Request) { runtime.Goexit() }}})
		other := st.dial()
		other.exchange(get, "x")
		c := st.dial()
		c.send(ask("/exit"))
		c.broken()
		other.exchange(get, "x")
	})
}
