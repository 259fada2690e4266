package httpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// await fails t if nothing comes within bound.
func await[T any](t testing.TB, what string, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(bound):
		t.Fatalf("waited for %s", what)
	}
	return v
}

func TestShutdownWaitsForAnswers(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		began, finish, registered := make(chan bool), make(chan bool), make(chan bool)
		s := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began <- true
			<-finish
			io.WriteString(w, kilobyte)
		}))
		s.RegisterOnShutdown(func() { registered <- true })
		idle := s.connect(t)
		go io.WriteString(idle, message("GET /"))
		await(t, "the first request", began)
		finish <- true
		idleReader := bufio.NewReader(idle)
		if a, err := readAnswer(idleReader, "GET"); err != nil {
			t.Fatal(a, err)
		}
		busy := s.connect(t)
		go io.WriteString(busy, message("GET /"))
		await(t, "the second request", began)
		shut := make(chan error)
		go func() { shut <- s.Shutdown(t.Context()) }()
		await(t, "what is registered", registered)
		s.ended(t)
		if _, err := idleReader.ReadByte(); err != io.EOF {
			t.Errorf("the idle connection: %v", err)
		}
		if c, err := net.Dial("tcp", s.addr); err == nil {
			c.Close()
			t.Error("a connection is accepted")
		}
		select {
		case err := <-shut:
			t.Errorf("Shutdown returned %v before the handler", err)
		default:
		}
		finish <- true
		r := bufio.NewReader(busy)
		if a, err := readAnswer(r, "GET"); err != nil || a.body != kilobyte || a.field("Connection") != "close" {
			t.Error(a, err)
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("after the last answer: %v", err)
		}
		if err := await(t, "Shutdown", shut); err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownGivesUp(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		began, gone := make(chan bool), make(chan bool)
		s := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			began <- true
			<-r.Context().Done()
			gone <- true
		}))
		c := s.connect(t)
		io.WriteString(c, message("GET /"))
		await(t, "the request", began)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		await(t, "the context's end", gone)
	})
}

// TestHijackedOutlivesShutdown: a hijacked connection is its handler's.
func TestHijackedOutlivesShutdown(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, plain(t))
		c := s.connect(t)
		io.WriteString(c, message("GET /hijack-echo", "Connection: upgrade", "Upgrade: echo"))
		r := bufio.NewReader(c)
		if a, err := readAnswer(r, "GET"); err != nil || a.status != http.StatusSwitchingProtocols {
			t.Fatal(a, err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		io.WriteString(c, "a line\n")
		if a, err := readAnswer(r, "GET"); err != nil || a.body != "a line\n" {
			t.Error(a, err)
		}
		io.WriteString(c, "quit\n")
		if _, err := r.ReadByte(); err != io.EOF {
			t.Error(err)
		}
	})
}

// states collects the states of connections.
type states struct {
	mu   sync.Mutex
	seen map[net.Conn]string
	last chan string // what a connection went through, when it is over
}

func (s *states) add(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[c] += state.String() + " "
	if state == http.StateClosed || state == http.StateHijacked {
		s.last <- s.seen[c]
	}
}

func TestConnState(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		st := &states{seen: make(map[net.Conn]string), last: make(chan string, 10)}
		s := k.serveWith(t, &http.Server{Handler: plain(t), ConnState: st.add})
		for _, tt := range []struct{ send, want string }{
			{message("GET /hello") + message("GET /close"), "new active idle active closed "},
			{message("GET /hello", "Connection: close"), "new active closed "},
			{message("GET /hijack"), "new active hijacked "},
			{message("GET /panic"), "new active closed "},
			{"nonsense\r\n\r\n", "new active closed "},
		} {
			c := s.connect(t)
			io.WriteString(c, tt.send)
			if got := await(t, "the end of "+tt.send, st.last); got != tt.want {
				t.Errorf("%q: %s, want %s", tt.send, got, tt.want)
			}
		}
		c := s.connect(t)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if got := await(t, "the end of one that asks nothing", st.last); got != "new closed " {
			t.Error(got)
		}
	})
}

func TestContexts(t *testing.T) {
	type key string
	eachKind(t, func(t *testing.T, k kind) {
		listener := make(chan string, 1)
		s := k.serveWith(t, &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				c, _ := r.Context().Value(key("conn")).(net.Conn)
				fmt.Fprint(w, r.Context().Value(key("base")), c.RemoteAddr().String() == r.RemoteAddr,
					r.Context().Value(http.LocalAddrContextKey).(net.Addr).String() == c.LocalAddr().String())
			}),
			BaseContext: func(l net.Listener) context.Context {
				listener <- l.Addr().String()
				return context.WithValue(context.Background(), key("base"), "base")
			},
			ConnContext: func(ctx context.Context, c net.Conn) context.Context {
				if ctx.Value(key("base")) != "base" {
					t.Error("ConnContext is not given BaseContext's")
				}
				return context.WithValue(ctx, key("conn"), c)
			},
		})
		_, body := fetch(t, newClient(t), request(t.Context(), "GET", s.url, nil))
		if addr := await(t, "BaseContext", listener); body != "basetrue true" || addr != s.addr {
			t.Errorf("%s, listener %s", body, addr)
		}
	})
}

