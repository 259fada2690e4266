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

func TestARequestIsWhatNetHTTPWouldMakeOfIt(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		got := make(chan *http.Request, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) { got <- r })
		c := st.dial()
		c.exchange("GET http://example.org/a%20b/c?q=1 HTTP/1.1\r\nHost: example.org\r\nx-custom: 1\r\nX-Custom: 2\r\ncookie: a=b\r\n"+
			"Pragma: no-cache\r\nReferer: r\r\n\r\n", "")
		r := <-got
		header := http.Header{"X-Custom": {"1", "2"}, "Cookie": {"a=b"}, "Pragma": {"no-cache"}, "Cache-Control": {"no-cache"}, "Referer": {"r"}}
		if fmt.Sprint(r.Header) != fmt.Sprint(header) {
			t.Errorf("Header is %v, want %v", r.Header, header)
		}
		if r.Method != "GET" || r.URL.Path != "/a b/c" || r.URL.RawQuery != "q=1" || r.Host != "example.org" || r.RequestURI != "http://example.org/a%20b/c?q=1" {
			t.Errorf("%s %v, Host %q, RequestURI %q", r.Method, r.URL, r.Host, r.RequestURI)
		}
		if r.Proto != "HTTP/1.1" || r.ProtoMajor != 1 || r.ProtoMinor != 1 || r.Close || r.ContentLength != 0 || r.Body != http.NoBody {
			t.Errorf("Proto %s, Close %v, ContentLength %d, Body %v", r.Proto, r.Close, r.ContentLength, r.Body)
		}
		if r.RemoteAddr != c.LocalAddr().String() {
			t.Errorf("RemoteAddr is %s, want %s", r.RemoteAddr, c.LocalAddr())
		}
		c.exchange("FROB /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "")
		if r := <-got; r.Method != "FROB" || !r.Close {
			t.Errorf("%s, Close %v", r.Method, r.Close)
		}
		c = st.dial()
		c.exchange("GET / HTTP/1.0\r\n\r\n", "")
		if r := <-got; r.Proto != "HTTP/1.0" || r.ProtoMinor != 0 || r.Host != "" || !r.Close {
			t.Errorf("Proto %s, Host %q, Close %v", r.Proto, r.Host, r.Close)
		}
	})
}

func TestConnectionsAreKeptAsTheVersionsSay(t *testing.T) {
	tests := []struct {
		name, request string
		kept          bool
		connection    string // of the answer
	}{
		{"HTTP/1.1", "GET /short HTTP/1.1\r\nHost: h\r\n\r\n", true, ""},
		{"HTTP/1.1 close", "GET /short HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", false, "close"},
		{"HTTP/1.1 close among others", "GET /short HTTP/1.1\r\nHost: h\r\nConnection: te, Close\r\n\r\n", false, "close"},
		{"HTTP/1.1 streamed", "GET /long HTTP/1.1\r\nHost: h\r\n\r\n", true, ""},
		{"HTTP/1.0", "GET /short HTTP/1.0\r\n\r\n", false, ""},
		{"HTTP/1.0 keep-alive", "GET /short HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, "keep-alive"},
		{"HTTP/1.0 keep-alive of unknown length", "GET /long HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, ""},
		{"HTTP/1.0 keep-alive and the handler closes", "GET /close HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false, "close"},
		{"the handler closes", "GET /close HTTP/1.1\r\nHost: h\r\n\r\n", false, "close"},
		{"HTTP/1.0 without a body", "GET /204 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true, "keep-alive"},
		{"the server's general answer", "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", true, ""},
	}
	eachDriver(t, func(t *testing.T, w *world) {
		mux := http.NewServeMux()
		mux.HandleFunc("/short", text("short"))
		mux.HandleFunc("/long", text(strings.Repeat("long", 5000)))
		mux.HandleFunc("/204", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
		mux.HandleFunc("/close", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Connection", "close")
			_, _ = io.WriteString(w, "closing")
		})
		st := w.serve(t, &httpd.Server{Handler: mux})
		for _, tt := range tests {
			c := st.dial()
			c.send(tt.request)
			a := c.answer()
			if a.err != nil || a.StatusCode/100 != 2 {
				t.Errorf("%s: %d, %v", tt.name, a.StatusCode, a.err)
			}
			got := a.Header.Get("Connection")
			if got == "" && a.Close && a.ProtoMinor > 0 {
				got = "close" // http.ReadResponse took it away
			}
			if got != tt.connection {
				t.Errorf("%s: Connection is %q, want %q", tt.name, got, tt.connection)
			}
			if !tt.kept {
				c.ended()
				continue
			}
			c.send("GET /short HTTP/1.1\r\nHost: h\r\n\r\n")
			c.expect(200, "short")
		}
	})
}

func TestSetKeepAlivesEnabledEndsConnections(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step, begun := make(chan struct{}), make(chan struct{})
		st := w.serve(t, &httpd.Server{
			Handler: paths{"/": text("x"), "/wait": func(w http.ResponseWriter, r *http.Request) {
				close(begun)
				<-step
			}},
			LoopHandler: func(x *httpd.RequestCtx) bool { return string(x.Path()) == "/loop" },
		})
		idle, busy := st.dial(), st.dial()
		idle.exchange(get, "x")
		busy.send(ask("/wait"))
		<-begun
		eventually(t, "the other to be idle", func() bool { return st.eng.Stats().Jobs.Running == 1 })
		st.SetKeepAlivesEnabled(false)
		idle.ended()
		close(step)
		if !busy.expect(200, "").Close {
			t.Error("the answer does not announce the end")
		}
		busy.ended()
	})
}

func TestWithoutKeepAlivesAConnectionServesOneRequest(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := &httpd.Server{Handler: text("x"), LoopHandler: func(x *httpd.RequestCtx) bool { return string(x.Path()) == "/loop" }}
		s.SetKeepAlivesEnabled(false)
		st := w.serve(t, s)
		for path, body := range map[string]string{"/": "x", "/loop": ""} {
			c := st.dial()
			if !c.exchange(ask(path), body).Close {
				t.Errorf("%s: the answer does not announce the end", path)
			}
			c.ended()
		}
		st.SetKeepAlivesEnabled(true)
		c := st.dial()
		c.exchange(get, "x")
		c.exchange(get, "x")
	})
}

