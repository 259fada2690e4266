package sluice

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// tlsConfigs returns what a server and its client need; the certificate is that of
// package httptest.
var tlsConfigs = sync.OnceValues(func() (server, client *tls.Config) {
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	return &tls.Config{Certificates: ts.TLS.Certificates, NextProtos: []string{"test/1"}},
		&tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"test/1"}}
})

// bytesOf returns n bytes that do not repeat.
func bytesOf(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(p)
	return p
}

// exchange writes p, reads it back and compares.
func exchange(t *testing.T, c net.Conn, p []byte) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(bound))
	wrote := make(chan error, 1)
	go func() {
		_, err := c.Write(p)
		wrote <- err
	}()
	got := make([]byte, len(p))
	if n, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, p) {
		t.Fatalf("%d of %d bytes came back, %v", n, len(p), err)
	}
	if err := receive(t, "the write's end", wrote); err != nil { // a Close during it says no goodbye
		t.Fatal(err)
	}
}

func TestTLSServer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		e := w.engine(t, Config{})
		opened, closed := make(chan *tls.ConnectionState, 1), make(chan error, 1)
		ln := w.serve(t, e, TLS(server, Funcs{
			Open:  func(c Conn) { opened <- c.TLS() },
			Data:  echo,
			Close: func(c Conn, err error) { closed <- err },
		}))
		c := tls.Client(w.connect(t, ln), client)
		exchange(t, c, bytesOf(1<<20))
		exchange(t, c, []byte("and a little"))
		if state := receive(t, "OnOpen", opened); state == nil || state.NegotiatedProtocol != "test/1" || state.ServerName != "example.com" {
			t.Errorf("Conn.TLS: %+v", state)
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := receive(t, "OnClose", closed); err != io.EOF {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestTLSClient(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		out, err := w.listen()
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		go func() {
			for {
				nc, err := out.Accept()
				if err != nil {
					return
				}
				go func() {
					c := tls.Server(nc, server)
					_, _ = io.Copy(c, c)
					c.Close()
				}()
			}
		}()
		e := w.engine(t, Config{})
		payload := bytesOf(300_000)
		got := make(chan []byte, 1)
		c, err := e.Dial(t.Context(), out.Addr().Network(), out.Addr().String(), TLS(client, Funcs{
			Data: func(c Conn, in *buffer.LinkBuffer) {
				if in.Len() == len(payload) {
					p, _ := in.Next(len(payload))
					got <- bytes.Clone(p)
				}
			},
		}))
		if err != nil {
			t.Fatal(err)
		}
		if state := c.TLS(); state == nil || state.NegotiatedProtocol != "test/1" {
			t.Errorf("Conn.TLS: %+v", state)
		}
		if _, err := c.Write(payload); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(receive(t, "the echo", got), payload) {
			t.Error("what came back is something else")
		}
		_ = c.Close()
		// A server that it does not trust, and one that does not speak TLS.
		_, err = e.Dial(t.Context(), out.Addr().Network(), out.Addr().String(), TLS(&tls.Config{ServerName: "example.com"}, Funcs{}))
		var unknown *tls.CertificateVerificationError
		if !errors.As(err, &unknown) {
			t.Errorf("a server without a known certificate: %v", err)
		}
		out.Close() // the next has its address
		plain := w.outsideEcho(t)
		_, err = e.Dial(t.Context(), plain.Addr().Network(), plain.Addr().String(), TLS(client, Funcs{}))
		if err == nil {
			t.Error("a server that echoes the hello was believed")
		}
	})
}

func TestTLSOpenersThatAreSilentAreClosed(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		e := w.engine(t, Config{Loops: 1, HandshakeTimeout: 100 * time.Millisecond})
		ln := w.serve(t, e, TLS(server, Funcs{
			Open:  func(Conn) { t.Error("OnOpen was called") },
			Close: func(Conn, error) { t.Error("OnClose was called") },
		}))
		silent := w.connect(t, ln)
		begun := w.connect(t, ln)
		if _, err := begun.Write([]byte{22, 3, 1, 2, 0, 1, 0}); err != nil {
			t.Fatal(err)
		}
		var waits peer // for the answer to a hello, which does not come
		waits = w.connect(t, ln)
		hello := &firstFlight{}
		_ = tls.Client(hello, client).Handshake()
		if _, err := waits.Write(hello.p); err != nil {
			t.Fatal(err)
		}
		for _, c := range []peer{silent, begun, waits} {
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Error("it was not closed")
			}
		}
		eventually(t, "three failed handshakes", func() bool {
			l := e.Stats().Loops[0]
			return l.HandshakeErrors == 3 && l.Conns == 0
		})
	})
}

// firstFlight keeps what is written and has nothing to read.
type firstFlight struct {
	net.Conn
	p []byte
}

func (f *firstFlight) Write(p []byte) (int, error) { f.p = append(f.p, p...); return len(p), nil }
func (f *firstFlight) Read([]byte) (int, error)    { return 0, io.EOF }
func (f *firstFlight) Close() error                { return nil }

func TestTLSEndWithoutCloseNotify(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		e := w.engine(t, Config{})
		closed := make(chan error, 1)
		ln := w.serve(t, e, TLS(server, Funcs{Data: echo, Close: func(c Conn, err error) { closed <- err }}))
		raw := w.connect(t, ln)
		exchange(t, tls.Client(raw, client), []byte("hello"))
		raw.Close()
		if err := receive(t, "OnClose", closed); !errors.Is(err, ErrTruncated) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("OnClose got %v", err)
		}
	})
}

