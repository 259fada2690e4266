package httpd

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// Hijack gives the connection to the handler as a blocking net.Conn. Bytes that
// came after the request are the first that it reads; the bufio.Reader is
// empty. The server's time limits end.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	hc := w.hc
	switch {
	case w.handlerDone:
		panic("httpd: Hijack called after ServeHTTP finished")
	case w.hijacked:
		return nil, nil, http.ErrHijacked
	}
	w.askNoMore()
	if w.wroteHeader {
		if err := w.flush(false); err != nil {
			return nil, nil, err
		}
	}
	hc.mu.Lock()
	hc.ex, hc.hijacked = nil, true
	if w.body != nil {
		w.body.leave(true)
	}
	hc.mu.Unlock()
	nc, err := hc.NetConn()
	if err != nil {
		hc.mu.Lock()
		hc.ex, hc.hijacked = w, false
		hc.mu.Unlock()
		return nil, nil, err
	}
	w.hijacked = true
	hc.sv.count(0, 1)
	_ = hc.SetIdleTimeout(0)
	_ = hc.SetDeadline(time.Time{})
	w.release()
	hc.sv.state(hc.Conn, http.StateHijacked)
	return nc, bufio.NewReadWriter(bufio.NewReader(nc), bufio.NewWriter(nc)), nil
}

// CloseNotify returns a channel that gets a value when the client is gone. It
// is there for the handlers that still use it; http.Request.Context is better.
func (w *response) CloseNotify() <-chan bool {
	ch := make(chan bool, 1)
	context.AfterFunc(&w.ctx, func() { ch <- true })
	return ch
}

// caller tells where the handler called the server, for the log.
func caller() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "github.com/sluice-go/sluice/httpd.(*response)") || !more {
			return fmt.Sprintf("%s (%s:%d)", frame.Function, frame.File, frame.Line)
		}
	}
}