// conversation is a pipeline of all kinds of requests and the bodies of its
// answers.
func conversation() (requests string, bodies []string) {
	var b strings.Builder
	add := func(request, body string) {
		b.WriteString(request)
		bodies = append(bodies, body)
	}
	add("GET /loop/1 HTTP/1.1\r\nHost: h\r\n\r\n", "loop:GET:/loop/1:")
	add(post("/h/2", "two"), "handler:POST:/h/2:two")
	add(post("/loop/3", "three"), "loop:POST:/loop/3:three")
	add(chunked("/h/4", "fo", "ur"), "handler:POST:/h/4:four")
	add(chunked("/h/5", "f", "i", "ve"), "handler:POST:/h/5:five")
	add(post("/skip/6", "nobody reads this"), "skipped")
	add("GET /h/7?x=y HTTP/1.1\r\nHost: h\r\n\r\n", "handler:GET:/h/7:")
	add(chunked("/skip/8", "nor", "this"), "skipped")
	add("GET /loop/9 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", "loop:GET:/loop/9:")
	return b.String(), bodies
}

// conversing answers the requests of conversation.
func conversing() *httpd.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("/h/", func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			fmt.Fprint(w, err)
		}
		fmt.Fprintf(w, "handler:%s:%s:%s", r.Method, r.URL.Path, b)
	})
	mux.HandleFunc("/skip/", text("skipped"))
	return &httpd.Server{Handler: mux, LoopHandler: func(x *httpd.RequestCtx) bool {
		if !strings.HasPrefix(string(x.Path()), "/loop/") {
			return false
		}
		fmt.Fprintf(x, "loop:%s:%s:%s", x.Method(), x.Path(), x.Body())
		return true
	}}
}

// hold checks the answers of a conversation and the connection's end.
func (c *client) hold(bodies []string) {
	c.t.Helper()
	for _, body := range bodies {
		c.expect(200, body)
	}
	c.ended()
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	requests, bodies := conversation()
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, conversing())
		c := st.dial()
		c.send(requests)
		c.hold(bodies)
	})
}

func TestPipelinedRequestsSurviveEverySplit(t *testing.T) {
	requests, bodies := conversation()
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, conversing())
		for i := 1; i < len(requests); i++ {
			if testing.Short() && i%7 != 0 {
				continue
			}
			c := st.dial()
			before := st.bytesIn()
			c.send(requests[:i])
			for st.bytesIn() < before+int64(i) {
				runtime.Gosched()
			}
			c.send(requests[i:])
			c.hold(bodies)
			_ = c.Close()
		}
	})
}

func TestPipelinedRequestsSurviveComingByteByByte(t *testing.T) {
	requests, bodies := conversation()
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, conversing())
		c := st.dial()
		for i := range len(requests) {
			before := st.bytesIn()
			c.send(requests[i : i+1])
			for st.bytesIn() == before {
				runtime.Gosched()
			}
		}
		c.hold(bodies)
	})
}

func TestAThousandPipelinedRequestsInOneWrite(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, conversing())
		c := st.dial()
		var b strings.Builder
		const n = 1000
		for i := range n {
			fmt.Fprintf(&b, "GET /%s/%d HTTP/1.1\r\nHost: h\r\n\r\n", [...]string{"loop", "h", "loop"}[i%3], i)
		}
		go func() { _, _ = io.WriteString(c, b.String()) }()
		for i := range n {
			c.expect(200, fmt.Sprintf("%s:GET:/%s/%d:", [...]string{"loop", "handler", "loop"}[i%3], [...]string{"loop", "h", "loop"}[i%3], i))
		}
	})
}

// bytesIn is how many bytes the engine has received.
func (st *site) bytesIn() (n int64) {
	for _, l := range st.eng.Stats().Loops {
		n += l.BytesIn
	}
	return n
}

func TestChunkedBodiesReachTheSameHandlerHoweverTheyAreSplit(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		answered := func(x *httpd.RequestCtx) bool {
			_, _ = x.WriteString("loop")
			return true
		}
		st := w.serve(t, &httpd.Server{LoopHandler: answered, Handler: text("handler")})
		c := st.dial()
		request := chunked("/", "fo", "ur")
		c.send(request)
		first := c.answer().body
		for i := 1; i < len(request); i++ {
			c.send(request[:i])
			pause()
			c.send(request[i:])
			if got := c.answer().body; got != first {
				t.Fatalf("split at %d: answered by %s, in one piece by %s", i, got, first)
			}
		}
	})
}
