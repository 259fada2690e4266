package httpd_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/httpd"
)

// looping serves with a LoopHandler that answers all but "/handler".
func looping(answer func(x *httpd.RequestCtx)) *httpd.Server {
	return &httpd.Server{Handler: http.HandlerFunc(readAll), LoopHandler: func(x *httpd.RequestCtx) bool {
		if string(x.Path()) == "/handler" {
			return false
		}
		answer(x)
		return true
	}}
}

func TestALoopHandlerSeesTheRequest(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, looping(func(x *httpd.RequestCtx) {
			fmt.Fprintf(x, "%s|%s|%s|%s|%s|%s|%s|%d|%v", x.Method(), x.Target(), x.Path(), x.Query(), x.Host(), x.Get("x-name"), x.Body(), len(x.Fields()), x.RemoteAddr())
		}))
		c := st.dial()
		addr := c.LocalAddr()
		c.exchange("PUT /a/b?c=d?e HTTP/1.1\r\nHost: example.org\r\nX-Name: value\r\nContent-Length: 4\r\n\r\nbody", fmt.Sprintf("PUT|/a/b?c=d?e|/a/b|c=d?e|example.org|value|body|3|%v", addr))
		c.exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", fmt.Sprintf("GET|/|/||h|||1|%v", addr))
	})
}

func TestWhatALoopHandlerAnswers(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, looping(func(x *httpd.RequestCtx) {
			switch string(x.Path()) {
			case "/set":
				x.SetStatus(http.StatusAccepted)
				x.SetContentType("a/b")
				x.Set("X-One", "1")
				x.Set("X-Bad\r\n", "2")
				x.Set("X-Two", "a\r\nX-Three: b")
				_, _ = x.WriteString("one ")
				_, _ = x.Write([]byte("two"))
			case "/204":
				x.SetStatus(http.StatusNoContent)
				_, _ = x.WriteString("nothing")
			case "/close":
				x.Close()
			case "/long":
				_, _ = x.Write(pattern(1_000_000))
			default:
				_, _ = x.WriteString("default")
			}
		}))
		c := st.dial()
		c.send(ask("/set"))
		a := c.expect(http.StatusAccepted, "one two")
		if a.Header.Get("Content-Type") != "a/b" || a.Header.Get("X-One") != "1" || len(a.Header) != 4 || a.Header.Get("Date") == "" {
			t.Errorf("got %v", a.Header)
		}
		if a := c.exchange(get, "default"); a.Header.Get("Content-Type") != "text/plain; charset=utf-8" || a.Header.Get("X-One") != "" {
			t.Errorf("the next one got %v", a.Header)
		}
		c.send(ask("/204"))
		if a := c.expect(http.StatusNoContent, ""); a.Header["Content-Length"] != nil {
			t.Errorf("204 has %v", a.Header)
		}
		c.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
		if a := c.answerTo("HEAD"); a.ContentLength != 7 {
			t.Errorf("HEAD has %v", a.Header)
		}
		c.exchange(ask("/long"), string(pattern(1_000_000)))
		c.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		if a := c.expect(200, "default"); a.Header.Get("Connection") != "keep-alive" {
			t.Errorf("HTTP/1.0 got %v", a.Header)
		}
		c.send(ask("/close"), get)
		if a := c.expect(200, ""); !a.Close {
			t.Error("the end is not announced")
		}
		c.ended()
	})
}

func TestRequestsThatALoopHandlerIsNotAskedFor(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, looping(func(x *httpd.RequestCtx) { _, _ = x.WriteString("loop") }))
		c := st.dial()
		c.exchange(post("/", strings.Repeat("x", 64<<10)), "loop")
		c.exchange(post("/", strings.Repeat("x", 200_000)), strings.Repeat("x", 200_000))
		c.exchange(chunked("/", "body"), "body")
		c.send(expecting("/", 4))
		if resp := c.head("POST"); resp.StatusCode != http.StatusContinue {
			t.Errorf("got %v", resp)
		}
		c.send("body")
		c.expect(200, "body")
	})
}

// raceEnabled is true exactly when the race detector, which allocates, is on.
var raceEnabled bool

func TestALoopHandlerAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	hello := []byte("Hello, World!")
	test := func(t *testing.T, w *world, request string) {
		st := w.serve(t, looping(func(x *httpd.RequestCtx) { _, _ = x.Write(hello) }))
		c := st.dial()
		c.send(request)
		head := c.answer()
		_ = head
		c.send(request)
		p := make([]byte, 4096)
		n, err := c.r.Read(p)
		if err != nil || !strings.HasSuffix(string(p[:n]), "Hello, World!") {
			t.Fatalf("%q, %v", p[:n], err)
		}
		out, in := []byte(request), p[:n]
		const rounds = 5000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			if _, err := c.Conn.Write(out); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(c.Conn, in); err != nil {
				t.Fatal(err)
			}
		}
		runtime.ReadMemStats(&after)
		if n := after.Mallocs - before.Mallocs; n > rounds/20 { // the process does other things, too
			t.Errorf("%d requests made %d allocations", rounds, n)
		}
	}
	for _, w := range []*world{{driver: "auto"}, {}} {
		t.Run("GET on "+w.driver, func(t *testing.T) {
			test(t, w, "GET /plaintext?q HTTP/1.1\r\nHost: example.org\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n")
		})
		t.Run("POST on "+w.driver, func(t *testing.T) { test(t, w, post("/", "the body")) })
	}
}

func TestAPanicInALoopHandlerCostsOneConnection(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, looping(func(x *httpd.RequestCtx) {
			if string(x.Path()) == "/panic" {
				panic("on the loop")
			}
			_, _ = x.WriteString("fine")
		}))
		var others []*client
		for range 4 { // on every loop
			c := st.dial()
			c.exchange(get, "fine")
			others = append(others, c)
		}
		c := st.dial()
		c.send(get, ask("/panic"), get)
		c.broken()
		for _, c := range others {
			c.exchange(get, "fine")
			c.exchange(ask("/handler"), "")
		}
	})
}

func TestAReaderThatIsTooSlowHoldsALoopHandlerBack(t *testing.T) {
	const answers, size = 2000, 30_000
	body := pattern(size)
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, looping(func(x *httpd.RequestCtx) { _, _ = x.Write(body) }))
		c := st.narrow()
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, strings.Repeat(get, answers))
			sent <- err
		}()
		var most int64
		for range 50 {
			most = max(most, st.liveBytes())
			pause()
		}
		if st.Stats().Requests == answers {
			t.Error("the requests were not held back")
		}
		for range answers {
			c.expect(200, string(body))
			most = max(most, st.liveBytes())
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if most > 4<<20 {
			t.Errorf("the server held %d bytes", most)
		}
	})
}

func TestABodyBeyondTheLimitIsNotALoopHandlers(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, looping(func(x *httpd.RequestCtx) { _, _ = x.WriteString("loop") }))
		st.dial().exchange(post("/", strings.Repeat("x", 64<<10+1)), strings.Repeat("x", 64<<10+1))
	})
}
