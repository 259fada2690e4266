package httpd_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

// soon is a time limit that passes while a test waits.
const soon = 50 * time.Millisecond

// others keeps a connection busy until the test's other one has ended, and
// checks that time limits leave it alone.
func (st *site) others(slow func(c *client)) {
	st.t.Helper()
	other := st.dial()
	stop, stopped := make(chan struct{}), make(chan struct{})
	served := make(chan struct{}, 1) // for the first time: it is counted from then on
	go func() {
		defer close(stopped)
		for {
			if _, err := io.WriteString(other, get); err != nil {
				st.t.Errorf("another connection: %v", err)
				return
			}
			resp, err := http.ReadResponse(other.r, nil)
			if err != nil {
				st.t.Errorf("another connection: %v", err)
				return
			}
			if _, err := io.Copy(io.Discard, resp.Body); err != nil {
				st.t.Errorf("another connection: %v", err)
			}
			select {
			case served <- struct{}{}:
			default:
			}
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
		}
	}()
	receive(st.t, "the other connection's answer", served)
	c := st.dial()
	slow(c)
	close(stop)
	<-stopped
	_, _ = c.Close(), other.Close()
}

// trickle sends bytes one at a time until the connection breaks.
func (c *client) trickle(s string) {
	for i := range len(s) {
		if _, err := io.WriteString(c, s[i:i+1]); err != nil {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestASlowHeadEndsByReadHeaderTimeout(t *testing.T) {
	slow := "GET / HTTP/1.1\r\nHost: h\r\nX: " + strings.Repeat("y", 100_000)
	eachWorld(t, func(t *testing.T, w *world) {
		for _, s := range []*httpd.Server{{ReadHeaderTimeout: soon}, {ReadTimeout: soon}} {
			s.IdleTimeout = time.Hour
			s.Handler = text("x")
			st := w.serve(t, s)
			st.others(func(c *client) { // nothing at all
				c.ended()
			})
			st.others(func(c *client) {
				go c.trickle(slow)
				c.broken()
			})
			st.others(func(c *client) { // the second request
				c.exchange(get, "x")
				go c.trickle(slow)
				c.broken()
			})
		}
	})
}

func TestHeadsInTimeAreNotEndedByReadHeaderTimeout(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{ReadHeaderTimeout: soon, Handler: http.HandlerFunc(readAll)})
		c := st.dial()
		c.send(get[:10])
		c.send(get[10:])
		c.expect(200, "")
		time.Sleep(2 * soon) // idle
		c.exchange(get, "")
		c.send(post("/", "body")[:49]) // a slow body
		time.Sleep(2 * soon)
		c.send(post("/", "body")[49:])
		c.expect(200, "body")
	})
}

func TestASlowBodyEndsByReadTimeout(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		got := make(chan error, 1)
		st := w.serve(t, &httpd.Server{ReadTimeout: soon, IdleTimeout: time.Hour, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == "POST" {
				_, err := io.Copy(io.Discard, r.Body)
				got <- err
			}
		})})
		body := strings.Repeat("y", 100_000)
		st.others(func(c *client) { // its handler does not begin
			go c.trickle("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n" + body)
			c.broken()
		})
		if len(got) > 0 {
			t.Error("the handler began")
		}
		for _, head := range []string{
			"Content-Length: 1000000\r\n\r\n" + body,
			"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n9000000\r\n",
		} {
			st.others(func(c *client) {
				c.send("POST / HTTP/1.1\r\nHost: h\r\n" + head)
				go c.trickle(body)
				if err := receive(t, "reading to fail", got); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("reading gave %v", err)
				}
				c.broken()
			})
		}
	})
}

func TestASlowReaderEndsByWriteTimeout(t *testing.T) {
	name := patternFile(t, 50_000_000)
	eachWorld(t, func(t *testing.T, w *world) {
		got, begun := make(chan error, 1), make(chan struct{}, 1)
		st := w.serve(t, &httpd.Server{WriteTimeout: 2 * soon, Handler: paths{
			"/": text("x"),
			"/file": func(w http.ResponseWriter, r *http.Request) {
				begun <- struct{}{}
				http.ServeFile(w, r, name)
			},
			"/stream": func(w http.ResponseWriter, r *http.Request) {
				p := make([]byte, 100_000)
				for {
					if _, err := w.Write(p); err != nil {
						got <- err
						return
					}
				}
			},
		}})
		for _, path := range []string{"/stream", "/file"} {
			st.others(func(c *client) {
				c.send(ask(path))
				if path == "/stream" {
					if err := receive(t, "Write to fail", got); !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("Write: %v", err)
					}
				} else {
					receive(t, "the handler", begun)
				}
				eventually(t, "the connection to end", func() bool { return st.Stats().Conns == 1 })
				c.broken()
			})
		}
	})
}

func TestAHandlerThatIsLateFindsTheWriteTimeoutPassed(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{WriteTimeout: soon, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/late" {
				time.Sleep(2 * soon)
			}
			_, _ = io.WriteString(w, "x")
		})})
		c := st.dial()
		c.exchange(get, "x")
		time.Sleep(2 * soon) // the limit is each answer's own
		c.exchange(get, "x")
		time.Sleep(2 * soon)
		c.refused(400, "nonsense\r\n\r\n")
		c = st.dial()
		c.send(ask("/late"))
		c.ended()
	})
}

func TestAnIdleConnectionEndsByIdleTimeout(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, s := range []*httpd.Server{{IdleTimeout: soon}, {ReadTimeout: soon}} {
			s.Handler = paths{"/": text("x"), "/slow": func(w http.ResponseWriter, r *http.Request) {
				time.Sleep(2 * soon) // a handler at work is not idle
				fmt.Fprint(w, r.Context().Err())
			}}
			s.LoopHandler = func(x *httpd.RequestCtx) bool { return string(x.Path()) == "/loop" }
			st := w.serve(t, s)
			st.others(func(c *client) {
				c.exchange(get, "x")
				c.ended()
			})
			st.others(func(c *client) {
				c.exchange(ask("/loop"), "")
				c.ended()
			})
			st.others(func(c *client) {
				c.exchange(ask("/slow"), "<nil>")
				c.ended()
			})
		}
	})
}
