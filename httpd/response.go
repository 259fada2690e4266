package httpd

import (
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/http1"
)

const (
	// lengthMax is up to how many bytes of answer are held back for the end of
	// the handler, so that their length can be announced. It is the figure of
	// net/http, whose users know it.
	lengthMax = 2048

	// bufferMax is how many bytes of a longer answer are collected before
	// they are sent.
	bufferMax = 4096

	// pieceMax bounds what is queued at a time, between looks at the
	// high-water mark.
	pieceMax = 32 << 10
)

// response is an exchange: a request and its answer. It is the
// http.ResponseWriter, and the handler's goroutine uses it, but for what is
// marked otherwise.
type response struct {
	hc   *conn
	own  conn // what hc is if the connection had none: so both are one allocation
	req  *http.Request
	ctx  requestContext
	body *body // nil if the request has none

	header      http.Header
	status      int
	length      int64 // the announced Content-Length, -1 if there is none
	written     int64 // bytes of body that the handler wrote, those of an answer to HEAD included
	enc         http1.Encoder
	head        headFields
	trailers    []string  // the names that the field Trailer announced
	out         *scratch  // bytes that are to be queued: the head's fields, then body
	wroteHeader bool      // true exactly when the status is final
	sentHead    bool      // true exactly when the head has been composed
	handlerDone bool      // true exactly when the handler has returned
	hijacked    bool      // true exactly when Hijack or TakeOver was called
	keep10      bool      // true exactly when the request is of HTTP/1.0 and wants to keep the connection
	closeAfter  bool      // true exactly when the connection ends after this answer
	deadlined   bool      // true exactly when the handler has set a write deadline
	fullDuplex  bool      // true exactly when EnableFullDuplex was called
	chunked     bool      // true exactly when the body is sent in chunks
	file        *fileTail // a file that is still to be sent; nil if there is none

	// Guarded by conn.mu.
	cond     sync.Cond // of body, err and the connection's drain
	err      error     // why nothing can be written any more
	finished bool      // true exactly when the answer has been queued
	tail     bool      // true exactly when OnDrain is to go on with the file
}

// scratch is memory in which an answer is composed.
type scratch struct {
	fields []byte // the handler's part of the head
	body   []byte // body not yet framed
	wire   []byte // what goes out
}

var scratches = sync.Pool{New: func() any {
	return &scratch{body: make([]byte, 0, bufferMax)}
}}

var (
	_ http.Flusher    = (*response)(nil)
	_ http.Hijacker   = (*response)(nil)
	_ io.StringWriter = (*response)(nil)
	_ io.ReaderFrom   = (*response)(nil)
)

// newExchange makes the exchange of the request that rx has received, with the
// bytes of its body that have come. Loop only.
func newExchange(rx *receiver, data []byte) (*response, error) {
	w := &response{hc: rx.hc, length: -1}
	if w.hc == nil {
		w.own.Conn, w.own.sv = rx.c, rx.sv
		w.hc = &w.own
	}
	w.cond.L = &w.hc.mu
	w.ctx.parent, w.ctx.c = w.hc.parent(), rx.c
	req, err := newRequest(&w.ctx, &rx.head, w.hc.remoteAddr())
	if err == nil {
		req.TLS = w.hc.agreed()
	}
	if err != nil {
		return nil, err
	}
	w.req = req
	if len(data) > 0 || !rx.dec.Done() || len(rx.dec.Trailer()) > 0 {
		w.body = newBody(w, rx, data)
		req.Body = w.body
	}
	w.keep10 = rx.head.Minor == 0 && !rx.head.Close
	w.closeAfter = rx.head.Close
	return w, nil
}

// run is the job that answers a request.
func (w *response) run(sluice.Conn) {
	done := false
	defer func() { w.recovered(recover(), done) }()
	w.serve()
	w.ctx.cancel()
	if !w.hijacked {
		w.finish()
	}
	done = true
}

// recovered deals with a handler that has panicked with v, as net/http does: it
// is logged, unless it is http.ErrAbortHandler, and costs the connection. So
// does runtime.Goexit: then v is nil and done false.
func (w *response) recovered(v any, done bool) {
	if done {
		return
	}
	if v != nil && v != http.ErrAbortHandler {
		w.hc.sv.srv.logf("httpd: panic serving %s: %v\n%s", w.req.RemoteAddr, v, debug.Stack())
	}
	w.ctx.cancel()
	if !w.hijacked {
		w.release()
		if w.sentHead && !w.chunked && w.length == -1 {
			_ = w.hc.Abort() // an end in order would pass for the answer's
		} else {
			_ = w.hc.Close()
		}
	}
}