// TestContextEndsWithItsHandler: what a handler has left behind learns of it.
func TestContextEndsWithItsHandler(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		contexts := make(chan context.Context, 2) // the sentinel's is the second
		s := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { contexts <- r.Context() }))
		for _, text := range []string{message("GET /"), upload("POST /", kilobyte), message("GET /", "Connection: close")} {
			s.converse(t, []string{text}, conversation{})
			for len(contexts) > 0 {
				await(t, "the context's end", (<-contexts).Done())
			}
		}
	})
}

// timeouts are those of http.Server.
type timeouts struct{ read, header, write, idle time.Duration }

// TestTimeouts: what is too slow ends alone, and how.
func TestTimeouts(t *testing.T) {
	const short = 50 * time.Millisecond
	for _, tt := range []struct {
		name     string
		timeouts timeouts
		send     string
		want     string // answers, then what the handler saw
	}{
		{"ReadHeaderTimeout before a byte", timeouts{header: short}, "", "closed"},
		{"ReadHeaderTimeout within a head", timeouts{header: short}, "GET / HTTP/1.1\r\nX", "closed"},
		{"ReadHeaderTimeout without effect on a body", timeouts{header: short},
			message("POST /late", "Content-Length: 4") + "body", "200 open <nil>"},
		{"ReadTimeout within a head", timeouts{read: short}, "GET / HTTP/1.1\r\n", "closed"},
		{"ReadTimeout within a body", timeouts{read: short}, message("POST /", "Content-Length: 1000000") + megabyte[:70000], "200 closed timeout"},
		{"ReadTimeout within a chunked body", timeouts{read: short},
			message("POST /", "Transfer-Encoding: chunked") + "4\r\nbo", "200 closed timeout"},
		{"IdleTimeout", timeouts{idle: short}, message("GET /"), "200 closed <nil>"},
		{"IdleTimeout is ReadTimeout", timeouts{read: short}, message("GET /"), "200 closed <nil>"},
		{"WriteTimeout", timeouts{write: short}, message("GET /late"), "closed <nil>"},
		{"read deadline of a handler", timeouts{}, message("POST /deadline", "Content-Length: 1000000") + megabyte[:70000], "200 closed timeout"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, k := range kinds {
				got := timeoutResult(t, k, tt.timeouts, tt.send)
				if tt.want == "closed" && (got == "400 closed" || got == "408 closed") {
					continue // a word of farewell, which net/http has for some heads
				}
				if got != tt.want {
					t.Errorf("%s: %s, want %s", k.name, got, tt.want)
				}
			}
		})
	}
}

// timeoutResult is what becomes of a connection that sends no more than send.
func timeoutResult(t *testing.T, k kind, d timeouts, send string) string {
	saw := make(chan string, 1)
	s := k.serveWith(t, &http.Server{
		ReadTimeout: d.read, ReadHeaderTimeout: d.header, WriteTimeout: d.write, IdleTimeout: d.idle,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/late":
				time.Sleep(200 * time.Millisecond)
			case "/deadline":
				if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
					t.Error(err)
				}
			}
			_, err := io.ReadAll(r.Body)
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() && errors.Is(err, os.ErrDeadlineExceeded) {
				saw <- " timeout"
			} else {
				saw <- fmt.Sprint(" ", err)
			}
		}),
	})
	c := s.connect(t)
	io.WriteString(c, send)
	r := bufio.NewReader(c)
	var result strings.Builder
	for {
		if result.Len() > 0 {
			// Nobody ends a connection that has no timeout.
			_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		}
		a, err := readAnswer(r, "GET")
		if err == nil {
			fmt.Fprint(&result, a.status, " ")
			continue
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			result.WriteString("open")
		} else {
			result.WriteString("closed")
		}
		break
	}
	if strings.HasSuffix(send, "X") || strings.HasSuffix(send, "1.1\r\n") || send == "" {
		return result.String() // no request
	}
	return result.String() + await(t, "the handler", saw)
}

func TestMaxHeaderBytes(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serveWith(t, &http.Server{Handler: plain(t), MaxHeaderBytes: 10000})
		for _, tt := range []struct {
			n    int
			want string
		}{{9000, "200 kept"}, {20000, "431 closed"}} {
			answers, kept := s.converse(t, []string{message("GET /hello", "X: "+strings.Repeat("x", tt.n))}, conversation{})
			if got := summary(answers, kept); got != tt.want {
				t.Errorf("%d bytes: %s, want %s", tt.n, got, tt.want)
			}
		}
	})
}

// TestServeTwoListeners: one server on two listeners.
func TestServeTwoListeners(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, plain(t))
		ln, err := net.Listen("unix", t.TempDir()+"/s")
		if err != nil {
			t.Fatal(err)
		}
		second := make(chan error, 1)
		go func() { second <- s.Serve(ln) }()
		c := newClient(t)
		c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "unix") {
				return net.Dial("unix", ln.Addr().String())
			}
			return net.Dial(network, addr)
		}
		var bodies []string
		for _, url := range []string{s.url, "http://unix"} {
			_, body := fetch(t, c, request(t.Context(), "GET", url+"/hello", nil))
			bodies = append(bodies, body)
		}
		if !slices.Equal(bodies, []string{"Hello, World!", "Hello, World!"}) {
			t.Error(bodies)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if err := await(t, "the second Serve", second); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve after Shutdown: %v", err)
		}
	})
}
