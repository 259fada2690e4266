package websocket_test

import (
	"context"
	"errors"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/websocket"
)

func TestShutdownHeedsItsContextWhileALoopIsBusy(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const members = 6
		r := newRoom(t, w, &websocket.Server{}, members, 0)
		free := occupy(t, r.members[0].conn)
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- r.Shutdown(ctx) }()
		select {
		case err := <-ended:
			t.Fatalf("Shutdown does not wait: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		cancel()
		if err := receive(t, "Shutdown", ended); !errors.Is(err, context.Canceled) { // the loop is busy
			t.Errorf("Shutdown: %v, want context.Canceled", err)
		}
		free()
		for i, m := range r.members {
			if err := receive(t, "OnClose", m.closed); !errors.Is(err, sluice.ErrAborted) {
				t.Errorf("member %d: OnClose was given %v, want ErrAborted", i, err)
			}
		}
		r.refused()
	})
}

func TestNothingOpensBehindShutdown(t *testing.T) {
	const rounds, clients = 10, 20
	eachWorld(t, func(t *testing.T, w *world) {
		for round := range rounds {
			var over atomic.Bool
			s := &websocket.Server{Handler: websocket.Funcs{Open: func(*websocket.Conn) {
				if over.Load() {
					t.Error("OnOpen behind Shutdown")
				}
			}}}
			eng, text := w.engine(t)
			var ln *sluice.Listener
			var err error
			closeAll := eng.Close
			if w.way == onListener {
				ln, err = eng.Listen("tcp", "127.0.0.1:0", s.Protocol())
			} else {
				hs := &httpd.Server{Engine: eng, Handler: s, ErrorLog: log.New(text, "", 0)}
				ln, err = hs.Listen("tcp", "127.0.0.1:0")
				closeAll = hs.Close
			}
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			var begun atomic.Int64
			for range clients {
				wg.Go(func() {
					c, err := net.Dial("tcp", ln.Addr().String())
					begun.Add(1)
					if err != nil {
						return
					}
					defer c.Close()
					_ = c.SetDeadline(time.Now().Add(bound))
					_, _ = io.WriteString(c, hello())
					r := reader(c)
					if resp, err := http.ReadResponse(r, nil); err == nil && resp.StatusCode == http.StatusSwitchingProtocols {
						_, _ = r.ReadByte() // of the Close frame
					}
				})
			}
			for begun.Load() < int64(round*clients/rounds) { // each time at another moment
				time.Sleep(50 * time.Microsecond)
			}
			ended := make(chan error, 1)
			go func() { // without a deadline, so that the closing is not spread
				ended <- s.Shutdown(context.Background())
				over.Store(true)
			}()
			if err := receive(t, "Shutdown", ended); err != nil {
				t.Errorf("Shutdown: %v", err)
			}
			if n := s.Stats().Conns; n != 0 {
				t.Errorf("behind Shutdown there are %d connections", n)
			}
			wg.Wait()
			if err := closeAll(); err != nil {
				t.Error(err)
			}
		}
	})
}

func TestHandshakesThatFailDoNotKeepShutdownFromReturning(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		s := &websocket.Server{Handler: rec, Accept: func(r *websocket.Request) (any, error) {
			switch r.Query() {
			case "panic":
				panic("a panic in Accept")
			case "refuse":
				return nil, errors.New("not you")
			}
			return nil, nil
		}}
		st := w.serve(t, s)
		for _, q := range []string{"panic", "refuse", "panic"} {
			c := st.dial()
			c.send(strings.Replace(hello(), "a=1", q, 1))
			_, _ = http.ReadResponse(c.r, nil)
			_ = c.Close()
		}
		c := st.open()
		_ = rec.conn()
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(within(t, bound)) }()
		c.expect(closing, closePayload(websocket.GoingAway, ""))
		c.send(closeFrame(websocket.GoingAway, ""))
		c.over()
		if err := receive(t, "Shutdown", ended); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
	})
}

func TestAWrongURLIsToldWithoutItsPassword(t *testing.T) {
	eng, _ := (&world{driver: sluice.Drivers()[0]}).engine(t)
	d := &websocket.Dialer{Engine: eng, Handler: newRecorder(t)}
	const hidden = "pa55word"
	for _, try := range []struct{ url, want string }{
		{"ws://127.0.0.1:1/?a=b c", "space"},
		{"ws://127.0.0.1:1/?a=b&c=d ", "space"},
		{"ws://me:" + hidden + "@127.0.0.1:1/?a b", "space"},
		{"ws://me:" + hidden + "@127.0.0.1:port/", "escape"},
		{"ws://me:" + hidden + "@127.0.0.1:1/%zz", "escape"},
		{"ws://me:" + hidden + "@[::1/", "escape"},
		{"ws://me:" + hidden + "@a host/", "escape"},
		{"ws://me:" + hidden + "@127.0.0.1:1/\x7f", "escape"},
		{"ws://me:" + hidden + " @127.0.0.1:1/", "escape"},
		{"ws://me:" + hidden + "@127.0.0.1:1/#fragment", "#"},
		{"ws://me:" + hidden + "/et@127.0.0.1:1/", "escape"},
		{"ws://me:1" + hidden + "#et@127.0.0.1:1/", "escape"},
		{"ws://me:55#et@127.0.0.1:1/", "#"},
		{"ws://127.0.0.1:port/", "port"},
		{"http://me:" + hidden + "@127.0.0.1:1/", "form"},
	} {
		_, err := d.Dial(bounded(t), try.url, nil)
		if err == nil || !strings.Contains(err.Error(), try.want) {
			t.Errorf("%q: %v, want one about %q", try.url, err, try.want)
		} else if strings.Contains(err.Error(), hidden) {
			t.Errorf("%q: the error shows the password: %v", try.url, err)
		}
	}
}

