package httpd_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

func TestBodiesArriveWhole(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		type result struct {
			n      int
			same   bool
			err    error
			length int64
		}
		got := make(chan result, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			n, same, err := samePattern(r.Body)
			got <- result{n, same, err, r.ContentLength}
		})
		c := st.dial()
		for _, n := range []int{0, 1, 4095, 4096, 65535, 65536, 65537, 131072, 300_000, 2_000_000} {
			body := string(pattern(n))
			c.exchange(post("/", body), "")
			if r := <-got; r != (result{n, true, nil, int64(n)}) {
				t.Errorf("%d bytes: %+v", n, r)
			}
			var chunks []string
			for size := 1; len(body) > 0; size = size*3 + 1 {
				size = min(size, len(body))
				chunks = append(chunks, body[:size])
				body = body[size:]
			}
			c.exchange(chunked("/", chunks...), "")
			if r := <-got; r != (result{n, true, nil, -1}) {
				t.Errorf("%d bytes in chunks: %+v", n, r)
			}
		}
	})
}

// upload sends n bytes of body and counts what was sent.
func (c *client) upload(n int, sent *atomic.Int64, chunks bool) error {
	p := make([]byte, 32<<10)
	src := patterned{}
	for n > 0 {
		p := p[:min(len(p), n)]
		_, _ = src.Read(p)
		out := p
		if chunks {
			out = fmt.Appendf(nil, "%x\r\n%s\r\n", len(p), p)
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
		n -= len(p)
		sent.Add(int64(len(p)))
	}
	if chunks {
		_, err := io.WriteString(c, "0\r\n\r\n")
		return err
	}
	return nil
}

func TestAnUploadToASlowHandlerIsHeldBackAndNeverHeldInMemory(t *testing.T) {
	const size = 64 << 20
	test := func(t *testing.T, w *world, chunks bool) {
		var read atomic.Int64
		step := make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			p := make([]byte, 10_000)
			ref, want := patterned{}, make([]byte, 10_000)
			for {
				if n := read.Load(); n < 1<<20 {
					<-step
				}
				n, err := r.Body.Read(p)
				_, _ = ref.Read(want[:n])
				if string(p[:n]) != string(want[:n]) {
					fmt.Fprint(w, "different bytes")
					return
				}
				if read.Add(int64(n)); err != nil {
					fmt.Fprint(w, read.Load(), err)
					return
				}
			}
		})
		c := st.dial()
		if chunks {
			c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
		} else {
			c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size))
		}
		var sent, most atomic.Int64
		done := make(chan error, 1)
		go func() { done <- c.upload(size, &sent, chunks) }()
		watch := func() {
			if n := st.liveBytes(); n > most.Load() {
				most.Store(n)
			}
		}
		stuck := settle(watch, &sent)
		if stuck >= size {
			t.Error("the client was not held back")
		}
		for range 50 {
			step <- struct{}{}
			watch()
		}
		close(step)
		for len(done) == 0 {
			watch()
			time.Sleep(time.Millisecond)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		c.expect(200, fmt.Sprint(size, io.EOF))
		if n := most.Load(); n > 800<<10 {
			t.Errorf("the server held %d bytes", n)
		}
	}
	eachDriver(t, func(t *testing.T, w *world) {
		t.Run("length", func(t *testing.T) { test(t, w, false) })
		t.Run("chunks", func(t *testing.T) { test(t, w, true) })
	})
}

// settle waits until a counter has stood still for a while, and returns it.
func settle(watch func(), n *atomic.Int64) int64 {
	last, since := n.Load(), time.Now()
	for end := time.Now().Add(bound); time.Now().Before(end) && (last == 0 || time.Since(since) < 100*time.Millisecond); {
		time.Sleep(time.Millisecond)
		if watch(); n.Load() != last {
			last, since = n.Load(), time.Now()
		}
	}
	return last
}

