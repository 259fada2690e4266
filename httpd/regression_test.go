package httpd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
)

// arrived waits until the server has received n bytes.
func (st *site) arrived(n int) {
	st.t.Helper()
	eventually(st.t, "the bytes to arrive", func() bool { return st.bytesIn() >= int64(n) })
}

// shutdown begins an orderly end that nothing but the connections' ends ends.
func (st *site) shutdown() chan error {
	down := make(chan error, 1)
	go func() { down <- st.Shutdown(context.Background()) }()
	eventually(st.t, "the listener to be closed", func() bool {
		c, err := net.Dial("tcp", st.addr.String())
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	return down
}

func TestABodyCutShortBehindAPipelinedRequestIsAnError(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		step, read, gone := make(chan struct{}), make(chan error, 1), make(chan struct{})
		st := w.serve(t, &httpd.Server{Handler: paths{
			"/wait": func(w http.ResponseWriter, r *http.Request) { <-step },
			"/read": func(w http.ResponseWriter, r *http.Request) {
				_, err := io.Copy(io.Discard, r.Body)
				read <- err
				<-r.Context().Done()
				gone <- struct{}{}
			},
		}})
		for _, request := range []string{
			"POST /read HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
			expecting("/read", 10) + "hello",
			"POST /read HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 70_000),
		} {
			before := st.bytesIn()
			c := st.dial()
			c.send(ask("/wait"), request)
			c.closeWrite()
			st.arrived(int(before) + len(ask("/wait")+request))
			time.Sleep(quiet) // for the end to arrive, too
			step <- struct{}{}
			if err := receive(t, "reading to end", read); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%.30q: reading gave %v", request, err)
			}
			receive(t, "the context to end", gone)
			_ = c.Close()
		}
	})
}

// The end of the client's direction is reported together with the handler's.
func TestPipelinedRequestsAreAnsweredWhenTheEndComesWithTheAnswer(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.Loops = 1
		step, hold, held, finished := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{}, 2)
		st := w.serve(t, &httpd.Server{
			LoopHandler: func(x *httpd.RequestCtx) bool {
				switch string(x.Path()) {
				case "/hold": // the loop, while events gather
					close(held)
					<-hold
				case "/step":
					close(step)
					<-finished // in this callback's time
					time.Sleep(quiet)
				default:
					return false
				}
				return true
			},
			Handler: paths{
				"/first":  func(w http.ResponseWriter, r *http.Request) { <-step },
				"/second": text("second"),
			},
			ConnState: func(c net.Conn, state http.ConnState) {
				if state == http.StateIdle {
					select {
					case finished <- struct{}{}:
					default:
					}
				}
			},
		})
		a, b, h := st.dial(), st.dial(), st.dial()
		a.send(ask("/first"), ask("/second"))
		st.arrived(len(ask("/first") + ask("/second")))
		h.send(ask("/hold"))
		<-held
		b.send(ask("/step"))
		time.Sleep(quiet)
		a.closeWrite()
		time.Sleep(quiet)
		close(hold)
		a.expect(200, "")
		a.expect(200, "second")
		a.ended()
	})
}

func TestAHandlersWriteDeadlineIsNotTheNextOnes(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{Handler: paths{
			"/": text("ok"),
			"/limit": func(w http.ResponseWriter, r *http.Request) {
				if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(soon)); err != nil {
					t.Error(err)
				}
				_, _ = io.WriteString(w, "limited")
			},
		}})
		c := st.dial()
		c.exchange(ask("/limit"), "limited")
		time.Sleep(2 * soon)
		c.exchange(get, "ok")
	})
}

func TestReadTimeoutHoldsForABodyWhoseHandlerHasReturned(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{ReadTimeout: 4 * soon, IdleTimeout: time.Hour, Handler: text("ok")})
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 70_000))
		c.expect(200, "ok")
		go c.trickle(strings.Repeat("x", 20_000))
		c.broken()
	})
}

func TestShutdownClosesAConnectionWhenTheBodyLeftUnreadHasCome(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, text("ok"))
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 70_000))
		c.expect(200, "ok")
		eventually(t, "the handler to be done", func() bool { return st.eng.Stats().Jobs.Running == 0 })
		down := st.shutdown()
		c.silent(quiet) // it is not cut off
		c.send(strings.Repeat("x", 30_000))
		c.ended()
		_ = c.Close()
		if err := receive(t, "Shutdown", down); err != nil {
			t.Error(err)
		}
	})
}

func TestHooksOfListeningMayUseTheServer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := &httpd.Server{Handler: text("ok")}
		s.BaseContext = func(net.Listener) context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			s.RegisterOnShutdown(cancel)
			if n := s.Stats().Conns; n != 0 {
				t.Errorf("%d connections", n)
			}
			return ctx
		}
		w.serve(t, s).dial().exchange(get, "ok")
	})
}

