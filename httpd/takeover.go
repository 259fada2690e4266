package httpd

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
)

var (
	errNoHandler = errors.New("httpd: TakeOver with a nil handler")
	errBegun     = errors.New("httpd: TakeOver after the answer has begun")
	errBodyLeft  = errors.New("httpd: TakeOver before the request's body has been read to its end")
)

// TakeOver ends HTTP on the connection of a request, without leaving a
// goroutine to it as http.Hijacker does: answer is queued, the complete head of
// a 101 Switching Protocols, say, or nothing, and from then on h serves the
// connection on its loop. It is called in an http.Handler; w may be what
// middleware has wrapped, if that has the method Unwrap of
// http.ResponseController.
//
// All that came behind the request and all that comes later goes to h.OnData.
// h.OnOpen is called before any other callback and h.OnClose last, each exactly
// once, even if the connection ends meanwhile; only then OnOpen finds it
// closing or closed. The other interfaces of package sluice for handlers count,
// too, and if h is no EOFHandler, the peer's end closes the connection once the
// jobs offloaded before are done. Bytes behind the request come although OnOpen
// pauses reading. h belongs to this one connection: there it keeps what
// otherwise Conn.SetContext would, which it must not use.
//
// The server's limits of time, its Shutdown, Close and CloseConns have no
// effect on the connection any more, as if it were hijacked, and Stats and
// ConnState call it hijacked. Writing to w fails with http.ErrHijacked. The
// http.Handler should return soon: it is a job of the connection, for which
// h's jobs and OnClose wait, and of which h.OnHangup hears. If it panics, that
// is logged.
//
// With an error nothing has changed and the request can be answered: h is nil,
// the answer has begun, the request has a body that was not read to its end,
// answer could not be queued, the client is gone, the connection was hijacked or taken over before
// (http.ErrHijacked), or another server than httpd serves it
// (errors.ErrUnsupported). After the http.Handler has returned, TakeOver panics.
func TakeOver(w http.ResponseWriter, answer []byte, h sluice.Handler) (sluice.Conn, error) {
	if h == nil {
		return sluice.Conn{}, errNoHandler
	}
	for {
		switch v := w.(type) {
		case *response:
			return v.takeOver(answer, &taken{h: h, behind: true})
		case interface{ Unwrap() http.ResponseWriter }:
			w = v.Unwrap()
		default:
			return sluice.Conn{}, fmt.Errorf("httpd: TakeOver: the request is served by another server than httpd, "+
				"or its http.ResponseWriter is wrapped by one without Unwrap: %T: %w", w, errors.ErrUnsupported)
		}
	}
}

// TakeOver is the function TakeOver for a LoopHandler, which then returns true:
// answer is queued behind the answers before it, and when the LoopHandler has
// returned, h is given the connection and at once the bytes behind the request.
// Methods of x that compose an answer have no effect any more. If answer cannot
// be queued, the connection ends, of which h hears. A second call panics, and
// so does one with a nil h.
func (x *RequestCtx) TakeOver(answer []byte, h sluice.Handler) {
	switch {
	case h == nil:
		panic(errNoHandler)
	case x.taken != nil:
		panic("httpd: TakeOver called twice")
	}
	x.batch = append(x.batch, answer...)
	x.taken = &taken{h: h, behind: true}
}

// taken is the Context of a connection that was taken over. It is the loop's.
type taken struct {
	h      sluice.Handler
	opened bool // true exactly when OnOpen was called
	woken  bool // true exactly when OnData was due before
	behind bool // true exactly when OnData is still to be given what came before
	fin    bool // true exactly when the peer has ended its direction and h has not been told
	ending bool // true exactly when the peer's end is what closes the connection
}

// takeOver gives the connection to t.
func (w *response) takeOver(answer []byte, t *taken) (sluice.Conn, error) {
	switch {
	case w.handlerDone:
		panic("httpd: TakeOver called after ServeHTTP finished")
	case w.hijacked:
		return sluice.Conn{}, http.ErrHijacked
	case w.wroteHeader:
		return sluice.Conn{}, errBegun
	}
	if err := w.ready(); err != nil {
		return sluice.Conn{}, err
	}
	if err := w.give(answer, t); err != nil {
		return sluice.Conn{}, err
	}
	c, sv := w.hc.Conn, w.hc.sv
	w.hijacked = true
	w.release()
	sv.count(0, 1)
	// An error means that the connection has ended but for OnClose, which opens t.
	_ = c.Execute(func(c sluice.Conn) { t.begin(c, c.PendingRead()) })
	sv.state(c, http.StateHijacked)
	return c, nil
}

