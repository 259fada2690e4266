package httpd_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

func TestShutdownLetsRequestsInFlightFinish(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step, begun := make(chan struct{}), make(chan struct{}, 3)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/" {
				return
			}
			if r.URL.Path == "/flushed" {
				_, _ = io.WriteString(w, "first ")
				w.(http.Flusher).Flush()
			}
			begun <- struct{}{}
			b, err := io.ReadAll(r.Body)
			<-step
			if ctx := r.Context().Err(); err != nil || ctx != nil {
				t.Errorf("reading: %v, context: %v", err, ctx)
			}
			_, _ = io.WriteString(w, "finished"+string(b))
		})
		silent, idle, waiting, flushed, uploading := st.dial(), st.dial(), st.dial(), st.dial(), st.dial()
		idle.exchange(get, "")
		waiting.send(ask("/waiting"))
		flushed.send(ask("/flushed"))
		uploading.send("POST /u HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		for range 3 {
			receive(t, "the handlers", begun)
		}
		eventually(t, "the connections to be there", func() bool { return st.Stats().Conns == 5 })
		down := make(chan error, 1)
		go func() { down <- st.Shutdown(context.Background()) }()
		idle.ended()
		silent.send(get) // it may have been on its way
		if a := silent.expect(200, ""); !a.Close {
			t.Error("the first answer of a connection does not announce the end")
		}
		silent.ended()
		_, _ = silent.Close(), idle.Close()
		eventually(t, "new connections to be refused", func() bool {
			c, err := net.Dial("tcp", st.addr.String())
			if err == nil {
				_ = c.Close()
			}
			return err != nil
		})
		if len(down) > 0 {
			t.Error("Shutdown has returned")
		}
		uploading.send("1\r\ny\r\n0\r\n\r\n")
		close(step)
		if a := waiting.expect(200, "finished"); !a.Close {
			t.Error("the answer does not announce the end")
		}
		flushed.expect(200, "first finished")
		uploading.expect(200, "finishedxy")
		for _, c := range []*client{waiting, flushed, uploading} {
			c.ended()
			_ = c.Close()
		}
		if err := receive(t, "Shutdown", down); err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownAnswersWhatIsHalfReceivedAndPipelined(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		step, begun := make(chan struct{}), make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/wait" {
				close(begun)
				<-step
			}
			_, _ = io.WriteString(w, r.URL.Path)
		})
		half := st.dial()
		half.send(get[:20])
		c := st.dial()
		c.send(ask("/wait"), ask("/second"))
		<-begun
		eventually(t, "the bytes to arrive", func() bool { return st.bytesIn() == int64(20+len(ask("/wait")+ask("/second"))) })
		down := make(chan error, 1)
		go func() { down <- st.Shutdown(context.Background()) }()
		time.Sleep(quiet)
		half.send(get[20:])
		if a := half.expect(200, "/"); !a.Close {
			t.Error("the answer does not announce the end")
		}
		half.ended()
		close(step)
		c.expect(200, "/wait") // and no more is promised
		c.broken()
		_, _ = half.Close(), c.Close()
		if err := receive(t, "Shutdown", down); err != nil {
			t.Error(err)
		}
	})
}

func TestShutdownGivesUpWhenItsContextEnds(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step, begun := make(chan struct{}), make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-step
			_, _ = io.WriteString(w, "finished")
		})
		c := st.dial()
		c.send(get)
		<-begun
		ctx, cancel := context.WithTimeout(context.Background(), quiet)
		defer cancel()
		if err := st.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown returned %v", err)
		}
		close(step) // what was left goes on
		c.expect(200, "finished")
		c.ended()
	})
}

func TestCloseCutsHandlersOffAndDoesNotWaitForThem(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step, begun, done := make(chan struct{}), make(chan struct{}, 4), make(chan error, 4)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			switch r.URL.Path {
			case "/context":
				<-r.Context().Done()
				_, err := w.Write(make([]byte, 5000))
				done <- err
			case "/read":
				_, err := io.Copy(io.Discard, r.Body)
				done <- err
			case "/write":
				for {
					if _, err := w.Write(make([]byte, 100_000)); err != nil {
						done <- err
						return
					}
				}
			case "/deaf":
				<-step
				done <- io.EOF
			}
		})
		idle := st.dial()
		eventually(t, "the connection", func() bool { return st.Stats().Conns == 1 })
		clients := []*client{idle}
		for _, request := range []string{ask("/context"), "POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", ask("/write"), ask("/deaf")} {
			c := st.dial()
			c.send(request)
			receive(t, "a handler", begun)
			clients = append(clients, c)
		}
		time.Sleep(quiet)
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for range 3 {
			if err := receive(t, "a handler to notice", done); err == nil {
				t.Error("a handler noticed nothing")
			}
		}
		close(step)
		<-done
		for _, c := range clients {
			c.broken()
		}
		if err := st.Close(); err != nil {
			t.Errorf("Close again: %v", err)
		}
	})
}

