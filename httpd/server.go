package httpd

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice"
)

// Server serves HTTP/1.x on event loops. Its fields and methods have the names
// and meanings of those of net/http's Server, so that moving from one to the
// other is a changed line. The fields must not be changed once it serves.
type Server struct {
	// Addr is the TCP address that ListenAndServe listens on, "host:port".
	// "" means ":http".
	Addr string

	// Handler answers the requests, each on a goroutine of a pool that it
	// has for itself until it returns. nil means http.DefaultServeMux.
	Handler http.Handler

	// LoopHandler, if it is not nil, is asked first, on the event loop. It
	// must not block, not even for a short time: every other connection of
	// the loop waits meanwhile. It reports whether it has answered; a request
	// for which it reports false goes to Handler. It is not asked for requests
	// whose body is chunked or longer than 64 KiB, or that expect 100 Continue:
	// those stream.
	LoopHandler func(x *RequestCtx) bool

	// TLSConfig is what ListenAndServeTLS, ServeTLS and ListenTLS use, which make
	// a copy. nil means the defaults of crypto/tls. How long a handshake may take
	// and how many run at a time are the Engine's: sluice.Config.HandshakeTimeout,
	// 10 s, and MaxHandshakes.
	TLSConfig *tls.Config

	// DisableGeneralOptionsHandler passes "OPTIONS *" to the handlers.
	// Otherwise it is answered with 200 and an empty body.
	DisableGeneralOptionsHandler bool

	// ReadTimeout bounds the time for reading a request with its body, from
	// its first byte. 0 means no limit. A request that is late before its
	// handler has begun costs the connection; later, reading the body fails.
	ReadTimeout time.Duration

	// ReadHeaderTimeout bounds the time for reading a request's head, from its
	// first byte, and the time from accepting to the first byte. 0 means
	// ReadTimeout.
	ReadHeaderTimeout time.Duration

	// WriteTimeout bounds the time from when a request is given to its handler
	// to the end of the answer. 0 means no limit. When it has passed, the
	// connection is cut off if bytes wait to be sent, otherwise writing fails.
	WriteTimeout time.Duration

	// IdleTimeout closes a connection on which no byte came or left for so
	// long while no handler was at work. 0 means ReadTimeout.
	IdleTimeout time.Duration

	// MaxHeaderBytes bounds a request's head; beyond it the answer is 431.
	// 0 means http.DefaultMaxHeaderBytes.
	MaxHeaderBytes int

	// MaxBodyBytes bounds a request's decoded body; beyond it the answer is
	// 413, or reading the body fails with an *http.MaxBytesError if the handler
	// has begun. 0 means no limit.
	MaxBodyBytes int64

	// MaxHandlers is the greatest number of handlers that run at one time;
	// requests beyond it wait, and Stats tells how many. 0 means 65,536. It
	// must be 0 if there is an Engine, whose Config.Workers counts then.
	MaxHandlers int

	// ConnState is called when a connection changes state, on the loop or on
	// the handler's goroutine; it must not block. The net.Conn given to it
	// and to ConnContext has addresses, deadlines and Close, is the same value
	// every time and may be a key of a map. It cannot be read or written.
	ConnState func(net.Conn, http.ConnState)

	// ErrorLog gets panics of handlers and hooks, their misuses of the API, and
	// the TLS handshakes that fail. nil means slog.Default(), where those
	// handshakes are at slog.LevelInfo: anyone can make one fail.
	ErrorLog *log.Logger

	// BaseContext returns the context from which those of a listener's
	// requests derive. nil means context.Background().
	BaseContext func(net.Listener) context.Context

	// ConnContext changes the context of a new connection's requests. It is
	// called on the loop and must not block.
	ConnContext func(ctx context.Context, c net.Conn) context.Context

	// Engine has the loops to serve on, shared with other servers; it stays
	// open when the server closes, and is to be shut down after the server:
	// it knows of handlers, not of answers that are still being sent. Its
	// Config.Workers, 256 for each processor unless it is set, bounds the
	// handlers of all its servers, and a stream of events or a WebSocket whose
	// handler does not return is one of them. Its WriteLimit must exceed its
	// HighWater by 64 KiB, its ReadLimit MaxHeaderBytes by 256 KiB. nil means
	// an engine of the server's own.
	Engine *sluice.Engine

	inShutdown   atomic.Bool
	noKeepAlives atomic.Bool

	mu         sync.Mutex
	own        *sluice.Engine // nil until it is needed, and if Engine is set
	starting   int            // calls of start that are under way
	services   []*service
	onShutdown []func()
}