// give queues answer and makes t the connection's owner, or does nothing.
func (w *response) give(answer []byte, t *taken) error {
	hc, b := w.hc, w.body
	hc.mu.Lock()
	defer hc.mu.Unlock()
	switch {
	case w.err != nil:
		return timeout(w.err)
	case b != nil && (b.err != io.EOF || !b.closed && b.buf.Len() > 0):
		return errBodyLeft
	}
	if _, err := hc.Write(answer); err != nil {
		return timeout(err)
	}
	if b != nil {
		b.leave(true)
	}
	hc.give(t)
	return nil
}

// give makes t the connection's owner, with mu held: a callback that has found
// hc as the Context looks for t once it has mu.
func (hc *conn) give(t *taken) {
	t.fin = hc.eof
	hc.ex, hc.hijacked = nil, true
	hc.pause(pausedAhead|pausedBody, false)
	_ = hc.SetIdleTimeout(0)
	_ = hc.SetDeadline(time.Time{})
	hc.SetContext(t)
}

// owner returns what has taken hc's connection over, nil if nothing has, with
// mu held.
func (hc *conn) owner() *taken {
	if !hc.hijacked {
		return nil
	}
	t, _ := hc.Context().(*taken)
	return t
}

// giveAway gives the connection to what a LoopHandler has named.
func (rx *receiver) giveAway() {
	t, hc := rx.x.taken, rx.hc
	rx.x.taken = nil
	rx.flush()
	if hc == nil {
		hc = &conn{Conn: rx.c, sv: rx.sv}
	}
	hc.mu.Lock()
	hc.give(t)
	hc.mu.Unlock()
	rx.sv.count(0, 1)
	rx.sv.state(rx.c, http.StateHijacked)
	t.begin(rx.c, rx.in.Len())
}

// begin opens t's side of the connection, of which so many bytes are unread.
func (t *taken) begin(c sluice.Conn, unread int) {
	t.open(c)
	switch {
	case !t.behind: // something came meanwhile
	case unread > 0 || t.woken: // not here: OnOpen may have closed the connection, or made a net.Conn of it
		_ = c.Wake()
	default:
		t.behind = false
		t.tellEnd(c)
	}
}

func (t *taken) open(c sluice.Conn) {
	if !t.opened {
		t.opened = true
		t.h.OnOpen(c)
	}
}

func (t *taken) onData(c sluice.Conn, in *buffer.LinkBuffer) {
	if !t.opened { // begin is on its way, and sees to what is unread
		t.woken = true
		return
	}
	t.behind = false
	t.h.OnData(c, in)
	t.tellEnd(c)
}

func (t *taken) onEOF(c sluice.Conn) {
	t.fin = true
	if !t.behind {
		t.tellEnd(c)
	}
}

// tellEnd tells h that the peer has ended its direction, if it has.
func (t *taken) tellEnd(c sluice.Conn) {
	if !t.fin {
		return
	}
	t.fin = false
	var told func(c sluice.Conn)
	if h, ok := t.h.(sluice.EOFHandler); ok {
		told = h.OnEOF
	} else if f, ok := t.h.(sluice.Funcs); ok {
		told = f.EOF
	}
	switch {
	case !c.IsOpen():
	case told != nil:
		told(c)
	default:
		t.ending = true
		_ = c.Offload(func(c sluice.Conn) { _ = c.Close() }) // jobs are done in order
	}
}

func (t *taken) onDrain(c sluice.Conn) {
	if h, ok := t.h.(sluice.DrainHandler); ok {
		t.open(c)
		h.OnDrain(c)
	}
}

func (t *taken) onHangup(c sluice.Conn, err error) {
	if h, ok := t.h.(sluice.HangupHandler); ok {
		t.open(c)
		h.OnHangup(c, err)
	}
}

func (t *taken) onClose(c sluice.Conn, err error) {
	if err == nil && t.ending {
		err = io.EOF
	}
	defer t.h.OnClose(c, err) // also if OnOpen panics
	t.open(c)
}

// OnReadIdle is for a connection that was taken over.
func (sv *service) OnReadIdle(c sluice.Conn) {
	t, _ := c.Context().(*taken)
	if t == nil {
		return
	}
	if h, ok := t.h.(sluice.ReadIdleHandler); ok {
		t.open(c)
		h.OnReadIdle(c)
	}
}
