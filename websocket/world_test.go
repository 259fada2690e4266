package websocket_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/crc32"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/websocket"
)

// bound is how long a test waits for what must happen. It is no measure of
// speed: a loaded machine has time.
const bound = 20 * time.Second

// The ways that a Server gets its connections.
const (
	overHTTP   = "httpd"
	onListener = "listener"
)

// world is what a server runs on.
type world struct {
	driver string
	way    string
	cfg    sluice.Config
	secure bool // true exactly when it is over TLS
}

// eachDriver runs a test on every driver of this system, on a listener of
// WebSocket's own.
func eachDriver(t *testing.T, test func(t *testing.T, w *world)) {
	for _, driver := range sluice.Drivers() {
		t.Run(driver, func(t *testing.T) {
			if err := sluice.CheckDriver(driver); err != nil {
				t.Skip(err)
			}
			test(t, &world{driver: driver, way: onListener})
		})
	}
}

// eachWorld is eachDriver for both ways.
func eachWorld(t *testing.T, test func(t *testing.T, w *world)) {
	eachDriver(t, func(t *testing.T, w *world) {
		for _, way := range []string{overHTTP, onListener} {
			t.Run(way, func(t *testing.T) { test(t, &world{driver: w.driver, way: way}) })
		}
	})
}

// site is a server that is at work.
type site struct {
	*websocket.Server
	t      *testing.T
	eng    *sluice.Engine
	addr   net.Addr
	log    *logText
	client *tls.Config // nil without TLS
}

// url is where the server is.
func (st *site) url(path string) string {
	if st.client != nil {
		return "wss://" + st.addr.String() + path
	}
	return "ws://" + st.addr.String() + path
}

// engine starts an engine that ends with the test and is checked to leave nothing.
func (w *world) engine(t *testing.T) (*sluice.Engine, *logText) {
	t.Helper()
	before, text := takeCensus(), &logText{}
	cfg := w.cfg
	cfg.Driver, cfg.Logger = w.driver, slog.New(slog.NewTextHandler(text, nil))
	if cfg.Loops == 0 {
		cfg.Loops = 2
	}
	eng, err := sluice.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := eng.Close(); err != nil {
			t.Errorf("closing the engine: %v", err)
		}
		eventually(t, "the loops to release their blocks", func() bool {
			var n int64
			for _, l := range eng.Stats().Loops {
				n += l.LiveBlocks
			}
			return n == 0
		})
		eventually(t, "all that a test left behind to go", func() bool { return takeCensus().within(before) })
	})
	return eng, text
}

// serve starts a server on 127.0.0.1 and checks when the test ends that nothing
// of it is left.
func (w *world) serve(t *testing.T, s *websocket.Server) *site {
	t.Helper()
	return w.handle(t, s, s)
}

