package httpd

import (
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/http1"
)

const (
	// collectMax is up to how many bytes of a body are collected before its
	// handler begins. So a peer that sends a short body slowly costs no
	// goroutine; a longer one streams.
	collectMax = 64 << 10

	// readAhead is how many bytes behind the request being answered are
	// taken from the kernel.
	readAhead = 64 << 10

	// keepMax is the capacity up to which scratch memory goes back to a pool.
	keepMax = 64 << 10
)

// receiver reads requests from a connection's bytes. It stays with the
// connection while a message is coming in parts; otherwise it goes back to
// its pool when OnData returns. It is the loop's.
type receiver struct {
	c  sluice.Conn
	hc *conn // nil unless the connection has one
	sv *service
	in *buffer.LinkBuffer

	dec       http1.Decoder
	head      http1.Head
	first     bool      // true exactly when the connection's Context says that nothing has come
	collected bool      // true exactly when head is that of a request whose body is being collected
	timed     bool      // true exactly when a read deadline is set for this message
	began     time.Time // when the first bytes of this message came, if a time limit needs it
	saved     []byte    // the head's bytes meanwhile
	body      []byte    // of the body so far
	x         RequestCtx
}

var receivers = sync.Pool{New: func() any { return new(receiver) }}

// receive returns the receiver of c's messages.
func (sv *service) receive(c sluice.Conn, hc *conn, in *buffer.LinkBuffer, first bool) *receiver {
	if hc != nil && hc.rx != nil {
		rx := hc.rx
		hc.rx, rx.in = nil, in
		return rx
	}
	rx := receivers.Get().(*receiver)
	rx.c, rx.hc, rx.sv, rx.in, rx.first = c, hc, sv, in, first
	rx.dec.Reset(&sv.limits)
	return rx
}

// done ends what OnData does: what a LoopHandler answered goes out, and rx
// stays with the connection if a message has come in part.
func (rx *receiver) done() {
	rx.flush()
	if rx.c == (sluice.Conn{}) { // given to an exchange
		return
	}
	if rx.hc != nil && rx.hc.ended() {
		_ = rx.c.Close()
	}
	if !rx.dec.Started() || !rx.c.IsOpen() {
		if rx.hc != nil {
			rx.hc.mu.Lock()
			rx.hc.detach()
			rx.hc.mu.Unlock()
		}
		c, sv := rx.c, rx.sv
		rx.drop()
		if sv.srv.inShutdown.Load() {
			sv.closeIdle(c)
		}
		return
	}
	if rx.hc == nil {
		rx.hc = &conn{Conn: rx.c, sv: rx.sv}
	}
	rx.x = RequestCtx{} // a slow client is not to hold the scratch memory of answers
	rx.hc.mu.Lock()
	rx.hc.attach()
	rx.hc.mu.Unlock()
	rx.hc.rx, rx.in, rx.first = rx, nil, false
	rx.await()
	if rx.sv.srv.inShutdown.Load() && !rx.timed {
		rx.timed = true
		rx.sv.closeIdle(rx.c)
	}
}

// await sets the deadline of the rest of a message that has come in part.
func (rx *receiver) await() {
	s := rx.sv.srv
	if rx.timed || !s.timesReading() {
		return
	}
	if rx.began.IsZero() {
		rx.began = time.Now()
	}
	var end time.Time
	switch d := s.readHeaderTimeout(); {
	case !rx.collected && d > 0:
		end = rx.began.Add(d)
	case rx.collected && s.ReadTimeout > 0:
		end = rx.began.Add(s.ReadTimeout)
	}
	rx.timed = true
	_ = rx.c.SetReadDeadline(end)
}

// drop gives rx back.
func (rx *receiver) drop() {
	rx.reset()
	rx.c, rx.hc, rx.in = sluice.Conn{}, nil, nil
	if cap(rx.saved)+cap(rx.body)+rx.x.memory() <= keepMax {
		receivers.Put(rx)
	}
}

// reset prepares for the next message.
func (rx *receiver) reset() {
	rx.collected, rx.timed, rx.began = false, false, time.Time{}
	rx.saved, rx.body = rx.saved[:0], rx.body[:0]
}

// next takes the next request, or a part of it, and reports whether there may
// be more to take.
func (rx *receiver) next() bool {
	if rx.collected {
		return rx.collect() && rx.dispatch(rx.body)
	}
	if rx.in.Len() == 0 {
		return false
	}
	p := rx.in.Bytes()
	n, err := rx.dec.Head(p, &rx.head)
	if err != nil {
		return rx.refuse(err)
	}
	if n == 0 {
		return false
	}
	if rx.head.Expectation != nil && !rx.head.Continue {
		return rx.fail(http.StatusExpectationFailed, "")
	}
	if rx.sv.srv.timesReading() && rx.began.IsZero() {
		rx.began = time.Now()
	}
	if rx.dec.Done() {
		_ = rx.in.Skip(n)
		return rx.dispatch(nil)
	}
	if body := p[n:]; rx.head.Length > 0 && rx.head.Length <= min(collectMax, int64(len(body))) { // all is here
		data, m, err := rx.dec.Body(body)
		if err != nil {
			return rx.refuse(err)
		}
		_ = rx.in.Skip(n + m)
		return rx.dispatch(data)
	}
	rx.saved = append(rx.saved[:0], p[:n]...)
	_ = rx.in.Skip(n)
	rx.rebase()
	rx.collected, rx.timed = true, false
	if rx.sv.srv.inShutdown.Load() { // the time that it set was the head's
		_ = rx.c.SetReadDeadline(time.Time{})
	}
	return true
}

