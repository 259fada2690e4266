package websocket

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/ws"
)

// Server is what makes connections of HTTP ones of WebSocket. It is an http.Handler
// for package httpd, and Upgrade is for a handler that decides by itself. Protocol
// and ListenAndServe serve WebSocket alone. The fields must not be changed once it
// is in use.
type Server struct {
	// Handler is told what happens on the connections.
	Handler Handler

	// Accept, if it is not nil, is asked before a handshake is accepted, but not by
	// Upgrade. It returns what Conn.Context is to be, or an error: a *Refusal, or
	// another for 403. It must not block: it mostly runs on the loop. A page in a
	// browser is not told why it was refused; to tell it, accept, and close in OnOpen.
	Accept func(r *Request) (attached any, err error)

	// CheckOrigin reports whether a connection may be opened by a page of the
	// request's Origin. nil means: if there is one, its host must be that of the
	// request. Without a check every page in the world can open connections in the
	// name of its visitor, with the visitor's cookies (RFC 6455 10.2).
	CheckOrigin func(r *Request) bool

	// Subprotocols are those that the server speaks, the best first, at most 255.
	// The first of them that a client offers is agreed on.
	Subprotocols []string

	// Compression, if it is not nil, is offered to clients that can do it.
	Compression *Compression

	// MaxMessage is the greatest length of a received message in bytes, inflated if
	// it was compressed. A longer one costs the connection, with the status 1009.
	// 0 means 1 MiB. A PartHandler may choose much more; with Compression a message of
	// that size is held all the same, since what was compressed comes whole. A message
	// may take as long as the peer likes, and what has come of it is held meanwhile.
	MaxMessage int64

	// MaxFrame is the greatest length of a received frame in bytes. 0 means that
	// MaxMessage alone bounds it.
	MaxFrame int64

	// KeepAlive is after how long without a byte from the peer it is pinged. If then
	// nothing comes for as long again, the connection is aborted with ErrSilent.
	// 0 means 30 seconds, a negative value never.
	KeepAlive time.Duration

	// CloseTimeout is how long a peer may take to answer a Close frame, counted from when
	// the kernel has taken that, or last took some of what was written before. Then the
	// connection beneath is closed, in order, for which sluice.Config.LingerTimeout
	// holds. 0 means 5 seconds.
	CloseTimeout time.Duration

	// HandshakeTimeout is how long a client may take for its handshake on a listener
	// of WebSocket's own. 0 means 10 seconds. Those of httpd have its limits.
	HandshakeTimeout time.Duration

	// Backlog bounds what waits for peers that do not keep up.
	Backlog Backlog

	// Engine has the loops for ListenAndServe. nil means an engine of the server's
	// own.
	Engine *sluice.Engine

	once    sync.Once
	service service
	invalid error         // what is wrong with the settings
	stop    chan struct{} // closed by Shutdown

	complained sync.Once

	mu        sync.Mutex
	own       *sluice.Engine // nil until it is needed
	listeners []*sluice.Listener
}

const defaultHandshakeTimeout = 10 * time.Second

// ready makes the service of the settings, once.
func (s *Server) ready() (*service, error) {
	s.once.Do(func() {
		s.stop = make(chan struct{})
		sv := &s.service
		sv.h, sv.protocols, sv.compression = s.Handler, s.Subprotocols, s.Compression
		sv.limits = ws.Limits{Frame: s.MaxFrame, Message: s.MaxMessage}
		sv.keepAlive, sv.closeTimeout, sv.backlog = s.KeepAlive, s.CloseTimeout, s.Backlog
		s.invalid = sv.check("Server")
		if s.HandshakeTimeout < 0 {
			s.invalid = errors.Join(s.invalid, fmt.Errorf("websocket: Server.HandshakeTimeout is %v; it must not be negative", s.HandshakeTimeout))
		}
	})
	return &s.service, s.invalid
}

