//go:build unix

package httpd_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

func TestMain(m *testing.M) {
	if target := os.Getenv(crowdEnv); target != "" {
		beACrowd(target)
		return
	}
	// The runtime's own descriptors are there from now on.
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = l.Close()
	}
	os.Exit(m.Run())
}

// crowdEnv has the address for the process that is a crowd of clients: a
// process may have too few descriptors for both sides.
const crowdEnv = "HTTPD_TEST_CROWD"

// beACrowd connects as often as the first line of the input says, sends the
// second, quoted, on every connection, tells by a line that it has, and goes
// when the input ends.
func beACrowd(address string) {
	var n int
	var request string
	in := bufio.NewReader(os.Stdin)
	if _, err := fmt.Fscanf(in, "%d\n%q\n", &n, &request); err != nil {
		fmt.Println("no order:", err)
		return
	}
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error { return smallBuffers(c) }}
	conns := make([]net.Conn, n)
	var group sync.WaitGroup
	for part := range 8 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := part; i < n; i += 8 {
				c, err := dialer.Dial("tcp", address)
				if err == nil {
					_, err = io.WriteString(c, request)
				}
				if err != nil {
					fmt.Println(err)
					return
				}
				conns[i] = c
			}
		}()
	}
	group.Wait()
	fmt.Println("all there")
	_, _ = io.Copy(io.Discard, in)
	runtime.KeepAlive(conns)
}

// smallBuffers keeps what the kernel holds for a socket small.
func smallBuffers(c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		for _, opt := range []int{syscall.SO_RCVBUF, syscall.SO_SNDBUF} {
			if err := syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, opt, 4096); err != nil {
				failed = err
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// crowd starts a crowd of n clients and returns when all have sent a request.
// gone sends them away.
func (st *site) crowd(n int, request string) (gone func()) {
	t := st.t
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crowdEnv+"="+st.addr.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone = sync.OnceFunc(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	t.Cleanup(gone)
	_, _ = fmt.Fprintf(in, "%d\n%q\n", n, request)
	if line, _ := bufio.NewReader(out).ReadString('\n'); line != "all there\n" {
		t.Fatalf("the crowd says %q", line)
	}
	return gone
}

// usage is what a crowd may cost the server.
type usage struct {
	goroutines int // but for those of the pool, which stay for a while
	memory     int64
}

func takeUsage(st *site) usage {
	runtime.GC()
	runtime.GC() // what is in pools goes in two steps
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine() - st.eng.Stats().Jobs.Goroutines, int64(m.HeapAlloc+m.StackInuse) + st.liveBytes() - buffer.Default.LiveBytes()}
}

// withstand lets n clients be slow with a request each and checks what that
// costs and that another client is served meanwhile.
func (st *site) withstand(n int, request string, bytesEach int64, there func() bool) {
	t := st.t
	t.Helper()
	before := takeUsage(st)
	gone := st.crowd(n, request)
	eventually(t, "the crowd to be there", func() bool { return st.Stats().Conns >= int64(n) && there() })
	after := takeUsage(st)
	eventually(t, "the handlers to be at rest", func() bool { return st.eng.Stats().Jobs.Running == 0 })
	if more := after.goroutines - before.goroutines; more > 20 {
		t.Errorf("%d slow clients hold %d goroutines", n, more)
	}
	if each := (after.memory - before.memory) / int64(n); each > bytesEach {
		t.Errorf("a slow client holds %d bytes", each)
	} else {
		t.Logf("a slow client holds %d bytes", each)
	}
	c := st.dial()
	c.exchange(ask("/ok"), "ok")
	_ = c.Close()
	gone()
	eventually(t, "the crowd to be gone", func() bool { return st.Stats().Conns == 0 })
}

// crowdServer serves a file, among others, on the best driver.
func crowdServer(t *testing.T, file string) *site {
	if testing.Short() {
		t.Skip("ten thousand connections")
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 20_000 {
		t.Skipf("%d descriptors are too few", limit.Cur)
	}
	s := &httpd.Server{Handler: paths{"/ok": text("ok"), "/": readAll, "/file": serveFile(file), "/take": func(w http.ResponseWriter, r *http.Request) {
		if _, err := httpd.TakeOver(w, nil, idle{}); err != nil {
			t.Errorf("TakeOver: %v", err)
		}
	}}}
	served := make(chan error, 1)
	st := (&world{driver: "auto"}).start(t, s, func(st *site) {
		// What the listener has, its connections inherit.
		config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error { return smallBuffers(c) }}
		l, err := config.Listen(context.Background(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		st.addr = l.Addr()
		go func() { served <- s.Serve(l) }()
	})
	t.Cleanup(func() { // before the site's
		_ = st.Shutdown(context.Background())
		if err := receive(t, "Serve to return", served); err != http.ErrServerClosed {
			t.Errorf("Serve returned %v", err)
		}
	})
	return st
}

func TestTenThousandSlowHeadsHoldNoGoroutine(t *testing.T) {
	const n = 10_000
	st := crowdServer(t, "")
	head := "GET / HTTP/1.1\r\nHost: h\r\nX-Long: " + strings.Repeat("y", 500)
	st.withstand(n, head, 8<<10, func() bool { return st.bytesIn() >= n*int64(len(head)) })
}

func TestTenThousandSlowBodiesHoldNoGoroutine(t *testing.T) {
	const n = 10_000
	st := crowdServer(t, "")
	part := "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\n\r\n" + strings.Repeat("y", 500)
	st.withstand(n, part, 8<<10, func() bool { return st.bytesIn() >= n*int64(len(part)) })
}

func TestTenThousandSlowReadersOfAFileHoldNoGoroutine(t *testing.T) {
	const n = 9_500 // each has a socket and a file
	st := crowdServer(t, patternFile(t, 10_000_000))
	st.withstand(n, ask("/file"), 20<<10, func() bool {
		jobs := st.eng.Stats().Jobs
		return st.Stats().Requests >= n && jobs.Running == 0 && jobs.Waiting == 0
	})
}

// idle serves a connection on which nothing happens.
type idle struct{}

func (idle) OnOpen(sluice.Conn)                     {}
func (idle) OnData(sluice.Conn, *buffer.LinkBuffer) {}
func (idle) OnClose(sluice.Conn, error)             {}

func TestTenThousandConnectionsThatWereTakenOverHoldNoGoroutine(t *testing.T) {
	const n = 10_000
	st := crowdServer(t, "")
	st.withstand(n, ask("/take"), 1<<10, func() bool { return st.Stats().Hijacked >= n })
}