const (
	defaultMaxHandlers = 65536

	// The marks of an engine of the server's own. A handler that writes more
	// than highWater to a slow reader waits until lowWater is left.
	highWater = 256 << 10
	lowWater  = 64 << 10
)

// ListenAndServe serves handler on a TCP address with a Server without limits of
// time, as http.ListenAndServe does. It always returns an error.
func ListenAndServe(addr string, handler http.Handler) error {
	return (&Server{Addr: addr, Handler: handler}).ListenAndServe()
}

// Serve serves handler on l with a Server without limits of time, as http.Serve
// does. It always returns an error.
func Serve(l net.Listener, handler http.Handler) error {
	return (&Server{Handler: handler}).Serve(l)
}

// ListenAndServe listens on the TCP address s.Addr and serves until Shutdown,
// Close or a failure. It always returns an error that is not nil:
// http.ErrServerClosed after Shutdown or Close.
func (s *Server) ListenAndServe() error {
	addr := s.Addr
	if addr == "" {
		addr = ":http"
	}
	sv, err := s.start(nil, func(e *sluice.Engine, h sluice.Handler) (*sluice.Listener, error) {
		return e.Listen("tcp", addr, h)
	})
	if err != nil {
		return err
	}
	return sv.wait()
}

// Serve accepts connections on l, a *net.TCPListener or *net.UnixListener,
// until Shutdown, Close or a failure, and closes l. It always returns an error
// that is not nil: http.ErrServerClosed after Shutdown or Close. To stop
// accepting, call these and not l.Close, which the server does not see. One loop
// accepts from l; with ListenAndServe and Listen all do where the system can.
func (s *Server) Serve(l net.Listener) error {
	return s.serve(l, func(h sluice.Handler) sluice.Handler { return h })
}

// serve is Serve with what layer puts below the server.
func (s *Server) serve(l net.Listener, layer func(sluice.Handler) sluice.Handler) error {
	sv, err := s.start(l, func(e *sluice.Engine, h sluice.Handler) (*sluice.Listener, error) {
		return e.ListenOn(l, layer(h))
	})
	if err != nil {
		_ = l.Close()
		switch l.(type) {
		case *net.TCPListener, *net.UnixListener:
		default: // what wraps one keeps the loops from its descriptor
			err = fmt.Errorf("%w; give it what is wrapped; for TLS there is ServeTLS", err)
		}
		return err
	}
	return sv.wait()
}

// Listen is ListenAndServe that does not wait, for any network, "tcp", "tcp4",
// "tcp6" or "unix", and address: it returns when connections are being
// accepted. Shutdown and Close close the listener.
func (s *Server) Listen(network, address string) (*sluice.Listener, error) {
	sv, err := s.start(nil, func(e *sluice.Engine, h sluice.Handler) (*sluice.Listener, error) {
		return e.Listen(network, address, h)
	})
	if err != nil {
		return nil, err
	}
	return sv.ln, nil
}

// listenFunc is what connections are accepted by: a method of an engine.
type listenFunc func(*sluice.Engine, sluice.Handler) (*sluice.Listener, error)

