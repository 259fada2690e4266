package load

import (
	"crypto/tls"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"
)

// startSecure is startPlanted over TLS.
func startSecure(t *testing.T, resume bool, serve func(c *tls.Conn)) string {
	t.Helper()
	cert, err := clientCertificate()
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{*cert}, SessionTicketsDisabled: !resume}
	return startPlanted(t, func(c net.Conn) { serve(tls.Server(c, cfg)) })
}

func secureEcho(c *tls.Conn) { io.Copy(c, c) }

func shortSecure(addr string) Config {
	cfg := short(addr)
	cfg.TLS = true
	return cfg
}

func TestRunsOverTLSDeliverRequestsWithoutErrors(t *testing.T) {
	for _, size := range []int{minSize, 1024, 16 << 10, 3 << 20} {
		cfg := shortSecure(startSecure(t, false, secureEcho))
		cfg.Size = size
		r, err := Loop(cfg, atOnce)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if r.Requests == 0 || r.Errors != 0 {
			t.Errorf("%d bytes: %d requests, %d errors (%s)", size, r.Requests, r.Errors, r.FirstError)
		}
	}
}

func TestFaultsOfAServerWithTLSAreNoticed(t *testing.T) {
	const size = 1024
	for name, f := range map[string]struct {
		change func(p []byte) ([]byte, bool)
		want   error
	}{
		"one bit of the last byte":   {func(p []byte) ([]byte, bool) { p[size-1] ^= 1; return p, true }, errWrong},
		"one byte too many":          {func(p []byte) ([]byte, bool) { return append(p[:size:size], 0), true }, errSurplus},
		"closed instead of answered": {func([]byte) ([]byte, bool) { return nil, false }, errClosed},
	} {
		serve := spoil(size, 3, f.change)
		r, err := Loop(shortSecure(startSecure(t, false, func(c *tls.Conn) { defer c.Close(); serve(c) })), atOnce)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.Errors != 20 || r.FirstError != f.want.Error() {
			t.Errorf("%s: %d errors (%s), want 20 (%v)", name, r.Errors, r.FirstError, f.want)
		}
	}
}

func TestHandshakesAreFullOrResumedAsAsked(t *testing.T) {
	for _, resume := range []bool{false, true} {
		var full, resumed atomic.Int64
		cfg := shortSecure(startSecure(t, true, func(c *tls.Conn) {
			if c.Handshake() == nil {
				if c.ConnectionState().DidResume {
					resumed.Add(1)
				} else {
					full.Add(1)
				}
			}
			secureEcho(c)
		}))
		cfg.Resume = resume
		r, err := Handshakes(cfg, atOnce)
		if err != nil {
			t.Fatal(err)
		}
		if r.Requests == 0 || r.Errors != 0 || r.P50 <= 0 {
			t.Errorf("resume %v: %d requests, %d errors (%s), p50 %v", resume, r.Requests, r.Errors, r.FirstError, r.P50)
		}
		if resume && (full.Load() != int64(cfg.Conns) || resumed.Load() < r.Requests) || !resume && resumed.Load() > 0 {
			t.Errorf("resume %v: %d full, %d resumed of %d", resume, full.Load(), resumed.Load(), r.Requests)
		}
	}
}

func TestAServerThatDoesNotResumeIsNoticed(t *testing.T) {
	cfg := shortSecure(startSecure(t, false, secureEcho))
	cfg.Resume = true
	r, err := Handshakes(cfg, atOnce)
	if err != nil {
		t.Fatal(err)
	}
	if r.Errors != int64(cfg.Conns) || r.FirstError != errHandshake.Error() {
		t.Errorf("%d errors (%s), want %d (%v)", r.Errors, r.FirstError, cfg.Conns, errHandshake)
	}
}

func TestWrongAnswersAfterAHandshakeAreNoticed(t *testing.T) {
	var n atomic.Int64
	cfg := shortSecure(startSecure(t, false, func(c *tls.Conn) {
		p := make([]byte, 1024)
		io.ReadFull(c, p)
		if n.Add(1) > 20 {
			p[len(p)-1] ^= 1
		}
		c.Write(p)
		io.Copy(io.Discard, c)
	}))
	if r, err := Handshakes(cfg, atOnce); err != nil || r.Errors != 20 || r.FirstError != errWrong.Error() {
		t.Errorf("%v, %d errors (%s), want 20 (%v)", err, r.Errors, r.FirstError, errWrong)
	}
}

func TestServersWithoutTLSAreRefused(t *testing.T) {
	clear := startPlanted(t, func(c net.Conn) { c.Write([]byte("what?\n")) })
	for name, run := range map[string]func(Config, func() error) (Result, error){"loop": Loop, "handshakes": Handshakes, "storm": Storm} {
		if r, err := run(shortSecure(clear), atOnce); err == nil {
			t.Errorf("%s: no error, %+v", name, r)
		}
	}
	cfg := short(clear)
	if _, err := Handshakes(cfg, atOnce); err == nil {
		t.Error("handshakes without TLS")
	}
}

func TestAStormIsBesideTheConnectionThatIsMeasured(t *testing.T) {
	var handshakes, messages atomic.Int64
	cfg := shortSecure(startSecure(t, false, func(c *tls.Conn) {
		if c.Handshake() == nil {
			handshakes.Add(1)
		}
		p := make([]byte, 1024)
		for {
			if _, err := io.ReadFull(c, p); err != nil {
				return
			}
			messages.Add(1)
			c.Write(p)
		}
	}))
	r, err := Storm(cfg, atOnce)
	if err != nil {
		t.Fatal(err)
	}
	if r.Requests == 0 || r.Errors != 0 || r.P50 <= 0 {
		t.Errorf("%d requests, %d errors (%s), p50 %v", r.Requests, r.Errors, r.FirstError, r.P50)
	}
	if n := handshakes.Load(); n <= int64(cfg.Conns)+1 || messages.Load() < n-1+r.Requests {
		t.Errorf("%d handshakes, %d messages, of which %d are measured", n, messages.Load(), r.Requests)
	}
}

// A client that does not read what it sends takes up what the kernel refuses.
func TestAClientOverTLSKeepsWhatTheKernelDoesNotTake(t *testing.T) {
	cfg := shortSecure(startSecure(t, false, func(c *tls.Conn) {
		p := make([]byte, 8<<20)
		for {
			time.Sleep(5 * time.Millisecond) // so that the client's socket is full
			if _, err := io.ReadFull(c, p); err != nil {
				return
			}
			if _, err := c.Write(p); err != nil {
				return
			}
		}
	}))
	cfg.Size, cfg.Conns = 8<<20, 2
	if r, err := Loop(cfg, atOnce); err != nil || r.Requests == 0 || r.Errors != 0 {
		t.Errorf("%v, %d requests, %d errors (%s)", err, r.Requests, r.Errors, r.FirstError)
	}
}
