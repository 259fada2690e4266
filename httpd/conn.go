package httpd

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
)

// conn is what a connection has beyond its sluice.Conn once a message has come
// in parts or been given to a handler off the loop. One that only ever sent
// whole requests to a LoopHandler has none.
type conn struct {
	sluice.Conn
	sv     *service
	ctx    context.Context      // ConnContext's; nil means the service's
	remote string               // the peer's address, once it was needed
	tls    *tls.ConnectionState // what TLS agreed on, once it was needed
	unused bool                 // loop only: true exactly when no request has come
	rx     *receiver            // loop only: the message being received, nil between messages

	mu       sync.Mutex
	ex       *response // the exchange under way, nil if there is none
	more     bool      // true exactly when bytes wait unread for the end of the exchange or, without one, for an OnData that will follow
	pauses   pauses    // why reading is paused
	timed    bool      // true exactly when a handler's write deadline is left from the exchange before
	eof      bool      // true exactly when the peer has ended its direction
	attached bool      // true exactly when this is the connection's Context
	hijacked bool      // true exactly when the connection is a handler's, or was taken over
}

// attach makes hc what the connection's callbacks find, with mu held. Loop
// only.
func (hc *conn) attach() {
	if !hc.attached {
		hc.attached = true
		hc.SetContext(hc)
	}
}

// detach lets an idle connection go without hc, with mu held, unless there is
// something to remember.
func (hc *conn) detach() {
	if hc.ex == nil && hc.ctx == nil && !hc.more && hc.pauses == 0 && !hc.eof && !hc.hijacked && !hc.timed {
		hc.attached = false
		hc.SetContext(nil)
	}
}

// pauses are reasons for not reading from a connection.
type pauses uint8

const (
	pausedAhead pauses = 1 << iota // enough bytes behind the request under way are here
	pausedBody                     // the handler has not read what is here of its request's body
)

// pause adds or removes a reason for not reading, with mu held.
func (hc *conn) pause(why pauses, on bool) {
	was := hc.pauses
	if hc.pauses &^= why; on {
		hc.pauses |= why
	}
	switch {
	case was == 0 && hc.pauses != 0:
		_ = hc.PauseRead()
	case was != 0 && hc.pauses == 0:
		_ = hc.ResumeRead()
	}
}

// parent is the context from which those of hc's requests derive.
func (hc *conn) parent() context.Context {
	if hc.ctx != nil {
		return hc.ctx
	}
	return hc.sv.base
}

// remoteAddr is the peer's address as http.Request has it. Loop only.
func (hc *conn) remoteAddr() string {
	if hc.remote == "" {
		if ap := hc.RemoteAddrPort(); ap.IsValid() {
			hc.remote = ap.String()
		} else {
			hc.remote = hc.RemoteAddr().String()
		}
	}
	return hc.remote
}

// agreed is what TLS agreed on with the peer, nil without it. Loop only.
func (hc *conn) agreed() *tls.ConnectionState {
	if hc.tls == nil && hc.sv.secure {
		hc.tls = hc.TLS()
	}
	return hc.tls
}

// isHijacked reports whether the connection is no longer the server's.
func (hc *conn) isHijacked() bool {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	return hc.hijacked
}

// busy reports whether the connection is not to be closed yet: a request is
// under way, or it is no longer the server's. Loop only.
func (hc *conn) busy() bool {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	return hc.ex != nil || hc.more || hc.hijacked || hc.rx != nil && hc.rx.collected
}

// ended reports whether the peer has ended its direction and everything before
// that has been dealt with, but for what is not whole.
func (hc *conn) ended() bool {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	return hc.eof && hc.ex == nil && !hc.more && !hc.hijacked
}

// overdue reports whether a handler's write deadline is left from the exchange
// before, which from here on it is not.
func (hc *conn) overdue() bool {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	was := hc.timed
	hc.timed = false
	return was
}

// occupied takes what the exchange under way wants of in and reports whether
// there is one, whose end the rest has to wait for.
func (hc *conn) occupied(in *buffer.LinkBuffer) bool {
	hc.mu.Lock()
	defer hc.mu.Unlock()
	ex := hc.ex
	if hc.hijacked {
		return true // all that comes is the handler's, as soon as it has its net.Conn, or its taken's
	}
	if ex == nil {
		hc.more = false
		return false
	}
	if b := ex.body; b != nil && !b.whole {
		b.feed(in)
		if b.whole && ex.finished {
			hc.ex = nil // what its handler left unread is gone
			if in.Len() == 0 && hc.sv.srv.inShutdown.Load() {
				_ = hc.Close()
			}
			return false
		}
	}
	hc.throttle(in)
	return true
}

// throttle bounds the bytes that wait behind the request under way, with mu
// held, when OnData is done with in. Loop only.
func (hc *conn) throttle(in *buffer.LinkBuffer) {
	ahead := hc.ex != nil && (hc.ex.body == nil || hc.ex.body.whole)
	if hc.ex != nil {
		hc.more = in.Len() > 0
	}
	hc.pause(pausedAhead, ahead && in.Len() > readAhead)
}