// busy is an address that cannot be listened on.
func busy(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestAServerThatCannotListenLeavesNothing(t *testing.T) {
	address := busy(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before := takeCensus()
	for name, fails := range map[string]func() error{
		"ListenAndServe": func() error { return httpd.ListenAndServe(address, nil) },
		"Serve":          func() error { return httpd.Serve(wrapped{l}, nil) },
		"Listen": func() error {
			_, err := (&httpd.Server{}).Listen("tcp", address)
			return err
		},
		"without a context": func() error {
			s := &httpd.Server{BaseContext: func(net.Listener) context.Context { return nil }}
			_, err := s.Listen("tcp", "127.0.0.1:0")
			return err
		},
	} {
		if err := fails(); err == nil || err == http.ErrServerClosed {
			t.Errorf("%s returned %v", name, err)
		}
	}
	before.descriptors-- // l, which Serve has closed
	eventually(t, "the engines to end", func() bool { return takeCensus().within(before) })
}

func TestAListenerThatFailsLeavesTheServersOthers(t *testing.T) {
	address := busy(t)
	begun, step := make(chan struct{}), make(chan struct{})
	s := &httpd.Server{Handler: text("ok"), BaseContext: func(net.Listener) context.Context {
		close(begun)
		<-step
		return context.Background()
	}}
	(&world{}).start(t, s, func(st *site) {
		other := make(chan error, 1)
		go func() {
			ln, err := s.Listen("tcp", "127.0.0.1:0")
			if err == nil {
				st.addr = ln.Addr()
			}
			other <- err
		}()
		<-begun
		fails := func() {
			if _, err := s.Listen("tcp", address); err == nil || err == http.ErrServerClosed {
				t.Errorf("Listen returned %v", err)
			}
		}
		fails() // while the other begins
		close(step)
		if err := receive(t, "the other", other); err != nil {
			t.Fatalf("the other failed: %v", err)
		}
		st.dial().exchange(get, "ok")
		fails()
		st.dial().exchange(get, "ok")
	})
}

func TestAnIdleConnectionKeepsNothingOfTheServers(t *testing.T) {
	const answer = 100_000
	ways := map[string]func(st *site, c *client){
		"a LoopHandler's request in two parts": func(st *site, c *client) {
			c.send(get[:20])
			st.arrived(20)
			c.send(get[20:])
			c.answer()
		},
		"a LoopHandler held back": func(st *site, c *client) {
			c.send(strings.Repeat(get, 200))
			for range 200 {
				if n := len(c.answer().body); n != answer {
					t.Fatalf("%d bytes came", n)
				}
			}
		},
		"a Handler's": func(st *site, c *client) { c.exchange(post("/handler", "x"), "x") },
		"a Handler's with a long body left unread": func(st *site, c *client) {
			c.send(post("/skip", strings.Repeat("x", 150_000)))
			c.expect(200, "skipped")
		},
	}
	eachDriver(t, func(t *testing.T, w *world) {
		for name, use := range ways {
			w := *w
			w.cfg.HighWater, w.cfg.LowWater = 256<<10, 64<<10
			var ln *sluice.Listener
			s := &httpd.Server{
				Handler: paths{"/handler": readAll, "/skip": text("skipped")},
				LoopHandler: func(x *httpd.RequestCtx) bool {
					_, _ = x.Write(make([]byte, answer))
					return string(x.Path()) == "/"
				},
			}
			st := w.start(t, s, func(st *site) {
				var err error
				if ln, err = s.Listen("tcp", "127.0.0.1:0"); err != nil {
					t.Fatal(err)
				}
				st.addr = ln.Addr()
			})
			c := st.dial()
			use(st, c)
			eventually(t, name+" to leave nothing", func() bool {
				var ctx any = "none"
				ln.Each(func(c sluice.Conn) { ctx = c.Context() })
				return ctx == nil
			})
			c.exchange(post("/handler", "still"), "still")
		}
	})
}

func TestAStreamedBodyHasReadTimeoutWithoutReadHeaderTimeout(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		got := make(chan error, 1)
		st := w.serve(t, &httpd.Server{ReadHeaderTimeout: -1, ReadTimeout: 10 * soon, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			if err == nil && n != 5 {
				t.Errorf("the body has %d bytes", n)
			}
			got <- err
		})})
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
		time.Sleep(soon)
		c.send("5\r\nhello\r\n0\r\n\r\n")
		if err := receive(t, "the body", got); err != nil {
			t.Errorf("a body in time: %v", err)
		}
		c.expect(200, "")
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhell")
		if err := receive(t, "the body", got); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a body that is late: %v", err)
		}
	})
}

// The first part of the bad body is read ahead while another request is
// handled.
func TestABadChunkBehindWhatWasReadAheadLeavesTheHandlerItsTime(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		step, begun := make(chan struct{}), make(chan struct{}, 1)
		st := w.serve(t, &httpd.Server{ReadHeaderTimeout: soon, Handler: paths{
			"/wait": func(w http.ResponseWriter, r *http.Request) { <-step },
			"/bad": func(w http.ResponseWriter, r *http.Request) {
				begun <- struct{}{}
				_, err := io.Copy(io.Discard, r.Body)
				if err == nil {
					t.Error("reading gave no error")
				}
				time.Sleep(4 * soon)
				http.Error(w, "bad", http.StatusTeapot)
			},
		}})
		c := st.dial()
		body := strings.Repeat("3e8\r\n"+strings.Repeat("x", 1000)+"\r\n", 80)
		c.send(ask("/wait"), "POST /bad HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
		st.arrived(64 << 10)
		time.Sleep(quiet) // for what else is read ahead
		close(step)
		c.expect(200, "")
		receive(t, "the handler", begun)
		c.send("zz\r\n")
		c.expect(http.StatusTeapot, "bad\n")
		c.ended()
	})
}
