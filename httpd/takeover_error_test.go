package httpd_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
)

func TestAfterAFailedTakeOverTheRequestIsAnswered(t *testing.T) {
	none := func(w http.ResponseWriter, r *http.Request) {}
	tests := []struct {
		name    string
		request string
		before  func(w http.ResponseWriter, r *http.Request)
		wrap    func(w http.ResponseWriter) http.ResponseWriter
		owner   sluice.Handler
		answer  string
		want    string // of the error
	}{
		{name: "no handler", request: get, want: "nil handler"},
		{name: "begun", request: get, before: func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) }, owner: sluice.Funcs{}, want: "answer has begun"},
		{name: "written", request: get, before: func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "") }, owner: sluice.Funcs{}, want: "answer has begun"},
		{name: "a body", request: post("/", "body"), owner: sluice.Funcs{}, want: "read to its end"},
		{name: "half a body", request: post("/", "body"), before: func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.ReadFull(r.Body, make([]byte, 2))
		}, owner: sluice.Funcs{}, want: "read to its end"},
		{name: "a long answer", request: get, owner: sluice.Funcs{}, answer: strings.Repeat("x", 100<<20), want: "too many bytes"},
		{name: "opaque", request: get, wrap: func(w http.ResponseWriter) http.ResponseWriter { return opaque{w} }, owner: sluice.Funcs{}, want: "opaque"},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				before, wrap := test.before, test.wrap
				if before == nil {
					before = none
				}
				if wrap == nil {
					wrap = func(w http.ResponseWriter) http.ResponseWriter { return w }
				}
				st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
					before(w, r)
					c, err := httpd.TakeOver(wrap(w), []byte(test.answer), test.owner)
					if c != (sluice.Conn{}) || err == nil || !strings.Contains(err.Error(), test.want) || errors.Is(err, errors.ErrUnsupported) != (test.wrap != nil) {
						t.Errorf("TakeOver: %v", err)
					}
					_, _ = io.Copy(w, r.Body)
					_, _ = io.WriteString(w, "answered")
				})
				c := st.dial()
				_, body, _ := strings.Cut(test.request, "\r\n\r\n")
				if test.name == "half a body" {
					body = body[2:]
				}
				for range 2 {
					c.exchange(test.request, body+"answered")
				}
				if s := st.Stats(); s.Hijacked != 0 {
					t.Errorf("Stats are %+v", s)
				}
			})
		}
	})
}

func TestAConnectionIsTakenOverAfterTheBodyWasRead(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/early" {
				if _, err := httpd.TakeOver(w, nil, sluice.Funcs{}); err == nil {
					t.Error("TakeOver while the body is coming")
				}
			}
			b, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			give(t, w, newHeir(t))
			if _, err := r.Body.Read(make([]byte, 1)); err == nil {
				t.Error("the body can still be read")
			}
			if len(b) != 100_000 {
				t.Errorf("the body has %d bytes", len(b))
			}
		})
		for _, path := range []string{"/", "/early"} {
			body := strings.Repeat("x", 100_000)
			for _, request := range []string{post(path, body), chunked(path, body[:60_000], body[60_000:])} {
				c := st.dial()
				c.send(request[:70_000])
				c.send(request[70_000:], "early\n")
				c.switched()
				c.line("echo early")
				c.bye()
			}
		}
		c := st.dial()
		c.send(expecting("/", 100_000))
		if resp := c.head("POST"); resp.StatusCode != http.StatusContinue {
			t.Errorf("got %v", resp)
		}
		c.send(strings.Repeat("x", 100_000), "early\n")
		c.switched()
		c.line("echo early")
		c.bye()
	})
}

func TestTheResponseWriterOfATakenOverConnectionIsOfNoUse(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		step := make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			give(t, w, newHeir(t))
			rc := http.NewResponseController(w)
			_, written := w.Write([]byte("x"))
			_, copied := w.(io.ReaderFrom).ReadFrom(strings.NewReader("x"))
			_, _, hijacked := rc.Hijack()
			_, again := httpd.TakeOver(w, nil, newHeir(t))
			for i, err := range []error{written, copied, hijacked, again, rc.Flush(), rc.SetWriteDeadline(time.Unix(1, 0))} {
				if err != http.ErrHijacked {
					t.Errorf("%d: %v", i, err)
				}
			}
			w.WriteHeader(500)
			<-step // and nothing is written when it returns
		})
		c := st.dial()
		c.send(get, "one\n")
		c.switched()
		c.line("echo one")
		st.log.expect(t, "WriteHeader on a hijacked connection from github.com/sluice-go/sluice/httpd_test.")
		close(step)
		c.send("two\n")
		c.line("echo two")
		c.bye()
	})
}

func TestAHijackedConnectionCannotBeTakenOver(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := httpd.TakeOver(w, nil, newHeir(t)); err != http.ErrHijacked {
				t.Errorf("TakeOver: %v", err)
			}
			_ = c.Close()
		})
		c := st.dial()
		c.send(get)
		c.over()
	})
}

func TestTakeOverAfterTheHandlerPanics(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		kept := make(chan http.ResponseWriter, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) { kept <- w })
		st.dial().exchange(get, "")
		defer func() {
			if v := recover(); v == nil {
				t.Error("no panic")
			}
		}()
		_, _ = httpd.TakeOver(<-kept, nil, newHeir(t))
	})
}

func TestOtherServersConnectionsCannotBeTakenOver(t *testing.T) {
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, w := range []http.ResponseWriter{w, middleware{w}, httptest.NewRecorder(), nil} {
			if _, err := httpd.TakeOver(w, nil, newHeir(t)); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("TakeOver of a %T: %v", w, err)
			}
		}
	}))
	defer ts.Close()
	resp, err := ts.Client().Get(ts.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
}

func TestAMisusedTakeOverOfALoopHandlerCostsItsConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		owners := make(chan *heir, 1)
		st := w.serve(t, looping(func(x *httpd.RequestCtx) {
			if string(x.Path()) == "/nil" {
				x.TakeOver(nil, nil)
			}
			x.TakeOver([]byte(switched), <-owners)
			x.TakeOver(nil, newHeir(t)) // panics: the first counts
		}))
		c := st.dial()
		c.send(ask("/nil"))
		c.over()
		st.log.expect(t, "nil handler")
		h := newHeir(t)
		owners <- h
		c = st.dial()
		c.send(ask("/twice"), "one\n")
		c.switched()
		c.line("echo one")
		st.log.expect(t, "TakeOver called twice")
		c.bye()
		h.expect("OnOpen OnData OnClose")
		c = st.dial()
		owners <- newHeir(t)
		c.send("HEAD / HTTP/1.0\r\n\r\n") // whatever asked for it
		c.switched()
		c.bye()
	})
}
