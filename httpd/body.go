package httpd

import (
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/http1"
)

const (
	// bodyHigh is how many decoded bytes that the handler has not read pause
	// reading from the connection; at bodyLow it resumes.
	bodyHigh = 128 << 10
	bodyLow  = 32 << 10

	// leaveMax is how many bytes that a handler did not read of a body are
	// read and thrown away so that the connection can serve another request,
	// the figure of net/http.
	leaveMax = 256 << 10
)

// body is a request's body: the loop feeds it, the handler reads it. Unless
// they say otherwise its fields are guarded by conn.mu.
type body struct {
	w  *response
	rx *receiver // loop only: decodes what is to come; nil when nothing is

	buf     buffer.LinkBuffer
	whole   bool  // true exactly when nothing more is to come
	sawEOF  bool  // true exactly when Read returned io.EOF
	closed  bool  // true exactly when the handler closed it or is done
	spoilt  bool  // true exactly when no request can follow on the connection
	unasked bool  // true exactly when the client waits for it and was answered without
	ask     bool  // true exactly when the client waits for 100 Continue
	err     error // what Read returns after buf
	rest    int64 // bytes that are to come according to Content-Length, 0 if that is not known
	left    int64 // how many more bytes may be thrown away once closed
	timer   *sluice.Timer
	until   time.Time   // the read deadline
	trailer http.Header // what came behind the body; nil if nothing did
}

var _ io.ReadCloser = (*body)(nil)

// newBody makes the body of a request, data of which has come. Loop only.
func newBody(w *response, rx *receiver, data []byte) *body {
	b := &body{w: w, whole: rx.dec.Done(), ask: rx.head.Continue && !rx.dec.Done(), left: leaveMax}
	b.rest = max(0, rx.dec.Remaining())
	_, _ = b.buf.Write(data)
	if b.whole {
		b.ended(&rx.dec)
	} else if d := rx.sv.srv.ReadTimeout; d > 0 {
		b.setDeadline(rx.began.Add(d))
	}
	return b
}

// ended notes that the body has been decoded to its end.
func (b *body) ended(dec *http1.Decoder) {
	b.whole = true
	if b.err == nil {
		b.err = io.EOF
		for _, f := range dec.Trailer() {
			if b.trailer == nil {
				b.trailer = http.Header{}
			}
			b.trailer.Add(string(f.Name), string(f.Value))
		}
	}
}

// feed decodes what has come, with conn.mu held. Loop only.
func (b *body) feed(in *buffer.LinkBuffer) {
	b.decode(&b.rx.dec, in)
	if b.whole {
		b.stopTimer()
		b.rx.drop()
		b.rx = nil
	}
	b.w.cond.Broadcast()
}

// decode is feed with the receiver's decoder.
func (b *body) decode(dec *http1.Decoder, in *buffer.LinkBuffer) {
	for in.Len() > 0 && !b.whole {
		data, n, err := dec.Body(in.Bytes())
		if err != nil {
			b.bad(err)
			_ = in.Skip(in.Len())
			break
		}
		if n == 0 {
			break
		}
		b.take(data)
		_ = in.Skip(n)
		if dec.Done() {
			b.ended(dec)
		}
	}
	b.rest = max(0, dec.Remaining())
	if b.buf.Len() >= bodyHigh {
		b.w.hc.pause(pausedBody, true)
	}
}

// take keeps decoded bytes or, if nobody will read them, throws them away.
func (b *body) take(data []byte) {
	if !b.closed {
		_, _ = b.buf.Write(data)
		return
	}
	if b.left -= int64(len(data)); b.left < 0 {
		b.spoil()
	}
}

// spoil notes that no request can follow, with conn.mu held.
func (b *body) spoil() {
	b.spoilt = true
	if b.w.finished {
		_ = b.w.hc.Close()
	}
}