// OnData takes what has arrived: requests, one after the other, and the body
// of the one whose handler is at work.
func (sv *service) OnData(c sluice.Conn, in *buffer.LinkBuffer) {
	ctx := c.Context()
	hc, _ := ctx.(*conn)
	if hc != nil {
		if hc.occupied(in) {
			return
		}
	} else if t, _ := ctx.(*taken); t != nil {
		t.onData(c, in)
		return
	}
	rx := sv.receive(c, hc, in, ctx == unused{})
	for rx.next() {
	}
	rx.done()
	if hc != nil {
		hc.mu.Lock()
		if hc.pauses&pausedAhead != 0 {
			hc.throttle(in)
		}
		hc.mu.Unlock()
	}
}

// OnEOF notes that the peer sends nothing more. It may still be waiting for
// answers.
func (sv *service) OnEOF(c sluice.Conn) {
	switch ctx := c.Context().(type) {
	case *conn:
		ctx.onEOF(c)
	case *taken:
		ctx.onEOF(c)
	default:
		_ = c.Close()
	}
}

func (hc *conn) onEOF(c sluice.Conn) {
	hc.mu.Lock()
	if t := hc.owner(); t != nil {
		hc.mu.Unlock()
		t.onEOF(c)
		return
	}
	hc.eof = true
	ex := hc.ex
	if ex == nil {
		wait := hc.hijacked || hc.more
		hc.mu.Unlock()
		if !wait {
			_ = c.Close()
		}
		return
	}
	if ex.body != nil {
		ex.body.fail(io.ErrUnexpectedEOF)
	}
	gone := !hc.more
	over := ex.finished
	hc.mu.Unlock()
	if over { // the rest of its body will not come
		_ = c.Close()
	}
	if gone {
		ex.ctx.cancel()
	}
}

// OnDrain lets a handler go on writing.
func (sv *service) OnDrain(c sluice.Conn) {
	switch ctx := c.Context().(type) {
	case *conn:
		ctx.onDrain(c)
	case *taken:
		ctx.onDrain(c)
	default:
		_ = c.Wake() // for requests that a LoopHandler is to answer
	}
}

func (hc *conn) onDrain(c sluice.Conn) {
	hc.mu.Lock()
	t, ex := hc.owner(), hc.ex
	resume := false
	if ex != nil {
		resume = ex.drained()
	}
	hc.mu.Unlock()
	switch {
	case t != nil:
		t.onDrain(c)
	case ex == nil:
		_ = c.Wake()
	case resume:
		_ = c.Offload(ex.resumeTail)
	}
}

// OnHangup tells the handler at work that its client is gone.
func (sv *service) OnHangup(c sluice.Conn, err error) {
	switch ctx := c.Context().(type) {
	case *conn:
		ctx.onHangup(c, err)
	case *taken:
		ctx.onHangup(c, err)
	}
}

func (hc *conn) onHangup(c sluice.Conn, err error) {
	hc.mu.Lock()
	t, ex := hc.owner(), hc.ex
	if ex != nil {
		ex.hangup(err)
	}
	hc.mu.Unlock()
	switch {
	case t != nil:
		t.onHangup(c, err)
	case ex != nil:
		ex.ctx.cancel()
	}
}

// OnClose forgets the connection.
func (sv *service) OnClose(c sluice.Conn, err error) {
	ctx := c.Context()
	if t, _ := ctx.(*taken); t != nil {
		defer sv.count(-1, -1)
		t.onClose(c, err)
		return
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, sluice.ErrIdleTimeout) {
		sv.counts[c.Loop()].timedOut.Add(1)
	}
	hc, _ := ctx.(*conn)
	if hc == nil {
		sv.state(c, http.StateClosed)
		sv.count(-1, 0)
		return
	}
	if hc.rx != nil {
		hc.rx.drop()
		hc.rx = nil
	}
	hc.mu.Lock()
	ex, hijacked := hc.ex, hc.hijacked
	hc.ex = nil
	hc.mu.Unlock()
	if ex != nil { // its handler never began, or its body was still coming
		ex.abandon()
	}
	if hijacked {
		sv.count(-1, -1)
		return
	}
	sv.state(c, http.StateClosed)
	sv.count(-1, 0)
}

// finish ends an exchange whose answer has been queued: the connection goes on
// with the next request, or ends. The handler's goroutine calls it.
func (hc *conn) finish(w *response) {
	if hc.sv.srv.ConnState != nil && !w.closeAfter {
		hc.sv.state(hc.Conn, http.StateIdle)
	}
	if w.deadlined {
		w.deadlined = hc.PendingWrite() > 0 // then it is still needed
		if !w.deadlined {
			_ = hc.SetWriteDeadline(time.Time{})
		}
	}
	hc.mu.Lock()
	w.finished = true
	hc.timed = w.deadlined
	unread := w.body != nil && w.body.leave(w.closeAfter)
	if !unread {
		hc.ex = nil
	}
	end := w.closeAfter || w.body != nil && w.body.spoilt || hc.eof && !hc.more || hc.sv.srv.inShutdown.Load() && !hc.more
	switch {
	case end: // before the loop can take another request
		_ = hc.Close()
	case hc.more: // OnData will find that it is no more
		_ = hc.Wake()
	default:
		hc.detach()
	}
	hc.mu.Unlock()
}
