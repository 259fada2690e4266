package httpd_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

func TestATakenOverConnectionSpeaksAnotherProtocol(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		h := newHeir(t)
		st := w.serve(t, bequeathing(t, func() sluice.Handler { return h }))
		c := st.dial()
		c.exchange(get, "")            // on the same connection
		c.send(ask(way), "early\nfir") // in the request's packet
		c.switched()
		c.line("echo early")
		c.send("st\n")
		c.line("echo first")
		for _, b := range "byte by byte\n" {
			c.send(string(b))
			pause()
		}
		c.line("echo byte by byte")
		if s := st.Stats(); s.Hijacked != 1 || s.Conns != 1 {
			t.Errorf("Stats are %+v", s)
		}
		c.bye()
		if err := h.expect("OnOpen OnData OnClose"); err != nil {
			t.Errorf("OnClose is given %v", err)
		}
		eventually(t, "the connection not to be counted any more", func() bool { s := st.Stats(); return s.Hijacked == 0 && s.Conns == 0 })
	})
}

func TestRequestsBeforeTheOneThatTakesOverAreAnsweredBefore(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		answers := bequeathing(t, func() sluice.Handler { return newHeir(t) })
		takes := answers.LoopHandler
		answers.LoopHandler = func(x *httpd.RequestCtx) bool {
			if string(x.Path()) == "/quick" {
				_, _ = x.WriteString("quick")
				return true
			}
			return takes(x)
		}
		c := w.serve(t, answers).dial()
		quick, slow := ask("/quick"), post("/slow", "slow")
		c.send(quick, slow, quick, quick, slow, ask(way), "GET / HTTP/1.1\n", "bye\n")
		for _, body := range []string{"quick", "slow", "quick", "quick", "slow"} {
			c.expect(200, body)
		}
		c.switched()
		c.line("echo GET / HTTP/1.1") // which is no request any more
		c.line("echo bye")
		c.over()
	})
}

func TestWhatCameBeforeAConnectionIsTakenOverIsNotLost(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step := make(chan struct{}, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			<-step
			give(t, w, newHeir(t))
		})
		for _, n := range []int{1, 70, 500} { // KB; the server does not read so far ahead
			c := st.dial()
			long := strings.Repeat("x", 1023) + "\n"
			c.send(get)
			sent := make(chan error, 1)
			go func() {
				_, err := io.WriteString(c, strings.Repeat(long, n))
				sent <- err
			}()
			time.Sleep(10 * time.Millisecond)
			step <- struct{}{}
			c.switched()
			for range n {
				c.line("echo " + strings.TrimSpace(long))
			}
			if err := receive(t, "all to be sent", sent); err != nil {
				t.Errorf("sending: %v", err)
			}
			c.bye()
		}
	})
}

func TestAConnectionIsTakenOverOverTLS(t *testing.T) {
	for _, way := range ways {
		h := newHeir(t)
		st := bequeathing(t, func() sluice.Handler { return h })
		ts := httptest.NewUnstartedServer(nil) // for its certificate
		ts.StartTLS()
		st.TLSConfig = ts.TLS
		ts.Close()
		ln, err := st.ListenTLS("tcp", "127.0.0.1:0", "", "")
		if err != nil {
			t.Fatal(err)
		}
		c := dialTLS(t, ln.Addr())
		c.send(ask(way), "early\nlat")
		c.switched()
		c.line("echo early")
		c.send("er\n")
		c.line("echo later")
		c.bye()
		h.expect("OnOpen OnData OnClose")
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestShutdownNeitherClosesNorAwaitsConnectionsThatWereTakenOver(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		st := w.serve(t, bequeathing(t, func() sluice.Handler { return newHeir(t) }))
		c := st.dial()
		c.send(ask(way), "one\n")
		c.switched()
		c.line("echo one")
		st.CloseConns()
		st.SetKeepAlivesEnabled(false)
		for _, end := range []func() error{func() error { return st.Shutdown(context.Background()) }, st.Close} {
			if err := end(); err != nil {
				t.Errorf("ending the server: %v", err)
			}
			c.send("two\n")
			c.line("echo two")
		}
		c.bye()
	})
}

func TestShutdownDoesNotWaitForAConnectionThatIsTakenOverMeanwhile(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		begun, step := make(chan struct{}), make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			close(begun)
			<-step
			give(t, w, newHeir(t))
		})
		c := st.dial()
		c.send(get, "early\n")
		receive(t, "the handler", begun)
		over := make(chan error, 1)
		go func() { over <- st.Shutdown(context.Background()) }()
		c.silent(5 * time.Millisecond)
		close(step)
		if err := receive(t, "Shutdown", over); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		c.switched()
		c.line("echo early")
		c.bye()
	})
}