// bad ends a body that is not well-formed: no request can be found behind it.
func (b *body) bad(err error) {
	if errors.Is(err, http1.ErrBodyTooLarge) {
		err = &http.MaxBytesError{Limit: b.w.hc.sv.srv.MaxBodyBytes}
	}
	b.fail(err)
	b.whole = true
}

// fail makes reads return err after the bytes that came before, if more were to
// come, with conn.mu held.
func (b *body) fail(err error) {
	if b.whole {
		return
	}
	if b.err == nil {
		b.err = err
	}
	b.spoil()
	b.w.cond.Broadcast()
}

// Read reads the body and waits for bytes if none are there.
func (b *body) Read(p []byte) (int, error) {
	hc := b.w.hc
	b.proceed()
	hc.mu.Lock()
	defer hc.mu.Unlock()
	for {
		switch {
		case b.closed:
			return 0, http.ErrBodyReadAfterClose
		case len(p) == 0 && b.err == nil:
			return 0, nil
		case b.buf.Len() > 0:
			n, _ := b.buf.Read(p)
			b.buf.Release()
			b.resume(bodyLow)
			if b.buf.Len() == 0 && b.err == io.EOF {
				return n, b.end()
			}
			return n, nil
		case b.err != nil:
			return 0, b.end()
		}
		b.w.cond.Wait()
	}
}

// end returns what Read returns at the end, with conn.mu held.
func (b *body) end() error {
	if b.err == io.EOF && !b.sawEOF {
		b.sawEOF = true
		if r := b.w.req; r.Trailer == nil {
			r.Trailer = b.trailer
		} else {
			maps.Copy(r.Trailer, b.trailer)
		}
	}
	return b.err
}

// proceed tells a client that waits for it to send the body.
func (b *body) proceed() {
	hc := b.w.hc
	hc.mu.Lock()
	defer hc.mu.Unlock()
	if b.ask && !b.closed { // with the lock, lest the answer begins meanwhile
		_, _ = hc.WriteString("HTTP/1.1 100 Continue\r\n\r\n") // an error will be Read's, too
	}
	b.ask = false
}

// resume resumes reading from the connection if no more than n bytes are
// unread, with conn.mu held.
func (b *body) resume(n int) {
	if b.buf.Len() <= n {
		b.w.hc.pause(pausedBody, false)
	}
}

// Close ends reading. What is still to come is thrown away.
func (b *body) Close() error {
	hc := b.w.hc
	hc.mu.Lock()
	defer hc.mu.Unlock()
	b.shut()
	return nil
}

// shut is Close with conn.mu held.
func (b *body) shut() {
	if b.closed {
		return
	}
	b.closed = true
	b.sawEOF = b.sawEOF || b.err == io.EOF
	b.left -= int64(b.buf.Len())
	b.buf.Close()
	b.resume(0)
	b.w.cond.Broadcast()
}

// leave ends the body when the exchange does, with conn.mu held. It reports
// whether bytes are still to come that must be thrown away before the next
// request; closing says that there will be none.
func (b *body) leave(closing bool) bool {
	b.shut()
	if !b.whole && b.err == nil && !closing {
		return true // its deadline holds on
	}
	b.stopTimer()
	return false
}

// setDeadline makes reads fail from t on; the zero Time means never. conn.mu
// is held, or the body is new.
func (b *body) setDeadline(t time.Time) {
	b.stopTimer()
	b.until = t
	if b.err == os.ErrDeadlineExceeded {
		return // what was missed stays missed
	}
	if t.IsZero() || b.whole {
		return
	}
	wait := time.Until(t)
	if wait <= 0 {
		b.fail(os.ErrDeadlineExceeded)
		return
	}
	b.timer, _ = b.w.hc.AfterFunc(wait, func(sluice.Conn) {
		hc := b.w.hc
		hc.mu.Lock()
		defer hc.mu.Unlock()
		if !b.until.IsZero() && !time.Now().Before(b.until) {
			b.fail(os.ErrDeadlineExceeded)
		}
	})
}

func (b *body) stopTimer() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}