func TestASlowBodyOfKnownLengthHoldsNoGoroutine(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		var begun atomic.Int64
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			begun.Add(1)
			readAll(w, r)
		})
		c := st.dial()
		body := string(pattern(60_000))
		request := post("/", body)
		c.send(request[:20_000])
		for st.bytesIn() < 20_000 {
			runtime.Gosched()
		}
		c.send(request[20_000 : len(request)-1])
		eventually(t, "the bytes to arrive", func() bool { return st.bytesIn() == int64(len(request)-1) })
		if begun.Load() != 0 || st.eng.Stats().Jobs.Running != 0 {
			t.Error("a handler runs though the body is not whole")
		}
		c.send(request[len(request)-1:])
		c.expect(200, body)
	})
}

func TestALongBodyReachesItsHandlerWhileItIsComing(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		first := make(chan int, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			p := make([]byte, 1000)
			n, _ := r.Body.Read(p)
			first <- n
			m, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n+int(m))
		})
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", strings.Repeat("x", 70_000))
		receive(t, "the handler to read", first)
		c.send(strings.Repeat("x", 30_000))
		c.expect(200, "100000")
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		if n := receive(t, "the handler to read a chunk", first); n != 1 {
			t.Errorf("read %d bytes", n)
		}
		c.send("2\r\nyz\r\n0\r\n\r\n")
		c.expect(200, "3")
	})
}

func TestTrailersOfARequestAreThereAtTheEndOfItsBody(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			declared := fmt.Sprint(r.Trailer)
			b, err := io.ReadAll(r.Body)
			fmt.Fprint(w, declared, " ", string(b), " ", err, " ", r.Trailer)
		})
		c := st.dial()
		head := "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n"
		c.exchange(head+"Trailer: x-sum, X-Other\r\n\r\n"+inChunks("body")+"X-Sum: 1\r\nX-Late: 2\r\n\r\n",
			"map[X-Other:[] X-Sum:[]] body <nil> map[X-Late:[2] X-Other:[] X-Sum:[1]]")
		c.exchange(head+"\r\n"+inChunks("body")+"X-Sum: 1\r\n\r\n", "map[] body <nil> map[X-Sum:[1]]")
		c.exchange(head+"\r\n"+inChunks("body")+"\r\n", "map[] body <nil> map[]")
		part := head + "Trailer: X-Sum\r\n\r\n4\r\nbody\r\n"
		c.send(part)
		for before := st.bytesIn(); st.bytesIn() < before; {
			runtime.Gosched()
		}
		c.send("0\r\nX-Sum: 7\r\n\r\n")
		c.expect(200, "map[X-Sum:[]] body <nil> map[X-Sum:[7]]")
	})
}

func TestAShortBodyLeftUnreadLeavesTheConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, text("ok"))
		c := st.dial()
		for _, n := range []int{1, 10_000, 65_536, 100_000, 200_000} {
			c.exchange(post("/", strings.Repeat("x", n)), "ok")
			c.exchange(chunked("/", strings.Repeat("x", n)), "ok")
		}
		// The rest comes after the answer.
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", strings.Repeat("x", 70_000))
		c.expect(200, "ok")
		c.send(strings.Repeat("x", 30_000), get)
		c.expect(200, "ok")
		// A chunked one is awaited: whether it is short is not known before.
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		eventually(t, "the handler to run", func() bool { return st.eng.Stats().Jobs.Running == 1 })
		c.send("1\r\nx\r\n0\r\n\r\n", get)
		c.expect(200, "ok")
		c.expect(200, "ok")
	})
}

func TestALongBodyLeftUnreadEndsTheConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, text("ok"))
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n", strings.Repeat("x", 100_000))
		if a := c.expect(200, "ok"); !a.Close {
			t.Error("the answer does not announce the end")
		}
		c.ended()
		// Of a chunked one that is known only when it goes on for too long.
		c = st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		var sent atomic.Int64
		failed := make(chan error, 1)
		go func() { failed <- c.upload(64<<20, &sent, true) }()
		if a := c.expect(200, "ok"); !a.Close {
			t.Error("the answer to the chunked request does not announce the end")
		}
		c.ended()
		_ = c.Close()
		<-failed
	})
}

func TestABodyThatEndsEarlyIsAnError(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		got := make(chan error, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			got <- err
			_, err = r.Body.Read(make([]byte, 1))
			got <- err
		})
		for _, request := range []string{
			"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 99_999),
			"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxy",
			"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n",
		} {
			c := st.dial()
			c.send(request)
			c.closeWrite()
			for range 2 {
				if err := receive(t, "the handler's error", got); !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("reading gave %v", err)
				}
			}
			c.broken()
		}
	})
}

