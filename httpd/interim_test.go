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

// expecting is the head of a request whose body waits to be asked for.
func expecting(path string, length int) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n", path, length)
}

// quiet is for how long nothing must come. A slow machine can hide a fault
// here, never make one up.
const quiet = 20 * time.Millisecond

func TestTheFirstReadOfABodyAsksForIt(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step := make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			<-step
			readAll(w, r)
		})
		c := st.dial()
		for _, request := range []string{
			expecting("/", 4),
			"POST / HTTP/1.1\r\nHost: h\r\nexpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n",
		} {
			c.send(request)
			c.silent(quiet)
			step <- struct{}{}
			if resp := c.head("POST"); resp.StatusCode != http.StatusContinue || len(resp.Header) != 0 {
				t.Fatalf("got %v", resp)
			}
			if body := "body"; strings.Contains(request, "chunked") {
				body = inChunks(body) + "\r\n"
				c.send(body)
			} else {
				c.send(body)
			}
			if a := c.expect(200, "body"); a.Close {
				t.Error("the connection ends")
			}
		}
	})
}

func TestABodyThatCameUnaskedIsNotAskedFor(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, readAll)
		c := st.dial()
		c.exchange(expecting("/", 4)+"body", "body")
		c.exchange("GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n", "") // no body at all
		c.send("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		c.silent(quiet) // HTTP/1.0 does not know it
		c.send("body")
		c.expect(200, "body")
		c.ended()
	})
}

func TestAnAnswerInsteadOfAskingForTheBodyEndsTheConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no", http.StatusForbidden)
			if r.URL.Path == "/read" { // too late to ask
				if n, err := r.Body.Read(make([]byte, 10)); n > 0 || err == nil {
					t.Errorf("reading after the answer: %d, %v", n, err)
				}
			}
		})
		for _, path := range []string{"/", "/read"} {
			c := st.dial()
			c.send(expecting(path, 4))
			if path == "/read" {
				time.Sleep(quiet)
				c.closeWrite()
			}
			if a := c.expect(http.StatusForbidden, "no\n"); !a.Close {
				t.Error("the answer does not announce the end")
			}
			c.ended()
		}
	})
}

func TestAnExpectationThatCannotBeMetIsRefused(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the handler was called") })
		st.dial().refused(http.StatusExpectationFailed, "POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\nContent-Length: 4\r\n\r\nbody")
	})
}

func TestInterimResponsesAreSentAtOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step := make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.Header().Set("Content-Length", "4")
			w.WriteHeader(http.StatusEarlyHints)
			<-step
			w.Header().Del("Link")
			w.WriteHeader(http.StatusProcessing)
			<-step
			w.Header().Set("X-Final", "1")
			_, _ = io.WriteString(w, "body")
		})
		c := st.dial()
		c.send(get)
		if resp := c.head("GET"); resp.StatusCode != 103 || resp.Header.Get("Link") == "" || resp.Header["Content-Length"] != nil {
			t.Errorf("got %v", resp)
		}
		step <- struct{}{}
		if resp := c.head("GET"); resp.StatusCode != 102 || resp.Header["Link"] != nil {
			t.Errorf("got %v", resp)
		}
		step <- struct{}{}
		if a := c.expect(200, "body"); a.Header.Get("X-Final") != "1" || a.Header["Link"] != nil {
			t.Errorf("got %v", a.Header)
		}
		c.send("GET / HTTP/1.0\r\n\r\n") // does not know of them
		step <- struct{}{}
		step <- struct{}{}
		c.expect(200, "body")
	})
}

func TestAHandlerMayAskForTheBodyItself(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusContinue)
			readAll(w, r)
		})
		c := st.dial()
		for range 2 {
			c.send(expecting("/", 4))
			if resp := c.head("POST"); resp.StatusCode != http.StatusContinue {
				t.Fatalf("got %v", resp)
			}
			c.send("body")
			if a := c.expect(200, "body"); a.Close {
				t.Error("the connection ends")
			}
		}
	})
}

func TestEarlyHintsLeaveTheBodyToBeAskedFor(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusEarlyHints)
			readAll(w, r)
		})})
		c := st.dial()
		c.send(expecting("/", 4))
		for _, want := range []int{103, 100} {
			if resp := c.head("POST"); resp.StatusCode != want {
				t.Fatalf("got %v, want %d", resp, want)
			}
		}
		c.send("body")
		c.expect(200, "body")
	})
}

func TestAnExpectationIsRefusedBeforeTheBody(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, text("x"))
		st.dial().refused(http.StatusExpectationFailed, "POST / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\nContent-Length: 4\r\n\r\n")
	})
}
