package httpd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
)

func TestAnAnswerThatCannotBeQueuedIsNotReplacedByTheNext(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg = sluice.Config{HighWater: 64 << 10, WriteLimit: 1 << 20}
		st := w.serve(t, looping(func(x *httpd.RequestCtx) {
			if string(x.Path()) == "/big" {
				_, _ = x.Write(make([]byte, 2<<20))
			} else {
				_, _ = x.WriteString("small")
			}
		}))
		c := st.dial()
		c.send(ask("/big"), get)
		if b, _ := io.ReadAll(c.r); len(b) > 0 {
			t.Errorf("the client got %.100q", b)
		}
		c = st.dial()
		c.send(get, ask("/big"), get) // what was answered before goes out if it can
		if b, _ := io.ReadAll(c.r); bytes.Count(b, []byte("HTTP/1.1")) > 1 {
			t.Errorf("the client got %.300q", b)
		}
	})
}

func TestALoopHandlerCannotBreakTheHead(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, looping(func(x *httpd.RequestCtx) {
			x.SetContentType("text/html")
			x.SetContentType("text/plain\r\nX-Evil: 1\r\n\r\nsplit")
			x.Set("transfer-encoding", "chunked")
			x.Set("Content-Length", "3")
			x.Set("CONNECTION", "close")
			x.Set("date", "today")
			x.Set("Content-type", "x/y")
			_, _ = x.WriteString("hello")
			if status, err := strconv.Atoi(string(x.Query())); err == nil {
				x.SetStatus(status)
			}
		}))
		c := st.dial()
		a := c.exchange(get, "hello")
		if h := a.Header; len(h) != 3 || fmt.Sprint(h["Content-Type"], h["Content-Length"], len(h["Date"])) != "[text/html] [5] 1" {
			t.Errorf("the head is %v", h)
		}
		_ = c.Close()
		for _, status := range []int{0, 42, 101, 199, 1000, 12345, -1} {
			c := st.dial()
			c.send(ask(fmt.Sprint("/?", status)))
			if b, _ := io.ReadAll(c.r); len(b) > 0 {
				t.Errorf("%d: the client got %q", status, b)
			}
			_ = c.Close()
			st.log.expect(t, fmt.Sprintf("invalid status %d\n", status))
		}
	})
}

func TestTrailersOfAnEmptyBodyAreThere(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			b, err := io.ReadAll(r.Body)
			fmt.Fprint(w, len(b), err, r.Trailer)
		})
		c := st.dial()
		c.exchange("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n0\r\nX-T: 1\r\n\r\n", "0 <nil> map[X-T:[1]]")
	})
}

func TestAFieldNamedLikeAMethodHasItsCanonicalName(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Method, r.Header) })
		st.dial().exchange("TRACE / HTTP/1.1\r\nHost: h\r\nTRACE: 1\r\nget: 2\r\nHOST-X: 3\r\nDELETE: 4\r\n\r\n", "TRACEmap[Delete:[4] Get:[2] Host-X:[3] Trace:[1]]")
	})
}

func TestTrailersThatAreNotAllowedAreLeftOutAlone(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-T, Content-Length, X-U, a b")
			w.Header().Set("Connection", "close, caf\xe9")
			_, _ = io.WriteString(w, "ok")
			w.Header().Set("X-T", "caf\xe9")
			w.Header().Set("Content-Length", "7")
			w.Header().Set("X-U", "1\r\n2")
		})
		c := st.dial()
		c.send(get)
		b, err := io.ReadAll(c.r)
		head, body, _ := strings.Cut(string(b), "\r\n\r\n")
		if body != "2\r\nok\r\n0\r\nX-T: caf\xe9\r\nX-U: 1  2\r\n\r\n" || err != nil {
			t.Errorf("the body is %q, %v", body, err)
		}
		if !strings.Contains(head, "\r\nTrailer: X-T, X-U\r\n") || !strings.Contains(head, "\r\nConnection: close, caf\xe9\r\n") {
			t.Errorf("the head is %q", head)
		}
	})
}