// newConn makes a connection of what a handshake has agreed on.
func (s *service) newConn(a agreement, attached any) *Conn {
	c := &Conn{of: s, ctx: attached, home: -1, protocol: uint8(a.protocol)}
	if a.deflate {
		c.setParams(a.params)
	}
	return c
}

// ServeHTTP makes the handshake, asking Accept. The server must be an httpd.Server.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if _, err := s.upgrade(w, r, s.Accept, false); errors.Is(err, errors.ErrUnsupported) || s.invalid != nil {
		s.complain(err)
	}
}

// errNotSetUp is what clients are told of wrong settings.
const errNotSetUp = "the WebSocket server is not set up"

// complain logs, once, why all handshakes are refused.
func (s *Server) complain(err error) {
	s.complained.Do(func() { slog.Error("websocket: handshakes are refused", "err", err) })
}

// ServeLoop makes the handshake within a LoopHandler of an httpd.Server, which then
// returns true, asking Accept. No http.Request is made and no goroutine used, so that it
// costs a fraction of ServeHTTP.
func (s *Server) ServeLoop(x *httpd.RequestCtx) {
	o := openings.Get().(*opening)
	defer o.give()
	o.request = Request{
		method: lent(x.Method()), target: lent(x.Target()), host: lent(x.Host()), fields: x.Fields(),
		modern: x.ProtoMinor() > 0, body: len(x.Body()) > 0, conn: x,
	}
	sv, err := s.ready()
	var a agreement
	var attached any
	var refused *Refusal
	if err != nil {
		s.complain(err)
		refused = refuse(http.StatusInternalServerError, errNotSetUp)
	} else {
		a, attached, refused = s.admit(&o.request, s.Accept)
	}
	if refused != nil {
		sv.count(0).refuse.Add(1)
		x.SetStatus(refused.Status)
		for name, values := range refused.Header {
			for _, v := range values {
				x.Set(name, v)
			}
		}
		_, _ = x.WriteString(refused.text() + "\n")
		return
	}
	taken := false // it may panic
	defer sv.settle(&taken)
	o.answer = a.answer(o.answer[:0], sv, nil)
	x.TakeOver(o.answer, (*endpoint)(sv.newConn(a, attached)))
	taken = true
}

// Upgrade makes the handshake within a handler of a server that is an httpd.Server,
// directly or through middleware whose http.ResponseWriter has the method Unwrap of
// http.ResponseController. attached is what Conn.Context will return. The answer has
// the fields that w.Header() has, such as Set-Cookie.
//
// It is called before anything is written to w. The handler should return soon after
// it: the connection needs no goroutine, its offloaded jobs and OnClose wait for the
// handler, and r.Context() does not end with it. OnOpen may have been called before
// Upgrade returns, and OnMessage. With an error the request has been answered, if it can
// be. After the handler has returned, Upgrade panics.
func (s *Server) Upgrade(w http.ResponseWriter, r *http.Request, attached any) (*Conn, error) {
	return s.upgrade(w, r, func(*Request) (any, error) { return attached, nil }, false)
}

// UpgradeBlocking is Upgrade for code that waits for messages, in the handler itself,
// which then counts among httpd.Server's MaxHandlers, or in a goroutine that it starts.
// Shutdown closes the connections but does not wait for that code.
func (s *Server) UpgradeBlocking(w http.ResponseWriter, r *http.Request, attached any) (*Blocking, error) {
	c, err := s.upgrade(w, r, func(*Request) (any, error) { return attached, nil }, true)
	if err != nil {
		return nil, err
	}
	return c.Blocking(), nil
}

