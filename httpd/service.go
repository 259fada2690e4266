package httpd

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/http1"
)

// service is the sluice.Handler of the connections of one listener.
type service struct {
	srv     *Server
	std     *http.Server // the settings, for those who look for http.ServerContextKey
	eng     *sluice.Engine
	ln      *sluice.Listener
	handler http.Handler
	limits  http1.Limits
	base    context.Context
	secure  bool     // true exactly when connections have TLS
	counts  []counts // by loop

	ready   atomic.Bool // true exactly when base is set
	stopped sync.Once
	done    chan struct{} // closed when the listener is to close

	mu       sync.Mutex
	early    []sluice.Conn // those that came before base was set
	open     atomic.Int64  // connections that have not ended, hijacked ones included
	hijacked atomic.Int64  // hijacked connections that have not ended
	waiters  []chan struct{}
}

var (
	_ sluice.Handler         = (*service)(nil)
	_ sluice.EOFHandler      = (*service)(nil)
	_ sluice.DrainHandler    = (*service)(nil)
	_ sluice.HangupHandler   = (*service)(nil)
	_ sluice.ReadIdleHandler = (*service)(nil)

	_ sluice.HandshakeErrorHandler = (*service)(nil)
)

func newService(s *Server, eng *sluice.Engine) *service {
	sv := &service{
		srv: s, eng: eng, handler: s.Handler, done: make(chan struct{}),
		limits: http1.Limits{Line: s.maxHeaderBytes(), Head: s.maxHeaderBytes(), Body: s.MaxBodyBytes},
		std: &http.Server{
			Addr: s.Addr, Handler: s.Handler, ReadTimeout: s.ReadTimeout, ReadHeaderTimeout: s.ReadHeaderTimeout,
			WriteTimeout: s.WriteTimeout, IdleTimeout: s.IdleTimeout, MaxHeaderBytes: s.MaxHeaderBytes, ErrorLog: s.ErrorLog,
			TLSConfig:                    s.TLSConfig,
			DisableGeneralOptionsHandler: s.DisableGeneralOptionsHandler,
		},
		counts: make([]counts, len(eng.Stats().Loops)),
	}
	if sv.handler == nil {
		sv.handler = http.DefaultServeMux
	}
	return sv
}

// begin starts serving, with the context that requests derive from.
func (sv *service) begin(base context.Context) {
	sv.base = base
	sv.mu.Lock()
	defer sv.mu.Unlock()
	sv.ready.Store(true)
	for _, c := range sv.early {
		_ = c.Execute(func(c sluice.Conn) {
			sv.opened(c)
			_ = c.ResumeRead()
		})
	}
	sv.early = nil
}

// wait waits until the service is stopped or its engine ends.
func (sv *service) wait() error {
	select {
	case <-sv.done:
		return http.ErrServerClosed
	case <-sv.eng.Done():
	}
	if err := sv.eng.Wait(); !errors.Is(err, sluice.ErrEngineClosed) {
		return err
	}
	return http.ErrServerClosed
}

// stop closes the listener.
func (sv *service) stop() {
	sv.stopped.Do(func() {
		_ = sv.ln.Close()
		close(sv.done)
	})
}