// handle is serve with the http.Handler of the way over httpd.
func (w *world) handle(t *testing.T, s *websocket.Server, h http.Handler) *site {
	t.Helper()
	st := &site{Server: s, t: t}
	st.eng, st.log = w.engine(t)
	t.Cleanup(func() { // before the engine ends, which would abort them
		eventually(t, "the connections to end", func() bool { return s.Stats().Conns == 0 })
	})
	var server *tls.Config
	if w.secure {
		server, st.client = certificate()
	}
	var ln *sluice.Listener
	var err error
	switch {
	case w.way == onListener && w.secure:
		ln, err = st.eng.Listen("tcp", "127.0.0.1:0", sluice.TLS(server, s.Protocol()))
	case w.way == onListener:
		ln, err = st.eng.Listen("tcp", "127.0.0.1:0", s.Protocol())
	default:
		hs := &httpd.Server{Engine: st.eng, Handler: h, ErrorLog: log.New(st.log, "", 0), TLSConfig: server}
		t.Cleanup(func() { _ = hs.Close() })
		if w.secure {
			ln, err = hs.ListenTLS("tcp", "127.0.0.1:0", "", "")
		} else {
			ln, err = hs.Listen("tcp", "127.0.0.1:0")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	st.addr = ln.Addr()
	return st
}

// certificate is one for 127.0.0.1, and who trusts it.
var certificate = sync.OnceValues(func() (server, client *tls.Config) {
	ts := httptest.NewUnstartedServer(nil)
	ts.StartTLS()
	defer ts.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	return &tls.Config{Certificates: ts.TLS.Certificates}, &tls.Config{RootCAs: roots, ServerName: "example.com"}
})

// recorder is a Handler that writes down what it is told, and checks what holds for
// every connection: OnOpen is first, OnClose last and once, and no two calls overlap.
type recorder struct {
	t    testing.TB
	open func(c *websocket.Conn)
	msg  func(c *websocket.Conn, op websocket.Opcode, data []byte)
	ping func(c *websocket.Conn)

	opened chan *websocket.Conn
	closed chan error

	mu     sync.Mutex
	seen   []string
	states map[*websocket.Conn]*state
	muted  bool // true exactly when only what goes wrong is written down
}

// state is what a recorder knows about a connection.
type state struct {
	busy   atomic.Bool
	opened bool
	closed bool
}

func newRecorder(t testing.TB) *recorder {
	return &recorder{
		t: t, opened: make(chan *websocket.Conn, 4096), closed: make(chan error, 4096),
		states: make(map[*websocket.Conn]*state),
	}
}

// echoing is a recorder that sends messages back.
func echoing(t testing.TB) *recorder {
	r := newRecorder(t)
	r.msg = func(c *websocket.Conn, op websocket.Opcode, data []byte) {
		if err := c.WriteMessage(op, data); err != nil && !errors.Is(err, websocket.ErrClosed) {
			t.Errorf("WriteMessage: %v", err)
		}
	}
	return r
}

// enter begins a callback.
func (r *recorder) enter(c *websocket.Conn, what string) *state {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.states[c]
	if s == nil {
		s = new(state)
		r.states[c] = s
	}
	if s.busy.Swap(true) {
		r.t.Errorf("%s during another callback", what)
	}
	switch {
	case s.closed:
		r.t.Errorf("%s after OnClose", what)
	case s.opened == (what == "open"):
		r.t.Errorf("%s where OnOpen was called: %v", what, s.opened)
	}
	s.opened = true
	if !r.muted {
		r.seen = append(r.seen, what)
	}
	return s
}

func (r *recorder) OnOpen(c *websocket.Conn) {
	defer r.enter(c, "open").busy.Store(false)
	r.opened <- c
	if r.open != nil {
		r.open(c)
	}
}

func (r *recorder) OnMessage(c *websocket.Conn, op websocket.Opcode, data []byte) {
	defer r.enter(c, said(op, string(data))).busy.Store(false)
	if r.msg != nil {
		r.msg(c, op, data)
	}
	for i := range data { // it is the handler's
		data[i] = 0xee
	}
}

func (r *recorder) OnPing(c *websocket.Conn, payload []byte) {
	defer r.enter(c, "ping "+string(payload)).busy.Store(false)
	if r.ping != nil {
		r.ping(c)
	}
}

func (r *recorder) OnPong(c *websocket.Conn, payload []byte) {
	defer r.enter(c, "pong "+string(payload)).busy.Store(false)
}

func (r *recorder) OnClose(c *websocket.Conn, err error) {
	s := r.enter(c, "close")
	defer s.busy.Store(false)
	s.closed = true
	r.closed <- err
}

// said is a message as a recorder writes it down.
func said(op websocket.Opcode, data string) string {
	if len(data) > 40 {
		return fmt.Sprintf("%v of %d bytes, %08x", op, len(data), crc32.ChecksumIEEE([]byte(data)))
	}
	return op.String() + " " + data
}

// log returns what was written down.
func (r *recorder) log() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// forget begins anew to write down, but for the opening.
func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

// expect waits until what was written down, but for the opening, is as it must be.
func (r *recorder) expect(want ...string) {
	r.t.Helper()
	want = append([]string{"open"}, want...)
	eventually(r.t, fmt.Sprintf("the callbacks %.300q", want), func() bool {
		got := r.log()
		if len(got) > len(want) || len(got) == len(want) && !slices.Equal(got, want) {
			r.t.Fatalf("the callbacks were\n%.1000q, want\n%.1000q", got, want)
		}
		return len(got) == len(want)
	})
}

// end waits for OnClose and returns its error.
func (r *recorder) end() error {
	r.t.Helper()
	return receive(r.t, "OnClose", r.closed)
}

// conn waits for OnOpen and returns the connection.
func (r *recorder) conn() *websocket.Conn {
	r.t.Helper()
	return receive(r.t, "OnOpen", r.opened)
}

// census counts what must not leak.
type census struct {
	goroutines, descriptors int
	blocks                  int64
}

func takeCensus() census {
	return census{runtime.NumGoroutine(), descriptors(), buffer.Default.Live()}
}

func (c census) within(before census) bool {
	return c.goroutines <= before.goroutines && c.descriptors <= before.descriptors && c.blocks <= before.blocks
}

// descriptors is how many descriptors the process has open, 0 where the system does
// not tell.
func descriptors() int {
	names, _ := os.ReadDir("/dev/fd")
	return len(names)
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(bound); !ok(); {
		if time.Now().After(end) {
			if t.Failed() { // which may be why
				t.FailNow()
			}
			p := make([]byte, 1<<16)
			t.Fatalf("waited in vain for %s; now: %+v\n%s", what, takeCensus(), p[:runtime.Stack(p, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

// receive waits for a value from ch.
func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(bound):
		t.Fatalf("waited in vain for %s", what)
		panic("unreachable")
	}
}

// logText collects what is logged.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// pattern returns n bytes that show where they belong and hardly repeat.
func pattern(n int) string {
	p := make([]byte, n)
	x := uint32(n) | 1
	for i := range p {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		p[i] = byte(x)
	}
	return string(p)
}

// prose returns n bytes of ASCII that can be compressed.
func prose(n int) string {
	const words = "the quick brown fox jumps over the lazy dog, and again "
	return strings.Repeat(words, n/len(words)+1)[:n]
}

// reader makes a bufio.Reader of a connection.
func reader(c net.Conn) *bufio.Reader { return bufio.NewReaderSize(c, 64<<10) }