func TestRegisterOnShutdown(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		var calls atomic.Int64
		told := make(chan struct{})
		s := w.serve(t, &httpd.Server{}).Server
		s.RegisterOnShutdown(func() { calls.Add(1) })
		s.RegisterOnShutdown(func() { close(told); calls.Add(1) })
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		receive(t, "the function to be called", told)
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		eventually(t, "both calls", func() bool { return calls.Load() == 2 })
	})
}

func TestOnShutdownMayEndHijackedConnections(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		conns := make(chan net.Conn, 1)
		st := w.handle(t, hijacks(t, func(c net.Conn, rw *bufio.ReadWriter) { conns <- c }))
		st.RegisterOnShutdown(func() { _ = (<-conns).Close() })
		c := st.dial()
		c.send(get)
		eventually(t, "the connection to be hijacked", func() bool { return st.Stats().Hijacked == 1 })
		if err := st.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		c.ended()
	})
}

func TestServeTakesListenersMadeElsewhere(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, network := range []string{"tcp", "unix"} {
			address := "127.0.0.1:0"
			if network == "unix" {
				dir, err := os.MkdirTemp("", "httpd")
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = os.RemoveAll(dir) })
				address = filepath.Join(dir, "s")
			}
			var seen atomic.Value
			s := &httpd.Server{Handler: text("served"), BaseContext: func(l net.Listener) context.Context {
				seen.Store(l)
				return context.Background()
			}}
			served := make(chan error, 1)
			st := w.start(t, s, func(st *site) {
				l, err := net.Listen(network, address)
				if err != nil {
					t.Fatal(err)
				}
				st.addr = l.Addr()
				go func() { served <- s.Serve(l) }()
				eventually(t, "Serve to begin", func() bool { return seen.Load() != nil })
				if seen.Load() != l {
					t.Error("BaseContext got another listener")
				}
			})
			c := st.dial()
			c.exchange(get, "served")
			_ = c.Close()
			if err := st.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
			if err := receive(t, "Serve to return", served); err != http.ErrServerClosed {
				t.Errorf("Serve returned %v", err)
			}
			if _, err := net.Dial(network, st.addr.String()); err == nil {
				t.Error("the listener is still there")
			}
			if _, err := os.Stat(address); network == "unix" && err == nil {
				t.Error("the socket's file is still there")
			}
		}
	})
}

// wrapped is a listener of a type that cannot be served.
type wrapped struct{ net.Listener }

func TestServeRefusesListenersOfOtherTypes(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.start(t, &httpd.Server{Handler: text("x")}, func(st *site) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			if err := st.Serve(wrapped{l}); err == nil || err == http.ErrServerClosed || !strings.Contains(err.Error(), "wrapped") {
				t.Errorf("Serve returned %v", err)
			}
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the listener is open: %v", err)
			}
		})
	})
}

func TestAServerThatWasClosedDoesNotServe(t *testing.T) {
	for _, end := range []func(*httpd.Server) error{(*httpd.Server).Close, func(s *httpd.Server) error { return s.Shutdown(context.Background()) }} {
		s := &httpd.Server{Addr: "127.0.0.1:0"}
		if err := end(s); err != nil {
			t.Error(err)
		}
		if err := s.ListenAndServe(); err != http.ErrServerClosed {
			t.Errorf("ListenAndServe returned %v", err)
		}
		if _, err := s.Listen("tcp", "127.0.0.1:0"); err != http.ErrServerClosed {
			t.Errorf("Listen returned %v", err)
		}
	}
}

func TestListenAndServeReturnsWhenTheServerIsClosed(t *testing.T) {
	before := takeCensus()
	s := &httpd.Server{Addr: "127.0.0.1:0", Handler: text("x")}
	done := make(chan error, 1)
	based := make(chan net.Addr, 1)
	s.BaseContext = func(l net.Listener) context.Context {
		based <- l.Addr()
		return context.Background()
	}
	go func() { done <- s.ListenAndServe() }()
	addr := receive(t, "the server to listen", based)
	resp, err := http.Get("http://" + addr.String())
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := receive(t, "ListenAndServe to return", done); err != http.ErrServerClosed {
		t.Errorf("it returned %v", err)
	}
	eventually(t, "all to be gone", func() bool { return takeCensus().within(before) })
	if err := (&httpd.Server{Addr: "no such address:x"}).ListenAndServe(); err == nil || err == http.ErrServerClosed {
		t.Errorf("with a bad address it returned %v", err)
	}
}

func TestServersShareAnEngine(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		a := w.serve(t, &httpd.Server{Handler: text("a")})
		b := &httpd.Server{Handler: text("b"), Engine: a.Engine}
		ln, err := b.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		bc := (&site{Server: b, t: t, addr: ln.Addr()}).dial()
		bc.exchange(get, "b")
		ac := a.dial()
		ac.exchange(get, "a")
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		bc.broken()
		ac.exchange(get, "a")
	})
}

func TestSetKeepAlivesEnabledLeavesNewConnectionsTheirRequest(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{Handler: text("x")})
		for range 200 {
			st.SetKeepAlivesEnabled(true)
			st.SetKeepAlivesEnabled(false)
			c := st.dial()
			c.exchange(get, "x")
			_ = c.Close()
		}
	})
}