// serve calls the handler.
func (w *response) serve() {
	sv := w.hc.sv
	if w.req.RequestURI == "*" && w.req.Method == http.MethodOptions && !sv.srv.DisableGeneralOptionsHandler {
		w.Header().Set("Content-Length", "0")
		return
	}
	sv.handler.ServeHTTP(w, w.req)
}

// finish completes the answer after the handler.
func (w *response) finish() {
	w.handlerDone = true
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	if w.file != nil && w.sendTail() {
		return // the rest of the file follows
	}
	w.complete()
}

// complete ends an answer all of whose body has been written.
func (w *response) complete() {
	err := w.flush(true)
	if w.length != -1 && w.written != w.length && bodyAllowed(w.status) && w.req.Method != http.MethodHead {
		w.closeAfter = true // the client will not take what follows for its missing part
	}
	if err != nil {
		w.closeAfter = true
	}
	if w.req.MultipartForm != nil {
		_ = w.req.MultipartForm.RemoveAll()
	}
	w.release()
	w.hc.finish(w)
}

// release gives scratch memory back.
func (w *response) release() {
	if s := w.out; s != nil {
		w.out = nil
		if cap(s.fields)+cap(s.wire) <= keepMax {
			s.fields, s.body, s.wire = s.fields[:0], s.body[:0], s.wire[:0]
			scratches.Put(s)
		}
	}
	if w.file != nil {
		w.file.close()
		w.file = nil
	}
}

// abandon ends an exchange whose connection is gone. Loop only.
func (w *response) abandon() {
	w.ctx.cancel()
	w.hc.mu.Lock()
	defer w.hc.mu.Unlock()
	if w.body != nil {
		w.body.stopTimer()
		w.body.shut()
	}
	w.release()
}

// hangup makes everything that waits for the client fail, with conn.mu held.
func (w *response) hangup(err error) {
	if err == nil || err == io.EOF {
		err = sluice.ErrClosed
	}
	if w.err == nil {
		w.err = err
	}
	if w.body != nil {
		w.body.fail(err)
	}
	w.cond.Broadcast()
}

// Header returns the fields of the answer's head, to be changed before it is
// written.
func (w *response) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader sets the status, for good, or sends an interim response if it is
// one of 1xx other than 101.
func (w *response) WriteHeader(status int) {
	switch {
	case w.hijacked:
		w.hc.sv.srv.logf("httpd: WriteHeader on a hijacked connection from %s", caller())
		return
	case w.wroteHeader:
		w.hc.sv.srv.logf("httpd: superfluous WriteHeader(%d) from %s", status, caller())
		return
	case status < 100 || status > 999:
		panic("httpd: WriteHeader with the invalid status " + strconv.Itoa(status))
	}
	if status != http.StatusProcessing && status != http.StatusEarlyHints {
		w.askNoMore()
	}
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.interim(status)
		return
	}
	w.wroteHeader, w.status = true, status
	w.capture()
}

// askNoMore keeps the body from asking for itself with 100 Continue: an answer
// or the handler's own 100 has been sent.
func (w *response) askNoMore() {
	if w.body != nil {
		w.hc.mu.Lock()
		if w.body.ask {
			w.body.ask = false
			w.body.unasked = true
		}
		w.hc.mu.Unlock()
	}
}

// interim sends a response of 1xx with the fields so far.
func (w *response) interim(status int) {
	if w.req.ProtoMinor == 0 {
		return // the client would take it for the answer (RFC 9110 15.2)
	}
	s := w.scratch()
	s.wire = http1.AppendStatusLine(s.wire[:0], w.req.ProtoMinor, status, "")
	s.wire = appendFields(s.wire, w.header, func(name string) bool {
		return name != "Content-Length" && name != "Transfer-Encoding"
	})
	s.wire = append(s.wire, "\r\n"...)
	_ = w.queue(s.wire)
}

func (w *response) scratch() *scratch {
	if w.out == nil {
		w.out = scratches.Get().(*scratch)
	}
	return w.out
}

// SetReadDeadline sets the time from which on reading the body fails, for
// http.ResponseController.
func (w *response) SetReadDeadline(t time.Time) error {
	if w.body != nil {
		w.hc.mu.Lock()
		defer w.hc.mu.Unlock()
		w.body.setDeadline(t)
	}
	return nil
}

// SetWriteDeadline sets the time at which the connection is cut off if bytes
// wait to be sent, and from which on writing fails otherwise, for
// http.ResponseController.
func (w *response) SetWriteDeadline(t time.Time) error {
	w.hc.mu.Lock()
	taken := w.hc.owner() != nil
	w.hc.mu.Unlock()
	if taken {
		return http.ErrHijacked
	}
	w.deadlined = true
	return w.hc.SetWriteDeadline(t)
}

// EnableFullDuplex lets the handler read the body after it has begun to
// answer, for http.ResponseController.
func (w *response) EnableFullDuplex() error {
	w.fullDuplex = true
	return nil
}