// start begins to serve what listen listens on; l is the listener to show to
// BaseContext, if it is not listen's own.
func (s *Server) start(l net.Listener, listen listenFunc) (*service, error) {
	if s.MaxHeaderBytes < 0 || s.MaxBodyBytes < 0 || s.MaxHandlers < 0 {
		return nil, fmt.Errorf("httpd: MaxHeaderBytes is %d, MaxBodyBytes %d, MaxHandlers %d; they must not be negative",
			s.MaxHeaderBytes, s.MaxBodyBytes, s.MaxHandlers)
	}
	if err := s.checkEngine(); err != nil {
		return nil, err
	}
	eng, err := s.engine()
	if err != nil {
		return nil, err
	}
	sv, err := s.begin(eng, l, listen)
	s.mu.Lock()
	s.starting--
	var unused *sluice.Engine
	if err != nil && s.starting == 0 && len(s.services) == 0 {
		unused, s.own = s.own, nil
	}
	s.mu.Unlock()
	if unused != nil {
		_ = unused.Close()
	}
	return sv, err
}

// begin is start once there is an engine.
func (s *Server) begin(eng *sluice.Engine, l net.Listener, listen listenFunc) (*service, error) {
	sv := newService(s, eng)
	var err error
	if sv.ln, err = listen(eng, sv); err != nil {
		if s.inShutdown.Load() {
			err = http.ErrServerClosed
		}
		return nil, err
	}
	base := context.Background()
	if s.BaseContext != nil {
		if l == nil {
			l = listener{sv.ln}
		}
		base = s.BaseContext(l)
	}
	switch {
	case base == nil:
		err = errors.New("httpd: BaseContext returned nil")
	case !s.add(sv): // before the first request: Shutdown must know of it
		err = http.ErrServerClosed
	default:
		sv.begin(&serverContext{base, sv.std})
		return sv, nil
	}
	sv.stop()
	sv.ln.Each(sv.abort)
	return nil, err
}

// checkEngine reports what of an Engine's settings does not suit the server's.
func (s *Server) checkEngine() error {
	if s.Engine == nil {
		return nil
	}
	cfg := s.Engine.Config()
	switch {
	case s.MaxHandlers != 0:
		return errors.New("httpd: MaxHandlers is set beside Engine; set its Config.Workers instead")
	case cfg.WriteLimit < cfg.HighWater+2*pieceMax:
		return fmt.Errorf("httpd: the Engine's Config.WriteLimit is %d; it must be at least %d, its HighWater and 64 KiB",
			cfg.WriteLimit, cfg.HighWater+2*pieceMax)
	case cfg.ReadLimit < s.maxHeaderBytes()+4*readAhead:
		return fmt.Errorf("httpd: the Engine's Config.ReadLimit is %d; it must be at least %d, MaxHeaderBytes and 256 KiB",
			cfg.ReadLimit, s.maxHeaderBytes()+4*readAhead)
	}
	return nil
}

// add makes Shutdown and Close see sv, unless they came first.
func (s *Server) add(sv *service) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inShutdown.Load() {
		return false
	}
	s.services = append(s.services, sv)
	return true
}

// engine returns the engine to serve on.
func (s *Server) engine() (*sluice.Engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.inShutdown.Load():
		return nil, http.ErrServerClosed
	case s.Engine != nil:
		s.starting++
		return s.Engine, nil
	case s.own != nil:
		s.starting++
		return s.own, nil
	}
	cfg := sluice.Config{HighWater: highWater, LowWater: lowWater, Workers: s.MaxHandlers, ReadLimit: s.maxHeaderBytes() + 4*readAhead}
	if cfg.Workers == 0 {
		cfg.Workers = defaultMaxHandlers
	}
	if s.ErrorLog != nil {
		cfg.Logger = slog.New(slog.NewTextHandler(s.ErrorLog.Writer(), nil))
	}
	own, err := sluice.New(cfg)
	if err != nil {
		return nil, err
	}
	s.own = own
	s.starting++
	return own, nil
}

