package sluice

import (
	"crypto/tls"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// slowName is the name under which slowServer's callback takes its time.
const slowName = "slow.example.com"

// slowServer returns a configuration whose callback calls wait for connections to
// slowName, and that of a client who asks for that.
func slowServer(wait func()) (server, client *tls.Config) {
	server, client = tlsConfigs()
	certificate := &server.Certificates[0]
	server, client = server.Clone(), client.Clone()
	server.Certificates = nil
	server.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == slowName {
			wait()
		}
		return certificate, nil
	}
	client.ServerName = slowName // which the certificate is for, too
	return server, client
}

func TestACallbackThatBlocksDelaysOnlyItsHandshake(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		held, release := make(chan struct{}), make(chan struct{})
		server, slow := slowServer(func() {
			close(held)
			<-release
		})
		_, client := tlsConfigs()
		e := w.engine(t, Config{Loops: 1})
		ln := w.serve(t, e, TLS(server, Funcs{Data: echo}))
		established := tls.Client(w.connect(t, ln), client)
		exchange(t, established, []byte("before"))
		c := tls.Client(w.connect(t, ln), slow)
		done := make(chan error, 1)
		go func() { done <- c.Handshake() }()
		receive(t, "the callback", held)
		for range 100 {
			exchange(t, established, []byte("during"))
		}
		exchange(t, tls.Client(w.connect(t, ln), client), []byte("and another handshake"))
		select {
		case err := <-done:
			t.Errorf("the handshake did not wait for its callback: %v", err)
		default:
		}
		close(release)
		if err := receive(t, "the handshake", done); err != nil {
			t.Error(err)
		}
		exchange(t, c, []byte("after"))
	})
}

// latencies exchanges small messages on c, n at least and until enough is true, and
// returns how long they took, in order of that.
func latencies(t *testing.T, c net.Conn, n int, enough func() bool) (took []time.Duration) {
	t.Helper()
	message := []byte("a small message")
	got := make([]byte, len(message))
	_ = c.SetDeadline(time.Now().Add(2 * bound))
	for len(took) < n || !enough() {
		start := time.Now()
		if _, err := c.Write(message); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took
}

// TestTLSLatencyBesideHandshakes prints how long an exchange on an established
// connection takes while others of its loop shake hands. It asserts only that all of
// them succeed: how fast this machine is at present is not for a test to judge.
func TestTLSLatencyBesideHandshakes(t *testing.T) {
	const exchanges, clients = 100, 32
	for _, sys := range systems() {
		t.Run(sys.Name(), func(t *testing.T) {
			w := realWorld(t, sys, "tcp")
			server, slow := slowServer(func() { time.Sleep(300 * time.Millisecond) })
			_, client := tlsConfigs()
			e := w.engine(t, Config{Loops: 1})
			ln := w.serve(t, e, TLS(server, Funcs{Data: echo}))
			c := tls.Client(w.connect(t, ln), client)
			exchange(t, c, []byte("hello"))
			beside := func(what string, cfg *tls.Config, clients int) {
				var over sync.WaitGroup
				var done atomic.Int64
				var enough atomic.Bool
				for range clients {
					over.Go(func() {
						for !enough.Load() && !t.Failed() {
							raw, err := w.dial(ln.Addr())
							if err != nil {
								t.Error(err)
								return
							}
							if err := tls.Client(raw, cfg).Handshake(); err != nil {
								t.Error(err)
							}
							raw.Close()
							done.Add(1)
						}
					})
				}
				// To the last exchange there is nobody who has stopped.
				took := latencies(t, c, exchanges, func() bool { return done.Load() >= int64(clients) || t.Failed() })
				enough.Store(true)
				over.Wait()
				t.Logf("%-32s p50 %8v  p99 %8v  max %8v  of %d; %d handshakes", what,
					took[len(took)/2], took[len(took)*99/100], took[len(took)-1], len(took), done.Load())
			}
			beside("alone:", client, 0)
			beside("a callback of 300 ms:", slow, 1)
			beside("32 clients and RSA certificates:", client, clients)
		})
	}
}
