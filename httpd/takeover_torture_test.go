package httpd_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

// mirrored sends back what it receives, and counts in census.
type mirrored struct {
	t     *testing.T
	open  *atomic.Int64
	state int // of this connection: 1 is open, 2 ended by the peer, 3 closed
}

func (m *mirrored) move(callback string, from, to int) {
	if m.state != from {
		m.t.Errorf("%s in state %d", callback, m.state)
	}
	m.state = to
}

func (m *mirrored) OnOpen(sluice.Conn) {
	m.move("OnOpen", 0, 1)
	m.open.Add(1)
}

func (m *mirrored) OnData(c sluice.Conn, in *buffer.LinkBuffer) {
	m.move("OnData", 1, 1)
	if err := c.WriteBuffer(in); err != nil && !errors.Is(err, net.ErrClosed) {
		m.t.Errorf("WriteBuffer: %v", err)
	}
}

func (m *mirrored) OnEOF(c sluice.Conn) {
	m.move("OnEOF", 1, 2)
	_ = c.CloseWrite()
}

func (m *mirrored) OnClose(sluice.Conn, error) {
	if m.state != 2 {
		m.move("OnClose", 1, 3)
	}
	m.state = 3
	m.open.Add(-1)
}

// TestTakeOverTorture has clients whose connections are taken over while bytes
// come, in all sorts of pieces, behind other requests, and who now and then
// leave. What comes back must be what was sent.
func TestTakeOverTorture(t *testing.T) {
	first, n := uint64(1), *tortureSeeds
	if *tortureSeed != 0 {
		first, n = *tortureSeed, 1
	}
	eachWorld(t, func(t *testing.T, w *world) {
		w.cfg.HighWater = 16 << 10 // reading pauses often
		var open, taken atomic.Int64
		made := func() sluice.Handler {
			taken.Add(1)
			return &mirrored{t: t, open: &open}
		}
		st := w.serve(t, &httpd.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/take" {
					readAll(w, r)
					return
				}
				time.Sleep(time.Duration(rand.IntN(400)-100) * time.Microsecond)
				_, _ = httpd.TakeOver(middleware{w}, []byte(switched), made())
				time.Sleep(time.Duration(rand.IntN(400)-200) * time.Microsecond)
			}),
			LoopHandler: func(x *httpd.RequestCtx) bool {
				switch string(x.Path()) {
				case "/loop":
					_, _ = x.Write(x.Body())
				case "/take-loop":
					x.TakeOver([]byte(switched), made())
				default:
					return false
				}
				return true
			},
		})
		var wg sync.WaitGroup
		for seed := first; seed < first+uint64(n); seed++ {
			wg.Go(func() {
				v := &upgrader{Rand: rand.New(rand.NewPCG(seed, 3))}
				for range 4 {
					if err := v.run(st.addr); err != nil {
						t.Errorf("-torture.seed=%d: %v", seed, err)
					}
				}
			})
		}
		wg.Wait()
		eventually(t, "the connections to end", func() bool { s := st.Stats(); return s.Conns == 0 && s.Hijacked == 0 })
		if open.Load() != 0 {
			t.Errorf("%d of %d owners have not been closed, or were twice", open.Load(), taken.Load())
		}
	})
}

// upgrader is a client of TestTakeOverTorture.
type upgrader struct{ *rand.Rand }

// run makes a connection.
func (v *upgrader) run(addr net.Addr) error {
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(bound))
	var out, want []byte
	for i := range v.IntN(4) {
		body := fmt.Sprintf("request %d", i)
		out = append(out, post([]string{"/", "/loop"}[v.IntN(2)], body)...)
		want = append(want, body...)
	}
	requests := len(want)
	out = append(out, ask([]string{"/take", "/take-loop"}[v.IntN(2)])...)
	data := pattern(v.IntN(1 << v.IntN(20)))
	out = append(out, data...)
	leaves := v.IntN(5) == 0
	if leaves {
		out = out[:v.IntN(len(out))]
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		v.send(c, out)
		if leaves && v.IntN(2) == 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
			_ = c.Close()
		} else {
			_ = c.(*net.TCPConn).CloseWrite()
		}
	}()
	err = answered(c, want[:requests], data)
	if leaves && !errors.Is(err, errMixed) {
		err = nil
	}
	if err == nil {
		<-sent
	}
	return err
}

// send sends p in pieces.
func (v *upgrader) send(c net.Conn, p []byte) {
	for len(p) > 0 {
		n := min(len(p), 1+v.IntN(1<<(1+v.IntN(17))))
		if _, err := c.Write(p[:n]); err != nil {
			return // who reads will tell
		}
		p = p[n:]
		if v.IntN(4) == 0 {
			time.Sleep(time.Duration(v.IntN(200)) * time.Microsecond)
		}
	}
}

// answered reads the answers of requests, whose bodies together are want, then
// data that comes back, and the end.
func answered(c net.Conn, want, data []byte) error {
	r := bufio.NewReader(c)
	var got []byte
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return fmt.Errorf("after %q of %q: %w", got, want, err)
		}
		if resp.StatusCode == http.StatusSwitchingProtocols {
			break
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		got = append(got, body...)
	}
	if string(got) != string(want) {
		return fmt.Errorf("%w: %q, want %q", errMixed, got, want)
	}
	n, same, err := samePattern(r)
	switch {
	case !same || n > len(data):
		return fmt.Errorf("%w: of %d bytes at %d", errMixed, len(data), n)
	case err != nil || n < len(data):
		return fmt.Errorf("%d of %d bytes came back: %w", n, len(data), err)
	}
	return nil
}