func TestTLSHasNoDescriptorToGive(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		e := w.engine(t, Config{})
		refusals := make(chan error, 2)
		ln := w.serve(t, e, TLS(server, Funcs{Open: func(c Conn) {
			refusals <- c.Detach(func(*os.File, []byte, error) {})
			_, err := c.SendFile(os.Stdin, 0, 1)
			refusals <- err
			nc, err := c.NetConn()
			if err != nil {
				t.Error(err)
				return
			}
			go func() { _, _ = io.Copy(nc, nc); nc.Close() }()
		}}))
		c := tls.Client(w.connect(t, ln), client)
		exchange(t, c, bytesOf(200_000)) // by the NetConn
		for range 2 {
			if err := receive(t, "a refusal", refusals); !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("got %v", err)
			}
		}
		c.Close()
	})
}

func TestTLSConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	w := realWorld(t, systems()[0], "tcp")
	e := w.engine(t, Config{})
	server, _ := tlsConfigs()
	again := server.Clone()
	again.Renegotiation = tls.RenegotiateFreelyAsClient
	for _, cfg := range []*tls.Config{nil, {}, again} {
		if ln, err := e.Listen("tcp", "127.0.0.1:0", TLS(cfg, Funcs{})); err == nil {
			t.Errorf("%+v was accepted", cfg)
			ln.Close()
		}
	}
	if _, err := e.Dial(t.Context(), "tcp", "127.0.0.1:1", TLS(again, Funcs{})); !errors.Is(err, errRenegotiation) {
		t.Errorf("Dial: %v", err)
	}
	for _, h := range []Handler{TLS(server, nil), TLS(server, TLS(server, Funcs{}))} {
		if ln, err := e.Listen("tcp", "127.0.0.1:0", h); err == nil {
			t.Errorf("%v was accepted", h)
			ln.Close()
		}
		if _, err := e.Dial(t.Context(), "tcp", "127.0.0.1:1", h); err == nil || !strings.Contains(err.Error(), "the handler that TLS was given") {
			t.Errorf("Dial: %v", err)
		}
	}
}

func TestClosingTheEngineEndsHandshakes(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		blocked, release := make(chan struct{}), make(chan struct{})
		server = server.Clone()
		server.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			close(blocked)
			<-h.Context().Done()
			close(release)
			return nil, nil
		}
		e := w.engine(t, Config{})
		ln := w.serve(t, e, TLS(server, Funcs{Open: func(Conn) { t.Error("OnOpen was called") }}))
		c := tls.Client(w.connect(t, ln), client)
		failed := make(chan error, 1)
		go func() { failed <- c.Handshake() }()
		receive(t, "the handshake", blocked)
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		receive(t, "the end of the callback's context", release)
		if err := receive(t, "the client's outcome", failed); err == nil {
			t.Error("the client's handshake succeeded")
		}
	})
}

// recording keeps what is read.
type recording struct {
	net.Conn
	p []byte
}

func (r *recording) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	r.p = append(r.p, p[:n]...)
	return n, err
}

func TestTLSEndsWithACloseNotify(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		e := w.engine(t, Config{})
		ln := w.serve(t, e, TLS(server, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			if in.Len() == 3 {
				_ = c.WriteBuffer(in)
				_ = c.Close()
				return
			}
			echo(c, in)
		}}))
		for _, first := range []bool{true, false} { // the client is the first to end
			raw := &recording{Conn: w.connect(t, ln)}
			c := tls.Client(raw, client)
			message := "bye"
			if first {
				message = "hello"
			}
			exchange(t, c, []byte(message))
			if first {
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			if p, err := io.ReadAll(c); err != nil || len(p) > 0 {
				t.Errorf("first %v: read %q, %v", first, p, err)
			}
			const alert = 2 + 1 + 16 // encrypted, of TLS 1.3: level, description, type, tag
			if n := len(raw.p) - alert - 5; !bytes.HasPrefix(raw.p[n:], []byte{23, 3, 3, 0, alert}) {
				t.Errorf("first %v: the last record is no alert: % x", first, raw.p[n:])
			}
			c.Close()
		}
	})
}

func TestTLSDialTellsWhyNot(t *testing.T) {
	w := realWorld(t, systems()[0], "tcp")
	server, _ := tlsConfigs()
	out, err := w.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	go func() { // a server that does not end what the client refused
		nc, err := out.Accept()
		if err != nil {
			return
		}
		_ = tls.Server(nc, server).Handshake()
		<-t.Context().Done()
		nc.Close()
	}()
	e := w.engine(t, Config{HandshakeTimeout: 300 * time.Millisecond})
	_, err = e.Dial(t.Context(), "tcp", out.Addr().String(), TLS(&tls.Config{ServerName: "example.com"}, Funcs{}))
	var unknown *tls.CertificateVerificationError
	if !errors.As(err, &unknown) {
		t.Errorf("Dial: %v", err)
	}
}

func TestTLSPeerThatResetsItsHandshakeIsNamed(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, _ := tlsConfigs()
		remotes := make(chan net.Addr, 1)
		h := Funcs{HandshakeError: func(remote net.Addr, _ error) []byte {
			remotes <- remote
			return nil
		}}
		e := w.engine(t, Config{})
		c := w.connect(t, w.serve(t, e, TLS(server, h)))
		want := c.LocalAddr().String()
		eventually(t, "the connection to begin", func() bool {
			conns, _, _ := sums(e)
			return conns == 1
		})
		w.reset(c)
		if got := receive(t, "HandshakeError", remotes); got.String() != want {
			t.Errorf("the handshake that failed is of %v, want %v", got, want)
		}
	})
}