// missed writes parts of an answer behind a deadline that has passed, and sets
// the deadline right again.
func missed(announce string, late func(w http.ResponseWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		if announce != "" {
			w.Header().Set("Content-Length", announce)
			w.WriteHeader(http.StatusOK)
			_ = rc.Flush()
		}
		_ = rc.SetWriteDeadline(time.Now().Add(-time.Second))
		late(w)
		_ = rc.Flush()
		_ = rc.SetWriteDeadline(time.Time{})
		_, _ = io.WriteString(w, "tail")
		_ = rc.Flush()
	}
}

func TestAnAnswerThatFailedInPartDoesNotPassForWhole(t *testing.T) {
	write := func(n int) func(w http.ResponseWriter) {
		return func(w http.ResponseWriter) { _, _ = w.Write(make([]byte, n)) }
	}
	answers := map[string]http.HandlerFunc{
		"all of it":         missed("", write(2000)),
		"a piece in chunks": func(w http.ResponseWriter, r *http.Request) { w.(http.Flusher).Flush(); missed("", write(9992))(w, r) },
		"a piece of length": missed("9996", write(9992)),
		"an empty answer":   missed("", func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }),
	}
	eachDriver(t, func(t *testing.T, w *world) {
		for name, answer := range answers {
			st := w.serve(t, &httpd.Server{Handler: paths{"/": answer, "/next": text("next")}})
			c := st.dial()
			c.send(get, ask("/next"))
			b, _ := io.ReadAll(c.r)
			if bytes.Contains(b, []byte("next")) || bytes.Contains(b, []byte("tail")) || bytes.Contains(b, []byte("0\r\n\r\n")) {
				t.Errorf("%s: the client got %.300q", name, b)
			}
		}
	})
}

func TestAnEngineThatDoesNotSuitIsRefused(t *testing.T) {
	for want, cfg := range map[string]sluice.Config{
		"WriteLimit":  {HighWater: 1 << 20, WriteLimit: 1 << 20},
		"ReadLimit":   {ReadLimit: 1 << 20},
		"MaxHandlers": {},
	} {
		eng, err := sluice.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := &httpd.Server{Engine: eng}
		if want == "MaxHandlers" {
			s.MaxHandlers = 10
		}
		if _, err := s.Listen("tcp", "127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Listen: %v does not name %s", err, want)
		}
		if err := errors.Join(s.Close(), eng.Close()); err != nil {
			t.Error(err)
		}
	}
}

func TestAllOfALongPipelineIsAnsweredThoughTheFirstRequestTakesLong(t *testing.T) {
	const n = 10_000
	eachWorld(t, func(t *testing.T, w *world) {
		step := make(chan struct{})
		w.cfg.ReadLimit = 320 << 10
		st := w.serve(t, &httpd.Server{MaxHeaderBytes: 64 << 10, Handler: paths{
			"/": text("x"),
			"/wait": func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				<-step
			},
		}})
		for _, first := range []string{ask("/wait"), post("/wait", strings.Repeat("x", 10<<10)), post("/wait", strings.Repeat("x", 128<<10))} {
			c := st.dial()
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(c, first+strings.Repeat(get, n))
				sent <- err
			}()
			time.Sleep(quiet)
			step <- struct{}{}
			c.expect(200, "")
			for range n {
				c.expect(200, "x")
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
			_ = c.Close()
		}
	})
}

func TestContinueDoesNotComeInTheMiddleOfAnAnswer(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex()
			var reading sync.WaitGroup
			reading.Go(func() { _, _ = r.Body.Read(make([]byte, 10)) })
			_, _ = io.WriteString(w, "hello")
			w.(http.Flusher).Flush()
			reading.Wait()
		})
		for range 200 {
			c := st.dial()
			c.send(expecting("/", 5))
			resp := c.head("POST")
			c.send("12345") // asked for or not
			if resp.StatusCode == http.StatusContinue {
				c.expect(200, "hello")
			} else if b, err := io.ReadAll(resp.Body); string(b) != "hello" || err != nil {
				t.Fatalf("the body is %q, %v", b, err)
			}
			_ = c.Close()
		}
	})
}