func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, accept func(*Request) (any, error), blocking bool) (*Conn, error) {
	sv, err := s.ready()
	if err != nil {
		http.Error(w, errNotSetUp, http.StatusInternalServerError)
		return nil, err
	}
	o := openings.Get().(*opening)
	defer o.give()
	o.request.standard(r)
	a, attached, refused := s.admit(&o.request, accept)
	if refused != nil {
		sv.count(0).refuse.Add(1)
		for name, values := range refused.Header {
			w.Header()[http.CanonicalHeaderKey(name)] = values
		}
		http.Error(w, refused.text(), refused.Status)
		return nil, refused
	}
	c := sv.newConn(a, attached)
	if blocking {
		c.Blocking()
	}
	o.answer = a.answer(o.answer[:0], sv, w.Header())
	taken := false // it may panic
	defer sv.settle(&taken)
	conn, err := httpd.TakeOver(w, o.answer, (*endpoint)(c))
	if err != nil {
		sv.count(0).refuse.Add(1)
		if errors.Is(err, errors.ErrUnsupported) { // otherwise nothing can be answered any more
			http.Error(w, "this connection cannot be upgraded: it is not served by package httpd, or middleware hides that", http.StatusInternalServerError)
			return nil, fmt.Errorf("websocket: Upgrade needs a server of package httpd, and of middleware's ResponseWriter the method Unwrap: %w", err)
		}
		return nil, fmt.Errorf("websocket: Upgrade: %w", err)
	}
	taken = true
	c.bind(conn)
	return c, nil
}

// admit reads the request of a handshake and asks whether it is to be accepted. Then
// it is counted among s.service.admitted, until the endpoint's OnOpen.
func (s *Server) admit(r *Request, accept func(*Request) (any, error)) (a agreement, attached any, refused *Refusal) {
	admitted := false
	s.service.admitted.Add(1) // before leaving is looked at: Shutdown does so the other way round
	defer s.service.settle(&admitted)
	if s.service.leaving.Load() {
		return a, nil, refuse(http.StatusServiceUnavailable, "the server is shutting down")
	}
	if a, refused = s.negotiate(r); refused != nil {
		return a, nil, refused
	}
	if accept != nil {
		var err error
		if attached, err = accept(r); err != nil {
			return a, nil, refusal(err)
		}
	}
	admitted = true
	return a, attached, nil
}

// settle takes back that a handshake was admitted, unless it goes on.
func (s *service) settle(goesOn *bool) {
	if !*goesOn {
		s.admitted.Add(-1)
	}
}

// Broadcast sends a message to all connections of the server, as Group.Broadcast
// does, with the same error.
func (s *Server) Broadcast(p *Prepared) error { return s.service.all.Broadcast(p) }

// Stats returns the server's counters. Any goroutine may call it.
func (s *Server) Stats() Stats { return s.service.stats() }

// ListenAndServe listens on a TCP address and serves WebSocket alone until Shutdown or
// a failure. It always returns an error: http.ErrServerClosed after Shutdown. For TLS,
// Unix sockets and other settings give Protocol to an engine.
func (s *Server) ListenAndServe(addr string) error {
	eng, err := s.engine()
	if err != nil {
		return err
	}
	ln, err := eng.Listen("tcp", cmp.Or(addr, ":http"), s.Protocol())
	switch {
	case err != nil && s.service.leaving.Load():
		return http.ErrServerClosed
	case err != nil:
		return err
	}
	s.mu.Lock()
	s.listeners = append(s.listeners, ln)
	s.mu.Unlock()
	if s.service.leaving.Load() { // Shutdown may not have seen it
		_ = ln.Close()
	}
	select {
	case <-s.stop:
	case <-eng.Done():
		if err := eng.Wait(); !errors.Is(err, sluice.ErrEngineClosed) {
			return err
		}
	}
	return http.ErrServerClosed
}

// engine returns the engine to serve on.
func (s *Server) engine() (*sluice.Engine, error) {
	if _, err := s.ready(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.service.leaving.Load():
		return nil, http.ErrServerClosed
	case s.Engine != nil:
		return s.Engine, nil
	case s.own == nil:
		own, err := sluice.New(sluice.Config{})
		if err != nil {
			return nil, err
		}
		s.own = own
	}
	return s.own, nil
}