// rebase makes the head refer to the saved copy of its bytes.
func (rx *receiver) rebase() {
	var d http1.Decoder
	d.Reset(&rx.sv.limits)
	_, _ = d.Head(rx.saved, &rx.head) // it was well-formed before
}

// collect decodes what has come of a body. It reports true when the request is
// to be given to its handler: the body is whole or to be streamed, since it is
// long or the client may be waiting for an answer before it sends more.
func (rx *receiver) collect() bool {
	for rx.in.Len() > 0 && !rx.dec.Done() {
		data, n, err := rx.dec.Body(rx.in.Bytes())
		if err != nil {
			rx.refuse(err)
			return false
		}
		if n == 0 {
			break
		}
		rx.body = append(rx.body, data...)
		_ = rx.in.Skip(n)
	}
	return rx.dec.Done() || rx.head.Continue || rx.head.Chunked || rx.head.Length > collectMax
}

// dispatch gives a request to its handler. body is what has come of its body.
// It reports whether the next request may be taken.
func (rx *receiver) dispatch(body []byte) bool {
	sv, s := rx.sv, rx.sv.srv
	sv.counts[rx.c.Loop()].requests.Add(1)
	if rx.first {
		rx.first = false
		rx.c.SetContext(nil)
	}
	if rx.hc != nil {
		rx.hc.unused = false
	}
	if s.timesReading() || s.inShutdown.Load() { // which sets one, too
		_ = rx.c.SetReadDeadline(time.Time{})
	}
	switch {
	case s.WriteTimeout > 0:
		_ = rx.c.SetWriteDeadline(time.Now().Add(s.WriteTimeout))
	case rx.hc != nil && rx.hc.overdue():
		_ = rx.c.SetWriteDeadline(time.Time{})
	}
	sv.state(rx.c, http.StateActive)
	if s.LoopHandler != nil && !rx.head.Chunked && !rx.head.Continue && rx.head.Length <= collectMax && rx.answer(body) {
		return rx.x.carryOn()
	}
	return rx.handOver(body)
}

// handOver gives a request to Handler, on another goroutine.
func (rx *receiver) handOver(body []byte) bool {
	w, err := newExchange(rx, body)
	if err != nil {
		return rx.fail(http.StatusBadRequest, err.Error())
	}
	rx.flush() // answers go out in the order of the requests
	hc := w.hc
	hc.mu.Lock()
	hc.attach()
	hc.ex = w
	streams := w.body != nil && !w.body.whole
	if streams { // what has come behind data; no OnData would bring it
		w.body.decode(&rx.dec, rx.in)
		rx.c = sluice.Conn{}
		if !w.body.whole {
			w.body.rx = rx // goes on decoding
		}
		if hc.eof {
			w.body.fail(io.ErrUnexpectedEOF)
		}
	}
	hc.more = rx.in.Len() > 0
	gone := hc.eof && !hc.more
	hc.mu.Unlock()
	if !streams {
		rx.reset()
	}
	if gone {
		w.ctx.cancel()
	}
	if err := hc.Offload(w.run); err != nil {
		w.abandon()
	}
	return false
}

// refuse answers a message that is not well-formed, and ends the connection.
func (rx *receiver) refuse(err error) bool {
	status, text := http.StatusBadRequest, err.Error()
	if e, ok := err.(*http1.Error); ok {
		status, text = e.Status, e.Reason
	}
	rx.sv.state(rx.c, http.StateActive)
	return rx.fail(status, text)
}

// fail answers a request with an error and ends the connection.
func (rx *receiver) fail(status int, text string) bool {
	rx.sv.counts[rx.c.Loop()].refused.Add(1)
	rx.flush()
	var end time.Time // whatever was left from the exchange before
	if d := rx.sv.srv.WriteTimeout; d > 0 {
		end = time.Now().Add(d)
	}
	_ = rx.c.SetWriteDeadline(end)
	msg := strconv.Itoa(status) + " " + http.StatusText(status)
	if text != "" {
		msg += ": " + text
	}
	p := http1.AppendStatusLine(nil, 1, status, "")
	p = http1.AppendField(p, "Content-Type", "text/plain; charset=utf-8")
	p = http1.AppendField(p, "Content-Length", strconv.Itoa(len(msg)))
	p = http1.AppendField(p, "Connection", "close")
	p = appendDate(p, time.Now())
	p = append(append(p, "\r\n"...), msg...)
	_, _ = rx.c.Write(p)
	_ = rx.c.Close()
	return false
}