// drained waits until every connection that is not hijacked has ended.
func (sv *service) drained(ctx context.Context) error {
	sv.mu.Lock()
	if sv.open.Load() == sv.hijacked.Load() {
		sv.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	sv.waiters = append(sv.waiters, ch)
	sv.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// count notes that a connection has come, gone or been hijacked, and tells
// those who wait for the last.
func (sv *service) count(open, hijacked int64) {
	sv.hijacked.Add(hijacked) // first: for a moment too many seem to be left, not too few
	sv.open.Add(open)
	left := sv.open.Load() // read after both: the last to change them sees what is left
	if left != sv.hijacked.Load() || !sv.srv.inShutdown.Load() {
		return
	}
	sv.mu.Lock()
	defer sv.mu.Unlock()
	for _, ch := range sv.waiters {
		close(ch)
	}
	sv.waiters = nil
	if left == 0 {
		go sv.srv.release()
	}
}

// OnOpen begins a connection.
func (sv *service) OnOpen(c sluice.Conn) {
	sv.count(1, 0)
	if sv.ready.Load() {
		sv.opened(c)
		return
	}
	sv.mu.Lock()
	defer sv.mu.Unlock()
	if sv.ready.Load() {
		sv.opened(c)
		return
	}
	_ = c.PauseRead()
	sv.early = append(sv.early, c)
}

func (sv *service) opened(c sluice.Conn) {
	s := sv.srv
	if d := s.idleTimeout(); d > 0 {
		_ = c.SetIdleTimeout(d)
	}
	if d := s.readHeaderTimeout(); d > 0 {
		_ = c.SetReadDeadline(time.Now().Add(d))
	}
	c.SetContext(unused{})
	if s.ConnContext != nil {
		hc := &conn{Conn: c, sv: sv, attached: true, unused: true}
		c.SetContext(hc)
		if hc.ctx = s.ConnContext(sv.base, netConn{c}); hc.ctx == nil {
			panic("httpd: ConnContext returned nil")
		}
	}
	if s.inShutdown.Load() {
		sv.closeIdle(c)
	}
	sv.state(c, http.StateNew)
	if !sv.secure {
		return
	}
	if state := c.TLS(); !speaksHTTP1(state) {
		s.logAt(slog.LevelInfo, "httpd: %s chose %q by ALPN, which is not served: offer it neither in NextProtos nor in what GetConfigForClient returns", c.RemoteAddr(), state.NegotiatedProtocol)
		_ = c.Close()
	}
}

// unused is the Context of a connection that has sent nothing yet: its first
// request may be on its way.
type unused struct{}

// firstGrace is how long after accepting Shutdown waits for the first request
// of a connection, and for the rest of a request's head. It is the figure of
// net/http.
const firstGrace = 5 * time.Second

// state tells the user that a connection changed state.
func (sv *service) state(c sluice.Conn, state http.ConnState) {
	if hook := sv.srv.ConnState; hook != nil {
		hook(netConn{c}, state)
	}
}

// closeIdle closes a connection on which no request is under way, at once or,
// in a shutdown, if one does not come soon that may be on its way. Others close
// when they have been answered. Loop only.
func (sv *service) closeIdle(c sluice.Conn) {
	waits := false
	switch hc := c.Context().(type) {
	case *conn:
		if hc.busy() {
			return
		}
		waits = hc.rx != nil || hc.unused
	case unused:
		waits = true
	case *taken:
		return
	}
	switch left := firstGrace - c.Idle(); {
	case !waits || left <= 0:
		_ = c.Close()
	case sv.srv.inShutdown.Load():
		_ = c.SetReadDeadline(time.Now().Add(left))
	}
}

// abort ends a connection, unless it is hijacked or was taken over.
func (sv *service) abort(c sluice.Conn) {
	switch ctx := c.Context().(type) {
	case *taken:
		return
	case *conn:
		if ctx.isHijacked() {
			return
		}
	}
	_ = c.Abort()
}

// listener is what BaseContext gets to see of a listener of the engine.
type listener struct{ ln *sluice.Listener }

func (l listener) Addr() net.Addr { return l.ln.Addr() }
func (l listener) Close() error   { return l.ln.Close() }
func (l listener) Accept() (net.Conn, error) {
	return nil, errors.New("httpd: the server accepts the connections of this listener")
}

// netConn is what hooks get to see of a connection.
type netConn struct{ sluice.Conn }

var errPassive = errors.New("httpd: the server reads and writes this connection; use http.Hijacker")

func (netConn) Read([]byte) (int, error)  { return 0, errPassive }
func (netConn) Write([]byte) (int, error) { return 0, errPassive }
