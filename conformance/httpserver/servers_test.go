package httpserver

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

// bound is how long a test waits for what must happen; it measures nothing.
const bound = 20 * time.Second

// server has the methods of http.Server that these tests call.
type server interface {
	Serve(net.Listener) error
	Shutdown(context.Context) error
	Close() error
	RegisterOnShutdown(func())
}

// kind is an implementation of server. make takes the settings in the fields of
// an http.Server that is not used otherwise.
type kind struct {
	name string
	make func(settings *http.Server) server
}

// kinds are the servers that must answer alike; the first is what the others
// are compared with.
var kinds = []kind{
	{"net-http", func(settings *http.Server) server { return settings }},
	{"httpd", func(s *http.Server) server {
		return &httpd.Server{
			Handler: s.Handler, ReadTimeout: s.ReadTimeout, ReadHeaderTimeout: s.ReadHeaderTimeout, WriteTimeout: s.WriteTimeout,
			IdleTimeout: s.IdleTimeout, MaxHeaderBytes: s.MaxHeaderBytes, ConnState: s.ConnState, BaseContext: s.BaseContext,
			ConnContext: s.ConnContext, ErrorLog: s.ErrorLog, DisableGeneralOptionsHandler: s.DisableGeneralOptionsHandler,
		}
	}},
}

// eachKind runs test on every server.
func eachKind(t *testing.T, test func(t *testing.T, k kind)) {
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) { test(t, k) })
	}
}

// site is a running server.
type site struct {
	server
	kind string
	addr string // host:port
	url  string // http://host:port
	log  *logBuffer
	done chan error // what Serve returned
}

// serve starts a server, which ends with the test.
func (k kind) serve(t testing.TB, h http.Handler) *site {
	t.Helper()
	return k.serveWith(t, &http.Server{Handler: h})
}

// serveWith is serve with more settings than a handler.
func (k kind) serveWith(t testing.TB, settings *http.Server) *site {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{kind: k.name, addr: ln.Addr().String(), log: new(logBuffer), done: make(chan error, 1)}
	s.url = "http://" + s.addr
	settings.ErrorLog = log.New(s.log, "", 0)
	s.server = k.make(settings)
	go func() { s.done <- s.Serve(ln) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("%s: Close: %v", k.name, err)
		}
		s.ended(t)
	})
	return s
}

// ended waits until Serve returns, and checks what.
func (s *site) ended(t testing.TB) {
	t.Helper()
	select {
	case err := <-s.done:
		if !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("%s: Serve: %v, want %v", s.kind, err, http.ErrServerClosed)
		}
		s.done <- err // for whoever asks again
	case <-time.After(bound):
		t.Errorf("%s: Serve does not return", s.kind)
	}
}

// logBuffer collects what a server logs.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// Reset forgets what was logged.
func (b *logBuffer) Reset() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.Reset()
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// TestMain fails if the tests left goroutines or descriptors behind.
func TestMain(m *testing.M) {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		ln.Close() // the runtime's own descriptors are open now
	}
	goroutines, descriptors := runtime.NumGoroutine(), openDescriptors()
	code := m.Run()
	http.DefaultClient.CloseIdleConnections()
	for deadline := time.Now().Add(bound); code == 0; time.Sleep(time.Millisecond) {
		g, d := runtime.NumGoroutine(), openDescriptors()
		if g <= goroutines && d <= descriptors {
			break
		}
		if time.Now().After(deadline) {
			fmt.Printf("FAIL: %d goroutines are left, %d before; %d descriptors, %d before\n", g, goroutines, d, descriptors)
			_ = pprof.Lookup("goroutine").WriteTo(os.Stdout, 1)
			code = 1
		}
	}
	os.Exit(code)
}

// openDescriptors counts the descriptors of this process, and is 0 where the
// system does not show them.
func openDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}