func TestThePeersEndIsTheOwners(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		for _, late := range []bool{false, true} { // the end comes with the request, or later
			for _, early := range []string{"", "early\n"} {
				owners := make(chan sluice.Handler, 1)
				calls := strings.ReplaceAll("OnOpen OnData OnClose", "OnData ", map[bool]string{true: "OnData "}[early != ""])
				st := w.serve(t, bequeathing(t, func() sluice.Handler { return <-owners }))
				answer := func(c *client) {
					c.switched()
					if early != "" {
						c.line("echo early")
					}
				}
				for _, half := range []bool{false, true} {
					h := newHeir(t)
					if half {
						owners <- halfHeir{h}
						calls = strings.Replace(calls, "OnClose", "OnEOF OnClose", 1)
					} else {
						owners <- h
					}
					c := st.dial()
					c.send(ask(way), early)
					if late {
						answer(c)
					}
					c.closeWrite()
					if !late {
						answer(c)
					}
					if half {
						c.line("end")
					}
					c.over()
					if err := h.expect(calls); half && err != nil || !half && err != io.EOF {
						t.Errorf("OnClose is given %v", err)
					}
				}
			}
		}
	})
}

func TestThePeersEndWaitsForTheOwnersJobs(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		h, ended := newHeir(t), make(chan struct{})
		h.line = func(c sluice.Conn, line string) {
			_ = c.Offload(func(c sluice.Conn) {
				<-ended
				_, _ = c.WriteString("job " + line)
			})
		}
		c := w.serve(t, bequeathing(t, func() sluice.Handler { return h })).dial()
		c.send(ask(way), "one\ntwo\n")
		c.switched()
		c.closeWrite()
		time.Sleep(5 * time.Millisecond)
		close(ended)
		c.line("job one")
		c.line("job two")
		c.over()
		h.expect("OnOpen OnData OnClose")
	})
}

func TestAPeerThatIsGoneBeforeItsConnectionIsTakenOver(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, answer := range []string{"", switched} {
			h, begun, step, result := newHeir(t), make(chan struct{}), make(chan struct{}), make(chan error)
			st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
				close(begun)
				<-step
				<-r.Context().Done()
				_, err := httpd.TakeOver(w, []byte(answer), h)
				result <- err
			})
			c := st.dial()
			c.send(get)
			receive(t, "the handler", begun)
			c.reset()
			close(step)
			if err := receive(t, "TakeOver", result); err == nil {
				t.Error("TakeOver returned nil")
			}
			eventually(t, "the connection to end", func() bool { return st.Stats().Conns == 0 })
			if calls := *h.calls.Load(); len(calls) > 0 {
				t.Errorf("%v were called", calls)
			}
		}
	})
}

func TestAPeerThatGoesWhileItsConnectionIsTakenOver(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		owners := make(chan *heir, 1)
		begun, result := make(chan struct{}), make(chan error, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			_, err := httpd.TakeOver(w, nil, <-owners)
			result <- err
		})
		for i := range 40 {
			h := newHeir(t)
			owners <- h
			c := st.dial()
			c.send(get, strings.Repeat("early\n", i%3))
			<-begun
			time.Sleep(time.Duration(i) * time.Microsecond)
			c.reset()
			if err := receive(t, "TakeOver", result); err == nil {
				_ = receive(t, "OnClose", h.closed)
			}
			eventually(t, "the connection to end", func() bool { s := st.Stats(); return s.Conns == 0 && s.Hijacked == 0 })
		}
	})
}

func TestAnOwnerHearsOfTheEndWhileTheHandlerIsAtWork(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		h, hungUp := newHeir(t), make(chan error, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			c := give(t, w, sluice.Funcs{
				Open: h.OnOpen, Data: h.OnData, Close: h.OnClose,
				Hangup: func(c sluice.Conn, err error) { hungUp <- err },
			})
			_, _ = c.WriteString("from the handler\n") // a Conn is for every goroutine
			if err := receive(t, "OnHangup", hungUp); err != nil {
				t.Errorf("OnHangup is given %v", err)
			}
			select {
			case <-h.closed:
				t.Error("OnClose was called beside the handler")
			default:
			}
		})
		c := st.dial()
		c.send(get)
		c.switched()
		c.line("from the handler")
		c.bye()
		h.expect("OnOpen OnData OnClose")
	})
}

func TestAnOwnerIsToldWhenItMayGoOnWriting(t *testing.T) {
	const pieces = 64
	piece := pattern(64 << 10)
	eachWay(t, func(t *testing.T, w *world, way string) {
		left, drains := pieces, 0
		write := func(c sluice.Conn) {
			for ; left > 0 && !c.AboveHighWater(); left-- {
				if _, err := c.Write(piece); err != nil {
					t.Errorf("Write: %v", err)
				}
			}
			if left == 0 {
				_ = c.Close()
			}
		}
		closed := make(chan error, 1)
		st := w.serve(t, bequeathing(t, func() sluice.Handler {
			return sluice.Funcs{
				Open:  write,
				Drain: func(c sluice.Conn) { drains++; write(c) },
				Close: func(c sluice.Conn, err error) { closed <- err },
			}
		}))
		c := st.narrow()
		c.send(ask(way))
		c.switched()
		p := make([]byte, len(piece))
		for range pieces {
			if _, err := io.ReadFull(c.r, p); err != nil || string(p) != string(piece) {
				t.Fatalf("read something else, %v", err)
			}
		}
		c.over()
		if err := receive(t, "OnClose", closed); err != nil || drains == 0 {
			t.Errorf("OnClose is given %v after %d drains", err, drains)
		}
	})
}

