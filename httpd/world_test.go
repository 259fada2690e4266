package httpd_test

import (
	"context"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

// bound is how long a test waits for what must happen. It is no measure of
// speed: a loaded machine has time.
const bound = 20 * time.Second

// world is what a server runs on.
type world struct {
	driver string        // of a shared engine; "" means the server's own engine
	cfg    sluice.Config // of the shared engine
}

// eachDriver runs a test on an engine of every driver of this system, given to
// the server as one that it shares with others.
func eachDriver(t *testing.T, test func(t *testing.T, w *world)) {
	for _, driver := range sluice.Drivers() {
		t.Run(driver, func(t *testing.T) {
			if err := sluice.CheckDriver(driver); err != nil {
				t.Skip(err)
			}
			test(t, &world{driver: driver})
		})
	}
}

// eachWorld is eachDriver and once more on the server's own engine.
func eachWorld(t *testing.T, test func(t *testing.T, w *world)) {
	eachDriver(t, test)
	t.Run("own", func(t *testing.T) { test(t, &world{}) })
}

// site is a server that is at work.
type site struct {
	*httpd.Server
	t    *testing.T
	eng  *sluice.Engine
	addr net.Addr
	log  *logText
	idle int64 // bytes of buffers that drivers receive into, from the beginning
}

// serve starts a server on 127.0.0.1 and checks when the test ends that nothing
// of it is left.
func (w *world) serve(t *testing.T, s *httpd.Server) *site {
	t.Helper()
	return w.start(t, s, func(st *site) {
		ln, err := s.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		st.addr = ln.Addr()
	})
}

// handle is serve with a handler and no settings.
func (w *world) handle(t *testing.T, h http.HandlerFunc) *site {
	t.Helper()
	return w.serve(t, &httpd.Server{Handler: h})
}

// start is serve with the way to listen.
func (w *world) start(t *testing.T, s *httpd.Server, listen func(st *site)) *site {
	t.Helper()
	st := &site{Server: s, t: t, log: &logText{}}
	before := takeCensus()
	if s.ErrorLog == nil {
		s.ErrorLog = log.New(st.log, "", 0)
	}
	if w.driver != "" {
		cfg := w.cfg
		cfg.Driver, cfg.Logger = w.driver, slog.New(slog.NewTextHandler(st.log, nil))
		if cfg.Loops == 0 {
			cfg.Loops = 2
		}
		var err error
		if s.Engine, err = sluice.New(cfg); err != nil {
			t.Fatal(err)
		}
		st.eng = s.Engine
	}
	t.Cleanup(func() { st.end(before) })
	listen(st)
	if st.eng == nil {
		st.eng = s.Own()
	}
	if st.eng != nil { // otherwise nothing is listened on yet
		st.idle = st.liveBytes()
	}
	return st
}

// end ends the server and checks that nothing of it is left.
func (st *site) end(before census) {
	t := st.t
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	if err := st.Shutdown(ctx); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if st.eng != nil {
		eventually(t, "the connections to end", func() bool { return st.Stats().Conns == 0 && st.conns() == 0 })
	}
	if st.Engine != nil {
		if err := st.Engine.Close(); err != nil {
			t.Errorf("closing the engine: %v", err)
		}
	}
	if st.eng != nil { // only now, because drivers keep a block to receive into
		eventually(t, "the loops to release their blocks", func() bool { return st.liveBlocks() == 0 })
	}
	eventually(t, "all that a test left behind to go", func() bool { return takeCensus().within(before) })
}

// conns is how many connections the engine has.
func (st *site) conns() (n int64) {
	for _, l := range st.eng.Stats().Loops {
		n += l.Conns
	}
	return n
}

// liveBlocks is how many blocks of memory the engine's loops use.
func (st *site) liveBlocks() (n int64) {
	for _, l := range st.eng.Stats().Loops {
		n += l.LiveBlocks
	}
	return n
}

// liveBytes is how much memory the server's buffers use more than at its start.
func (st *site) liveBytes() int64 {
	n := buffer.Default.LiveBytes() - st.idle
	for _, l := range st.eng.Stats().Loops {
		n += l.LiveBytes
	}
	return n
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

// descriptors is how many descriptors the process has open, 0 where the
// system does not tell.
func descriptors() int {
	names, _ := os.ReadDir("/dev/fd")
	return len(names)
}

// eventually waits for a condition.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(bound); !ok(); {
		if time.Now().After(end) {
			p := make([]byte, 1<<16)
			t.Fatalf("waited in vain for %s; now: %+v\n%s", what, takeCensus(), p[:runtime.Stack(p, true)])
		}
		time.Sleep(time.Millisecond)
	}
}

// pause lets others work.
func pause() { time.Sleep(time.Millisecond) }

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

// expect waits until something was logged.
func (l *logText) expect(t testing.TB, want string) {
	t.Helper()
	eventually(t, "the log to say "+want, func() bool { return strings.Contains(l.String(), want) })
}

// pattern returns n bytes that show where they belong.
func pattern(n int) []byte {
	p := make([]byte, n)
	_, _ = (&patterned{}).Read(p)
	return p
}

// patterned reads as pattern does, without end, from position at on.
type patterned struct{ at int }

// patternRows has the 256 rows of 256 bytes that a pattern is made of.
var patternRows = func() (rows [256][256]byte) {
	for i := range rows {
		for j := range rows[i] {
			rows[i][j] = byte(i + j*7)
		}
	}
	return rows
}()

func (r *patterned) Read(p []byte) (int, error) {
	for done := 0; done < len(p); {
		row := byte(r.at>>8*13 + r.at>>16*29)
		n := copy(p[done:], patternRows[row][r.at&255:])
		done += n
		r.at += n
	}
	return len(p), nil
}

// samePattern reads r to its end and reports how many bytes it had and whether
// they were those of pattern.
func samePattern(r io.Reader) (n int, same bool, err error) {
	p, want, ref := make([]byte, 32<<10), make([]byte, 32<<10), patterned{}
	for {
		m, err := r.Read(p)
		_, _ = ref.Read(want[:m])
		if string(p[:m]) != string(want[:m]) {
			return n, false, nil
		}
		if n += m; err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, true, err
		}
	}
}