// logged has what is logged by default go into a text until the test ends.
func logged(t *testing.T) *logText {
	text := &logText{}
	before, out, flags := slog.Default(), log.Writer(), log.Flags()
	slog.SetDefault(slog.New(slog.NewTextHandler(text, nil)))
	t.Cleanup(func() {
		slog.SetDefault(before)
		log.SetOutput(out)
		log.SetFlags(flags)
	})
	return text
}

func TestWrongSettingsAreLoggedOnce(t *testing.T) {
	const said = "handshakes are refused"
	eachDriver(t, func(t *testing.T, w *world) {
		for _, way := range []string{"ServeHTTP", "ServeLoop", "Protocol", "Upgrade"} {
			t.Run(way, func(t *testing.T) {
				text := logged(t)
				s := &websocket.Server{}
				w := &world{driver: w.driver, way: onListener}
				answered := make(chan error, 3)
				var st *site
				switch way {
				case "Protocol":
					st = w.serve(t, s)
				case "ServeLoop":
					st = &site{Server: s, t: t}
					st.eng, st.log = w.engine(t)
					hs := &httpd.Server{Engine: st.eng, ErrorLog: log.New(st.log, "", 0), LoopHandler: func(x *httpd.RequestCtx) bool {
						s.ServeLoop(x)
						return true
					}}
					t.Cleanup(func() { _ = hs.Close() })
					ln, err := hs.Listen("tcp", "127.0.0.1:0")
					if err != nil {
						t.Fatal(err)
					}
					st.addr = ln.Addr()
				default:
					w.way = overHTTP
					st = w.handle(t, s, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
						var err error
						if way == "Upgrade" {
							_, err = s.Upgrade(rw, r, nil)
						} else {
							s.ServeHTTP(rw, r)
						}
						answered <- err
					}))
				}
				for range 3 {
					c := st.dial()
					c.send(hello("Connection: close"))
					if resp := c.response(); resp.StatusCode != http.StatusInternalServerError {
						t.Errorf("the answer is %s, want 500", resp.Status)
					}
					_ = c.Close()
					switch way {
					case "Upgrade":
						if err := receive(t, "Upgrade", answered); err == nil || !strings.Contains(err.Error(), "Server.Handler is nil") {
							t.Errorf("Upgrade: %v", err)
						}
					case "ServeHTTP":
						_ = receive(t, "ServeHTTP", answered)
					}
				}
				got, want := text.String(), 1
				if way == "Upgrade" { // which has told
					want = 0
				}
				if n := strings.Count(got, said); n != want || want > 0 && !strings.Contains(got, "Server.Handler is nil") {
					t.Errorf("it was logged %d times, want %d: %s", n, want, got)
				}
			})
		}
	})
}

func TestUpgradeBehindTheAnswerIsAnError(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.way = overHTTP
		rec := echoing(t)
		s := &websocket.Server{Handler: rec}
		errs := make(chan error, 1)
		st := w.handle(t, s, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			switch r.URL.RawQuery {
			case "twice":
				if _, err := s.Upgrade(rw, r, nil); err != nil {
					t.Errorf("Upgrade: %v", err)
				}
			case "flushed":
				_, _ = io.WriteString(rw, "begun")
				_ = http.NewResponseController(rw).Flush()
			case "written":
				_, _ = io.WriteString(rw, "begun")
			case "head":
				rw.WriteHeader(http.StatusAccepted)
			}
			_, err := s.Upgrade(rw, r, nil)
			errs <- err
		}))
		for _, how := range []string{"head", "written", "flushed", "twice"} {
			c := st.dial()
			c.send(strings.Replace(hello(), "a=1", how, 1))
			if how == "twice" {
				c.switched()
			} else {
				resp, want, status := c.response(), "begun", http.StatusOK
				if how == "head" {
					want, status = "", http.StatusAccepted
				}
				body, err := io.ReadAll(resp.Body)
				if string(body) != want || err != nil || resp.StatusCode != status {
					t.Errorf("%s: the answer is %s %q (%v)", how, resp.Status, body, err)
				}
			}
			if err := receive(t, "Upgrade", errs); err == nil || !strings.HasPrefix(err.Error(), "websocket: Upgrade") {
				t.Errorf("%s: the error is %v", how, err)
			}
			if how == "twice" {
				c.send(frame(text, "it works"))
				c.expect(text, "it works")
				c.bye()
			}
			_ = c.Close()
		}
		if err := s.Shutdown(within(t, bound)); err != nil { // none is taken for one that is to come
			t.Errorf("Shutdown: %v", err)
		}
	})
}
