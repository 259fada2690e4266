package httpd_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

func TestMessagesThatAreNotWellFormedOrTooLargeAreRefused(t *testing.T) {
	tests := []struct {
		name    string
		status  int
		request string
	}{
		{"a long target", 414, "GET /" + strings.Repeat("x", 5000) + " HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"a target without end", 414, "GET /" + strings.Repeat("x", 6000)},
		{"a large head", 431, "GET / HTTP/1.1\r\nHost: h\r\n" + strings.Repeat("X: "+strings.Repeat("y", 50)+"\r\n", 100) + "\r\n"},
		{"a head without end", 431, "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("y", 6000)},
		{"a large body", 413, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10001\r\n\r\n"},
		{"two lengths", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"},
		{"a length and chunks", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"a signed length", 400, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\nx"},
		{"an unknown coding", 501, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
		{"no host", 400, "GET / HTTP/1.1\r\n\r\n"},
		{"two hosts", 400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
		{"HTTP/2.0", 505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"},
		{"a bare line feed", 400, "GET / HTTP/1.1\nHost: h\n\n"},
		{"a space before a colon", 400, "GET / HTTP/1.1\r\nHost : h\r\n\r\n"},
		{"a folded line", 400, "GET / HTTP/1.1\r\nHost: h\r\nX: a\r\n b\r\n\r\n"},
		{"no method", 400, " / HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"a bad escape", 400, "GET /%zz HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"TLS", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"},
	}
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{
			MaxHeaderBytes: 4096, MaxBodyBytes: 10_000,
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/fine" {
					t.Errorf("the handler was given %s %s", r.Method, r.RequestURI)
				}
			}),
			LoopHandler: func(x *httpd.RequestCtx) bool { return string(x.Path()) == "/loop" },
		})
		for _, tt := range tests {
			for _, before := range []string{"", ask("/fine"), ask("/loop")} {
				c := st.dial()
				c.send(before)
				if before != "" {
					c.expect(200, "")
				}
				c.send(tt.request)
				a := c.answer()
				if a.StatusCode != tt.status || !a.Close || !strings.HasPrefix(a.body, fmt.Sprint(tt.status)) {
					t.Errorf("%s behind %q: %d %q, Close %v; want %d", tt.name, before, a.StatusCode, a.body, a.Close, tt.status)
				}
				c.ended()
				_ = c.Close()
			}
		}
		st.dial().exchange(ask("/fine"), "")
	})
}

func TestTooManyFieldsAreRefused(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, text("x"))
		c := st.dial()
		c.exchange("GET / HTTP/1.1\r\nHost: h\r\n"+strings.Repeat("X: y\r\n", 900)+"\r\n", "x")
		c.refused(431, "GET / HTTP/1.1\r\nHost: h\r\n"+strings.Repeat("X: y\r\n", 1000)+"\r\n")
		c = st.dial()
		c.send(strings.TrimSuffix(chunked("/", "x"), "\r\n") + strings.Repeat("X: y\r\n", 20_000) + "\r\n") // trailers
		c.broken()
	})
}

func TestTheDefaultHeadLimitIsNetHTTPs(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.ReadLimit = 4 << 20
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, len(r.Header.Get("X"))) })
		c := st.dial()
		c.exchange("GET / HTTP/1.1\r\nHost: h\r\nX: "+strings.Repeat("y", 1_000_000)+"\r\n\r\n", "1000000")
		c.send("GET / HTTP/1.1\r\nHost: h\r\nX: ", strings.Repeat("y", 1<<20))
		if a := c.answer(); a.StatusCode != 431 {
			t.Errorf("status %d", a.StatusCode)
		}
		c.ended()
	})
}

func TestMaxHandlersBoundsWhatRunsAndTheRestWaits(t *testing.T) {
	const most, all = 3, 10
	test := func(t *testing.T, w *world, s *httpd.Server) {
		step, begun := make(chan struct{}), make(chan struct{}, all)
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			<-step
			_, _ = io.WriteString(w, r.URL.Path)
		})
		st := w.serve(t, s)
		var clients []*client
		for i := range all {
			c := st.dial()
			c.send(ask(fmt.Sprint("/", i)))
			clients = append(clients, c)
		}
		for range most {
			receive(t, "a handler", begun)
		}
		eventually(t, "the others to wait", func() bool {
			jobs := st.eng.Stats().Jobs
			return jobs.Running == most && jobs.Waiting == all-most
		})
		if s := st.Stats(); s.Handlers != most || s.Waiting != all-most {
			t.Errorf("%+v", s)
		}
		st.log.expect(t, "jobs wait")
		time.Sleep(quiet)
		if len(begun) > 0 {
			t.Errorf("%d more handlers run", len(begun))
		}
		close(step)
		for i, c := range clients {
			c.expect(200, fmt.Sprint("/", i))
		}
	}
	for _, w := range []*world{{driver: "portable"}, {driver: "auto"}} {
		t.Run(w.driver, func(t *testing.T) {
			w.cfg.Workers = most
			test(t, w, &httpd.Server{})
		})
	}
	t.Run("own", func(t *testing.T) { test(t, &world{}, &httpd.Server{MaxHandlers: most}) })
}

func TestSettingsThatMakeNoSenseAreErrors(t *testing.T) {
	for _, s := range []*httpd.Server{{MaxHeaderBytes: -1}, {MaxBodyBytes: -1}, {MaxHandlers: -1}} {
		if _, err := s.Listen("tcp", "127.0.0.1:0"); err == nil {
			t.Errorf("%+v is accepted", s)
			_ = s.Close()
		}
	}
}
