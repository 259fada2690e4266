package httpd_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

// switched is the answer of those who take over.
const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"

// heir serves a connection that was taken over: it sends back lines until one
// is "bye", and checks the order of its callbacks.
type heir struct {
	t      *testing.T
	line   func(c sluice.Conn, line string) // in place of sending it back
	calls  atomic.Pointer[[]string]
	closed chan error
}

func newHeir(t *testing.T) *heir {
	h := &heir{t: t, closed: make(chan error, 1)}
	h.calls.Store(new([]string))
	return h
}

// call notes a callback; they never overlap.
func (h *heir) call(name string) {
	before := *h.calls.Load()
	switch first, over := len(before) == 0, len(before) > 0 && before[len(before)-1] == "OnClose"; {
	case (name == "OnOpen") != first, over:
		h.t.Errorf("%s after %v", name, before)
	case !first && before[len(before)-1] == name:
		return // again
	}
	after := append(before[:len(before):len(before)], name)
	h.calls.Store(&after)
}

// expect waits for the end and checks what was called.
func (h *heir) expect(calls string) error {
	h.t.Helper()
	err := receive(h.t, "OnClose", h.closed)
	if got := strings.Join(*h.calls.Load(), " "); got != calls {
		h.t.Errorf("the callbacks are %s; want %s", got, calls)
	}
	return err
}

func (h *heir) OnOpen(c sluice.Conn) { h.call("OnOpen") }

func (h *heir) OnData(c sluice.Conn, in *buffer.LinkBuffer) {
	h.call("OnData")
	for {
		n := bytes.IndexByte(in.Bytes(), '\n') + 1
		if n == 0 {
			return
		}
		p, err := in.Next(n)
		if err != nil {
			h.t.Error(err)
		}
		if line := string(p); h.line != nil {
			h.line(c, line)
		} else if _, _ = c.WriteString("echo " + line); line == "bye\n" {
			_ = c.Close()
		}
	}
}

func (h *heir) OnClose(c sluice.Conn, err error) {
	h.call("OnClose")
	h.closed <- err
}

// halfHeir is an heir that hears of the peer's end.
type halfHeir struct{ *heir }

func (h halfHeir) OnEOF(c sluice.Conn) {
	h.call("OnEOF")
	_, _ = c.WriteString("end\n")
	_ = c.CloseWrite() // which closes, since the peer has ended, too
}

// middleware is what middleware makes of a ResponseWriter.
type middleware struct{ http.ResponseWriter }

func (w middleware) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// opaque is middleware without Unwrap.
type opaque struct{ http.ResponseWriter }

// give takes a connection over, in a handler.
func give(t *testing.T, w http.ResponseWriter, h sluice.Handler) sluice.Conn {
	c, err := httpd.TakeOver(w, []byte(switched), h)
	if err != nil {
		t.Errorf("TakeOver: %v", err)
	}
	return c
}

// ways are the paths under which bequeathing takes over.
var ways = []string{"/handler", "/wrapped", "/loop"}

// bequeathing is a server that has a new handler take over every connection,
// in one of the ways.
func bequeathing(t *testing.T, made func() sluice.Handler) *httpd.Server {
	return &httpd.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/handler":
				give(t, w, made())
			case "/wrapped":
				give(t, middleware{middleware{w}}, made())
			default:
				readAll(w, r)
			}
		}),
		LoopHandler: func(x *httpd.RequestCtx) bool {
			if string(x.Path()) != "/loop" {
				return false
			}
			x.TakeOver([]byte(switched), made())
			x.SetStatus(500) // of no effect any more
			x.Close()
			_, _ = io.WriteString(x, "nothing")
			return true
		},
	}
}

// eachWay runs a test in every world and in every way.
func eachWay(t *testing.T, test func(t *testing.T, w *world, way string)) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, way := range ways {
			t.Run(way[1:], func(t *testing.T) { test(t, w, way) })
		}
	})
}

// switched reads the answer of those who take over.
func (c *client) switched() {
	c.t.Helper()
	p := make([]byte, len(switched))
	if _, err := io.ReadFull(c.r, p); err != nil || string(p) != switched {
		c.t.Fatalf("the answer is %q, %v", p, err)
	}
}

// bye has an heir end its connection.
func (c *client) bye() {
	c.t.Helper()
	c.send("bye\n")
	c.line("echo bye")
	c.over()
}

// over reads the end of the connection and ends the other direction: the server
// would wait for that.
func (c *client) over() {
	c.t.Helper()
	c.ended()
	_ = c.Close()
}
