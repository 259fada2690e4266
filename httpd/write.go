package httpd

import (
	"errors"
	"net/http"
	"os"

	"github.com/sluice-go/sluice"
)

// Write writes p to the body of the answer.
func (w *response) Write(p []byte) (int, error) {
	if err := w.admit(len(p)); err != nil || len(p) == 0 {
		return 0, err
	}
	s := w.scratch()
	if len(s.body)+len(p) <= w.room() {
		s.body = append(s.body, p...)
		return len(p), nil
	}
	rest := p
	if !w.sentHead { // for the type to be recognised by
		n := lengthMax - len(s.body)
		s.body, rest = append(s.body, p[:n]...), p[n:]
	}
	if err := w.flush(false); err != nil {
		return 0, err
	}
	if len(rest) < bufferMax {
		s.body = append(s.body, rest...)
		return len(p), nil
	}
	n, err := w.direct(rest)
	return len(p) - len(rest) + n, err
}

// WriteString is Write for a string.
func (w *response) WriteString(p string) (int, error) {
	if w.wroteHeader && w.file == nil && w.length == -1 && !w.hijacked && bodyAllowed(w.status) {
		if s := w.scratch(); len(s.body)+len(p) <= w.room() {
			s.body = append(s.body, p...)
			w.written += int64(len(p))
			return len(p), nil
		}
	}
	return w.Write([]byte(p))
}

// room is how many bytes are collected before they are sent.
func (w *response) room() int {
	if w.sentHead {
		return bufferMax
	}
	return lengthMax
}

// admit checks that n bytes of body may be written, and counts them.
func (w *response) admit(n int) error {
	if w.hijacked {
		if n > 0 {
			w.hc.sv.srv.logf("httpd: Write on a hijacked connection from %s", caller())
		}
		return http.ErrHijacked
	}
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	if n == 0 {
		return nil
	}
	if !bodyAllowed(w.status) {
		return http.ErrBodyNotAllowed
	}
	w.written += int64(n)
	if w.length != -1 && w.written > w.length {
		return http.ErrContentLength
	}
	if w.file != nil {
		return w.waitTail()
	}
	return nil
}

// Flush sends what has been written so far.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush with its error, for http.ResponseController.
func (w *response) FlushError() error {
	if w.hijacked {
		return http.ErrHijacked
	}
	if !w.wroteHeader {
		w.WriteHeader(http.StatusOK)
	}
	if w.file != nil {
		if err := w.waitTail(); err != nil {
			return err
		}
	}
	return w.flush(false)
}

// flush queues what is composed: the head, if it has not been, the bytes
// collected and, at last, the body's end.
func (w *response) flush(last bool) error {
	s := w.scratch()
	s.wire = s.wire[:0]
	if !w.sentHead {
		w.composeHead(s, last)
	}
	w.frame(s, s.body)
	s.body = s.body[:0]
	if last {
		w.end(s)
	}
	return w.queue(s.wire)
}

// frame appends p, framed, to what goes out, unless the answer has no body.
func (w *response) frame(s *scratch, p []byte) {
	if len(p) == 0 || w.req.Method == http.MethodHead {
		return
	}
	var err error
	if s.wire, err = w.enc.Data(s.wire, len(p)); err != nil {
		w.closeAfter = true // admit has told the handler
		return
	}
	s.wire = append(s.wire, p...)
	s.wire = w.enc.AfterData(s.wire)
}

// direct sends a long piece of body without collecting it.
func (w *response) direct(p []byte) (int, error) {
	s := w.out
	for done := 0; done < len(p); {
		n := min(pieceMax, len(p)-done)
		s.wire = s.wire[:0]
		w.frame(s, p[done:done+n])
		if err := w.queue(s.wire); err != nil {
			return done, err
		}
		done += n
	}
	return len(p), nil
}

// queue hands bytes to the connection and waits before while too many are on
// their way.
func (w *response) queue(p []byte) error {
	if len(p) == 0 {
		return w.failed()
	}
	if err := w.ready(); err != nil {
		return err
	}
	if _, err := w.hc.Write(p); err != nil {
		w.hc.mu.Lock()
		defer w.hc.mu.Unlock()
		if w.err == nil {
			w.err = err // for good: what follows would not be what the client takes it for
		}
		return timeout(err)
	}
	return nil
}

// failed returns why writing is impossible, nil if it is not.
func (w *response) failed() error {
	w.hc.mu.Lock()
	defer w.hc.mu.Unlock()
	return timeout(w.err)
}

// ready waits until the connection is below its high-water mark.
func (w *response) ready() error {
	w.hc.mu.Lock()
	defer w.hc.mu.Unlock()
	for w.err == nil && w.hc.AboveHighWater() {
		w.cond.Wait()
	}
	return timeout(w.err)
}

// timeout makes an error of a passed deadline one that users of package net
// expect.
func timeout(err error) error {
	if errors.Is(err, sluice.ErrWriteTimeout) {
		return os.ErrDeadlineExceeded
	}
	return err
}