// Shutdown ends the server in order: it stops listening, calls the functions of
// RegisterOnShutdown, closes connections that are idle, lets handlers that are
// at work finish, and waits until all connections are closed. When ctx ends
// first, it returns ctx's error and leaves the rest as it is, to go on or for
// Close. Like net/http it neither closes nor waits for hijacked connections. It
// must not be called from a hook or a LoopHandler, whose loop it waits for:
// there, use a goroutine.
func (s *Server) Shutdown(ctx context.Context) error {
	s.inShutdown.Store(true)
	s.mu.Lock()
	services := s.services
	for _, fn := range s.onShutdown {
		go fn()
	}
	s.onShutdown = nil
	s.mu.Unlock()
	for _, sv := range services {
		sv.stop()
		sv.ln.Each(sv.closeIdle)
	}
	for _, sv := range services {
		if err := sv.drained(ctx); err != nil {
			return err
		}
	}
	return s.release()
}

// Close ends the server at once: it stops listening and aborts every
// connection that is not hijacked. Handlers that are at work find their
// request's context cancelled and their writes failing; Close does not wait
// for them. It must not be called from a hook or a LoopHandler, nor must
// CloseConns: there, use a goroutine.
func (s *Server) Close() error {
	s.inShutdown.Store(true)
	for _, sv := range s.all() {
		sv.stop()
	}
	s.CloseConns()
	return s.release()
}

// CloseConns aborts every connection that is not hijacked; the server goes on
// accepting.
func (s *Server) CloseConns() {
	for _, sv := range s.all() {
		sv.ln.Each(sv.abort)
	}
}

func (s *Server) all() []*service {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.services
}

// release ends the server's own engine, once the hijacked connections and the
// handlers are done, which may be after it has returned.
func (s *Server) release() error {
	s.mu.Lock()
	own := s.own
	for _, sv := range s.services {
		if sv.open.Load() > 0 {
			own = nil // the last connection's end will see to it
		}
	}
	if own != nil {
		s.own = nil
	}
	s.mu.Unlock()
	if own == nil {
		return nil
	}
	return own.Close()
}

// RegisterOnShutdown has Shutdown call fn in a goroutine of its own, to tell
// hijacked connections, say. Shutdown does not wait for fn.
func (s *Server) RegisterOnShutdown(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.onShutdown = append(s.onShutdown, fn)
}

// SetKeepAlivesEnabled says whether connections serve more than one request,
// which they do unless it is called with false; then idle ones are closed.
func (s *Server) SetKeepAlivesEnabled(on bool) {
	s.noKeepAlives.Store(!on)
	for _, sv := range s.all() {
		if !on {
			go sv.ln.Each(sv.closeIdle)
		}
	}
}

func (s *Server) keepAlives() bool { return !s.noKeepAlives.Load() && !s.inShutdown.Load() }

func (s *Server) logf(format string, args ...any) { s.logAt(slog.LevelError, format, args...) }

// logAt is logf for what is no error of ours.
func (s *Server) logAt(level slog.Level, format string, args ...any) {
	if s.ErrorLog != nil {
		s.ErrorLog.Printf(format, args...)
		return
	}
	slog.Log(context.Background(), level, fmt.Sprintf(format, args...))
}

func (s *Server) maxHeaderBytes() int { return cmp.Or(s.MaxHeaderBytes, http.DefaultMaxHeaderBytes) }

func (s *Server) readHeaderTimeout() time.Duration { return cmp.Or(s.ReadHeaderTimeout, s.ReadTimeout) }

// timesReading reports whether a limit of time holds for reading requests.
func (s *Server) timesReading() bool { return s.readHeaderTimeout() > 0 || s.ReadTimeout > 0 }

func (s *Server) idleTimeout() time.Duration { return cmp.Or(s.IdleTimeout, s.ReadTimeout) }