func TestAPanicOnTheLoopIsLoggedAndLeavesEarlierAnswers(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var own logText
		s := looping(func(x *httpd.RequestCtx) {
			if string(x.Path()) == "/panic" {
				panic("on the loop")
			}
			_, _ = x.WriteString("fine")
		})
		s.ErrorLog = log.New(&own, "mine: ", 0)
		st := w.serve(t, s)
		c := st.dial()
		c.send(get, get, ask("/panic"), get)
		c.expect(200, "fine")
		c.expect(200, "fine")
		c.ended()
		own.expect(t, "mine: httpd: panic serving "+c.LocalAddr().String()+": on the loop")
		own.expect(t, "regression2_test.go")
	})
}

// The requests lie in the server, whose answers the client does not take.
func TestShutdownFindsRequestsBehindALoopHandlersAnswers(t *testing.T) {
	body := pattern(30_000)
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.HighWater, w.cfg.LowWater = 256<<10, 64<<10
		step := make(chan struct{})
		st := w.serve(t, &httpd.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-step }),
			LoopHandler: func(x *httpd.RequestCtx) bool {
				_, _ = x.Write(body)
				return string(x.Path()) != "/wait"
			},
		})
		c := st.narrow()
		const n = 5000 // more than is read ahead
		go func() { _, _ = io.WriteString(c, ask("/wait")+strings.Repeat(get, n)) }()
		st.arrived(64 << 10)
		close(step)
		eventually(t, "the answers to wait", func() bool { return st.Stats().Requests > 100 })
		time.Sleep(quiet)
		if st.Stats().Requests > n {
			t.Fatal("the client has taken all; the test shows nothing")
		}
		down := st.shutdown()
		c.expect(200, "")
		for {
			a := c.expect(200, string(body))
			if a.Close { // the first of those requests
				break
			}
		}
		c.broken()
		_ = c.Close()
		if err := receive(t, "Shutdown", down); err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownEndsWhatBecomesIdleMeanwhile(t *testing.T) {
	const size = 12 << 20 // more than the kernel takes
	eachWorld(t, func(t *testing.T, w *world) {
		w.cfg.HighWater, w.cfg.LowWater = 256<<10, 64<<10
		step := make(chan struct{})
		st := w.serve(t, &httpd.Server{
			LoopHandler: func(x *httpd.RequestCtx) bool {
				_, _ = x.Write(make([]byte, size))
				return string(x.Path()) == "/loop"
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				<-step
			}),
		})
		slow := st.narrow() // its LoopHandler waits for it
		slow.send(ask("/loop"))
		resp := slow.head("GET")
		c := st.dial()
		c.send(get)
		promised := c.head("GET") // to keep the connection
		before := st.bytesIn()
		c.send("\r\n") // not the beginning of a request
		st.arrived(int(before) + 2)
		down := st.shutdown()
		close(step)
		if b, err := io.ReadAll(promised.Body); string(b) != "x" || err != nil {
			t.Errorf("got %q, %v", b, err)
		}
		c.ended()
		if n, err := io.Copy(io.Discard, resp.Body); n != size || err != nil {
			t.Errorf("%d of %d bytes came, %v", n, size, err)
		}
		slow.ended()
		_, _ = c.Close(), slow.Close()
		if err := receive(t, "Shutdown", down); err != nil {
			t.Error(err)
		}
	})
}

func TestARefusalIsSentThoughTheDeadlineBeforeHasPassed(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{WriteTimeout: soon, Handler: text("x")})
		for status, request := range map[int]string{
			http.StatusExpectationFailed: "POST / HTTP/1.1\r\nHost: h\r\nExpect: more\r\nContent-Length: 3\r\n\r\n",
			http.StatusBadRequest:        "nonsense\r\n\r\n",
		} {
			c := st.dial()
			c.exchange(get, "x")
			time.Sleep(2 * soon)
			c.refused(status, request)
		}
	})
}