// pinging is an heir that sends something when it receives nothing.
type pinging struct{ *heir }

func (h pinging) OnOpen(c sluice.Conn) {
	h.heir.OnOpen(c)
	if err := c.SetReadIdle(2 * time.Millisecond); err != nil {
		h.t.Errorf("SetReadIdle: %v", err)
	}
}

func (h pinging) OnReadIdle(c sluice.Conn) {
	h.call("OnReadIdle")
	_, _ = c.WriteString("ping\n")
}

func TestAnOwnerHearsThatNothingIsReceived(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		h := newHeir(t)
		c := w.serve(t, bequeathing(t, func() sluice.Handler { return pinging{h} })).dial()
		c.send(ask(way))
		c.switched()
		for range 3 {
			c.line("ping")
		}
		_ = c.Close()
		if err := h.expect("OnOpen OnReadIdle OnClose"); err != io.EOF {
			t.Logf("OnClose is given %v", err) // a reset, if a ping was on its way
		}
	})
}

func TestTheServersTimeLimitsEndWhenAConnectionIsTakenOver(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		const limit = 30 * time.Millisecond
		s := bequeathing(t, func() sluice.Handler { return newHeir(t) })
		s.ReadTimeout, s.WriteTimeout, s.IdleTimeout, s.ReadHeaderTimeout = limit, limit, limit, limit
		c := w.serve(t, s).dial()
		c.send(ask(way))
		c.switched()
		c.silent(3 * limit)
		c.send("still here\n")
		c.line("echo still here")
		c.silent(3 * limit)
		c.bye()
	})
}

func TestConnStateCallsATakenOverConnectionHijacked(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		var seen states
		s := bequeathing(t, func() sluice.Handler { return newHeir(t) })
		s.ConnState = seen.hook
		st := w.serve(t, s)
		c := st.dial()
		c.send(ask(way))
		c.switched()
		seen.expect(t, c, "new active hijacked")
		c.bye()
		eventually(t, "the connection to end", func() bool { return st.Stats().Conns == 0 })
		seen.expect(t, c, "new active hijacked")
	})
}

func TestAPanicOfAnOwnerCostsItsConnection(t *testing.T) {
	eachWay(t, func(t *testing.T, w *world, way string) {
		var opens, closes atomic.Int32
		at := make(chan string, 1)
		closed := make(chan error, 1)
		st := w.serve(t, bequeathing(t, func() sluice.Handler {
			here := <-at
			check := func(callback string) {
				if here == callback {
					panic("in " + callback)
				}
			}
			return sluice.Funcs{
				Open:  func(sluice.Conn) { opens.Add(1); check("OnOpen") },
				Data:  func(_ sluice.Conn, in *buffer.LinkBuffer) { check("OnData") },
				EOF:   func(sluice.Conn) { check("OnEOF") },
				Close: func(_ sluice.Conn, err error) { closes.Add(1); closed <- err; check("OnClose") },
			}
		}))
		for i, name := range []string{"OnOpen", "OnData", "OnEOF", "OnClose"} {
			at <- name
			c := st.dial()
			c.send(ask(way), "x")
			if name == "OnEOF" {
				c.closeWrite()
			}
			if name == "OnClose" {
				c.switched()
				c.reset()
			} else {
				c.broken()
				_ = c.Close()
			}
			err := receive(t, "OnClose", closed)
			var p *sluice.PanicError
			if errors.As(err, &p) != (name != "OnClose") || opens.Load() != int32(i+1) || closes.Load() != int32(i+1) {
				t.Errorf("%s: OnClose is given %v; %d opened, %d closed", name, err, opens.Load(), closes.Load())
			}
			eventually(t, "the connection to end", func() bool { s := st.Stats(); return s.Conns == 0 && s.Hijacked == 0 })
		}
	})
}

func TestAPanicAfterTakeOverLeavesTheConnectionToItsOwner(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				give(t, w, newHeir(t))
				panic("in the handler")
			}),
			LoopHandler: func(x *httpd.RequestCtx) bool {
				if string(x.Path()) != "/loop" {
					return false
				}
				x.TakeOver([]byte(switched), newHeir(t))
				panic("in the LoopHandler")
			},
		})
		for path, text := range map[string]string{"/": "in the handler", "/loop": "in the LoopHandler"} {
			c := st.dial()
			c.send(ask(path), "one\n")
			c.switched()
			c.line("echo one")
			st.log.expect(t, text)
			c.bye()
		}
	})
}

// dialTLS connects over TLS, to whoever it is.
func dialTLS(t *testing.T, addr net.Addr) *client {
	t.Helper()
	c := (&site{t: t, addr: addr}).dial()
	secured := tls.Client(c.Conn, &tls.Config{InsecureSkipVerify: true})
	return &client{secured, t, bufio.NewReader(secured)}
}