func TestAMalformedBodyIsAnErrorAndEndsTheConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		got := make(chan error, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			got <- err
			_, _ = io.WriteString(w, "read")
		})
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		eventually(t, "the handler to run", func() bool { return st.eng.Stats().Jobs.Running == 1 })
		c.send("zz\r\n", get) // what follows must not be taken for a request
		if err := receive(t, "the handler's error", got); err == nil || err == io.EOF {
			t.Errorf("reading gave %v", err)
		}
		if a := c.expect(200, "read"); !a.Close {
			t.Error("the answer does not announce the end")
		}
		c.ended()
	})
}

func TestABodyBeyondMaxBodyBytes(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		got := make(chan error, 1)
		st := w.serve(t, &httpd.Server{MaxBodyBytes: 1000, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			got <- err
			_, _ = io.WriteString(w, "ok")
		})})
		c := st.dial()
		for _, request := range []string{post("/", strings.Repeat("x", 1000)), chunked("/", strings.Repeat("x", 400), strings.Repeat("x", 600))} {
			c.exchange(request, "ok")
			if err := <-got; err != nil {
				t.Errorf("reading 1000 bytes gave %v", err)
			}
		}
		c.refused(http.StatusRequestEntityTooLarge, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n")
		c = st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n", strings.Repeat("x", 400), "\r\n")
		eventually(t, "the handler to run", func() bool { return st.eng.Stats().Jobs.Running == 1 })
		c.send("259\r\n", strings.Repeat("x", 601), "\r\n0\r\n\r\n", get)
		var tooLong *http.MaxBytesError
		if err := receive(t, "the handler's error", got); !errors.As(err, &tooLong) || tooLong.Limit != 1000 {
			t.Errorf("reading gave %v", err)
		}
		c.expect(200, "ok")
		c.ended()
	})
}

func TestReadingABodyAfterCloseIsRefused(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		bodies := make(chan io.ReadCloser, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			_ = r.Body.Close()
			_, err := r.Body.Read(make([]byte, 1))
			fmt.Fprint(w, err == http.ErrBodyReadAfterClose)
			bodies <- r.Body
		})
		c := st.dial()
		for _, request := range []string{post("/", "body"), chunked("/", "body"), post("/", strings.Repeat("x", 100_000))} {
			c.exchange(request, "true")
			if n, err := (<-bodies).Read(make([]byte, 1)); n != 0 || err == nil {
				t.Errorf("after the handler: %d, %v", n, err)
			}
		}
	})
}

func TestAClientThatGoesAwayDuringAnUploadFreesItsHandler(t *testing.T) {
	ends := map[string]func(*client){"reset": (*client).reset, "FIN": func(c *client) { _ = c.Close() }}
	eachDriver(t, func(t *testing.T, w *world) {
		for name, end := range ends {
			got, cancelled := make(chan error, 1), make(chan struct{})
			st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				got <- err
				<-r.Context().Done()
				close(cancelled)
			})
			c := st.dial()
			c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10000000\r\n\r\n", strings.Repeat("x", 100_000))
			eventually(t, "the handler to run", func() bool { return st.eng.Stats().Jobs.Running == 1 })
			end(c)
			if err := receive(t, "the handler's error", got); err == nil || err == io.EOF {
				t.Errorf("%s: reading gave %v", name, err)
			}
			receive(t, name+" to cancel the context", cancelled)
		}
	})
}

func TestABodyThatWasReceivedBeforeItsHandlerBeganIsReadToItsEnd(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		step := make(chan struct{})
		st := w.serve(t, &httpd.Server{Handler: paths{
			"/wait": func(w http.ResponseWriter, r *http.Request) { <-step },
			"/":     readAll,
		}})
		for _, request := range []string{post("/", string(pattern(100_000))), chunked("/", string(pattern(100_000)))} {
			c := st.dial()
			c.send(ask("/wait"), request)
			time.Sleep(50 * time.Millisecond) // as much as the server takes has arrived
			step <- struct{}{}
			c.expect(200, "")
			c.expect(200, string(pattern(100_000)))
		}
	})
}
