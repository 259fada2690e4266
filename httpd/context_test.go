package httpd_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

func TestAContextIsCancelledWhenTheClientGoesAway(t *testing.T) {
	ends := map[string]func(*client){"reset": (*client).reset, "FIN": func(c *client) { _ = c.Close() }, "half a FIN": (*client).closeWrite}
	requests := map[string]string{"GET": get, "POST": post("/", "body"), "chunked": chunked("/", "body"), "long": post("/", strings.Repeat("x", 100_000))}
	eachWorld(t, func(t *testing.T, w *world) {
		for end, do := range ends {
			for kind, request := range requests {
				begun, got := make(chan struct{}), make(chan error, 1)
				st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					if err := r.Context().Err(); err != nil {
						t.Errorf("%s, %s: the context has ended at once: %v", kind, end, err)
					}
					close(begun)
					<-r.Context().Done()
					got <- r.Context().Err()
				})
				c := st.dial()
				c.send(request)
				receive(t, "the handler", begun)
				do(c)
				if err := receive(t, end+" to end the context of "+kind, got); err != context.Canceled {
					t.Errorf("%s, %s: the context ended with %v", kind, end, err)
				}
				_ = c.Close()
			}
		}
	})
}

func TestAContextIsCancelledWhenItsHandlerHasReturned(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		contexts := make(chan context.Context, 3)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/asked" {
				r.Context().Done()
			}
			contexts <- r.Context()
			if r.URL.Path == "/panic" {
				panic(http.ErrAbortHandler)
			}
		})
		c := st.dial()
		c.exchange(ask("/asked"), "")
		c.exchange(ask("/"), "")
		c.send(ask("/panic"))
		c.broken()
		for range 3 {
			ctx := <-contexts
			receive(t, "the context to end", ctx.Done())
			if ctx.Err() != context.Canceled {
				t.Errorf("it ended with %v", ctx.Err())
			}
		}
	})
}

func TestDerivedContextsNeedNoGoroutine(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		cancelled := make(chan struct{})
		base, cancel := context.WithCancel(context.Background())
		defer cancel()
		var before, after atomic.Int64
		st := w.serve(t, &httpd.Server{
			BaseContext: func(net.Listener) context.Context { return base },
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				before.Store(int64(runtime.NumGoroutine()))
				var all []context.Context
				for range 100 {
					ctx, cancel := context.WithTimeout(r.Context(), time.Hour)
					defer cancel()
					all = append(all, ctx)
				}
				after.Store(int64(runtime.NumGoroutine()))
				close(cancelled)
				for _, ctx := range all {
					<-ctx.Done()
				}
			}),
		})
		c := st.dial()
		c.send(get)
		receive(t, "the handler", cancelled)
		c.reset() // ends them all
		eventually(t, "the handler to end", func() bool { return st.eng.Stats().Jobs.Running == 0 })
		if n := after.Load() - before.Load(); n > 10 {
			t.Errorf("a hundred contexts made %d goroutines", n)
		}
	})
}

func TestAContextEndsWithTheOneItDerivesFrom(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		base, cancel := context.WithCancelCause(context.Background())
		begun := make(chan struct{}, 2)
		got := make(chan error, 2)
		called := make(chan struct{}, 1)
		st := w.serve(t, &httpd.Server{
			BaseContext: func(net.Listener) context.Context { return base },
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/func" {
					context.AfterFunc(r.Context(), func() { called <- struct{}{} })
					begun <- struct{}{}
					<-called
				} else {
					begun <- struct{}{}
					<-r.Context().Done()
				}
				got <- r.Context().Err()
			}),
		})
		a, b := st.dial(), st.dial()
		a.send(get)
		b.send(ask("/func"))
		<-begun
		<-begun
		cancel(io.ErrNoProgress)
		for range 2 {
			if err := receive(t, "a handler's context", got); err != context.Canceled {
				t.Errorf("it ended with %v", err)
			}
		}
		a.expect(200, "")
		b.expect(200, "")
	})
}

func TestContextsHaveWhatTheHooksAndNetHTTPPutThere(t *testing.T) {
	type key int
	eachWorld(t, func(t *testing.T, w *world) {
		var bases, conns atomic.Int64
		seen := make(chan net.Conn, 1)
		s := &httpd.Server{ReadTimeout: time.Hour}
		s.BaseContext = func(l net.Listener) context.Context {
			bases.Add(1)
			return context.WithValue(context.Background(), key(1), l.Addr().String())
		}
		s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			conns.Add(1)
			seen <- c
			return context.WithValue(ctx, key(2), c.RemoteAddr().String())
		}
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx := r.Context()
			local, _ := ctx.Value(http.LocalAddrContextKey).(net.Addr)
			std, _ := ctx.Value(http.ServerContextKey).(*http.Server)
			if local == nil || std == nil {
				t.Errorf("LocalAddr %v, Server %v", local, std)
				return
			}
			if std.ReadTimeout != time.Hour {
				t.Errorf("the server's ReadTimeout is %v", std.ReadTimeout)
			}
			_, _ = io.WriteString(w, strings.Join([]string{ctx.Value(key(1)).(string), ctx.Value(key(2)).(string), local.String()}, " "))
		})
		st := w.serve(t, s)
		c := st.dial()
		want := st.addr.String() + " " + c.LocalAddr().String() + " " + st.addr.String()
		c.exchange(get, want)
		c.exchange(get, want)
		nc := <-seen
		if nc.RemoteAddr().String() != c.LocalAddr().String() || nc.LocalAddr().String() != st.addr.String() {
			t.Errorf("ConnContext got a connection from %v to %v", nc.RemoteAddr(), nc.LocalAddr())
		}
		if _, err := nc.Read(nil); err == nil {
			t.Error("ConnContext's connection can be read")
		}
		if bases.Load() != 1 || conns.Load() != 1 {
			t.Errorf("BaseContext was called %d times, ConnContext %d", bases.Load(), conns.Load())
		}
	})
}

func TestABaseContextOfNilIsAnError(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.start(t, &httpd.Server{BaseContext: func(net.Listener) context.Context { return nil }}, func(st *site) {
			if _, err := st.Listen("tcp", "127.0.0.1:0"); err == nil {
				t.Error("Listen returned no error")
			}
		})
	})
}

func TestContextsWithValuesNeedNoGoroutine(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		type key struct{}
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			before := runtime.NumGoroutine()
			for range 100 {
				_, cancel := context.WithCancel(context.WithValue(r.Context(), key{}, 1))
				defer cancel()
			}
			if n := runtime.NumGoroutine() - before; n > 10 {
				t.Errorf("a hundred contexts made %d goroutines", n)
			}
		})
		st.dial().exchange(get, "")
	})
}
