package httpd

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// certFiles writes package httptest's certificate and key to files, and returns
// their names and those who trust it.
func certFiles(t *testing.T) (cert, key string, roots *x509.CertPool) {
	t.Helper()
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	roots = x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	pair := ts.TLS.Certificates[0]
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", pair.Certificate[0]), write("key.pem", "PRIVATE KEY", der), roots
}

// lines is a log's output.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestTLS(t *testing.T) {
	cert, key, roots := certFiles(t)
	var logged lines
	s := &Server{
		ErrorLog: log.New(&logged, "", 0),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/large":
				_, _ = w.Write(make([]byte, 1<<20))
			case "/echo":
				_, _ = io.Copy(w, r.Body)
			case "/hijack":
				c, rw, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = rw.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
				_ = rw.Flush()
				_, _ = io.Copy(c, c)
				c.Close()
			default:
				fmt.Fprintf(w, "%s %s %x", r.TLS.NegotiatedProtocol, r.TLS.ServerName, r.TLS.Version)
			}
		}),
	}
	ln, err := s.ListenTLS("tcp", "127.0.0.1:0", cert, key)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "example.com", NextProtos: []string{"http/1.1"}}}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	ask := func(method, path string, body []byte) string {
		t.Helper()
		req, err := http.NewRequest(method, "https://"+ln.Addr().String()+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		p, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(p)
	}
	if got := ask("GET", "/", nil); got != "http/1.1 example.com 304" {
		t.Errorf("r.TLS: %q", got)
	}
	if got := ask("GET", "/large", nil); len(got) != 1<<20 {
		t.Errorf("%d bytes", len(got))
	}
	body := bytes.Repeat([]byte("0123456789"), 50_000)
	if got := ask("POST", "/echo", body); got != string(body) {
		t.Errorf("%d bytes came back of %d", len(got), len(body))
	}

	t.Run("hijack", func(t *testing.T) {
		c, err := tls.Dial("tcp", ln.Addr().String(), transport.TLSClientConfig)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(c, "GET /hijack HTTP/1.1\r\nHost: a\r\n\r\n")
		r := bufio.NewReader(c)
		for line := ""; line != "\r\n"; {
			if line, err = r.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		fmt.Fprint(c, "hello")
		got := make([]byte, 5)
		if _, err := io.ReadFull(r, got); err != nil || string(got) != "hello" {
			t.Errorf("%q, %v", got, err)
		}
	})

	t.Run("plain", func(t *testing.T) {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		got, err := io.ReadAll(c)
		if err != nil || string(got) != notTLS {
			t.Errorf("%q, %v", got, err)
		}
		if text := logged.String(); !strings.Contains(text, "TLS handshake error from "+c.LocalAddr().String()) {
			t.Errorf("logged: %q", text)
		}
	})
}

func TestTLSShutdown(t *testing.T) {
	cert, key, roots := certFiles(t)
	s := &Server{Handler: http.NotFoundHandler()}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.ServeTLS(l, cert, key) }()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Errorf("ServeTLS: %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); err != io.EOF { // which is a close_notify
		t.Errorf("the client read %v", err)
	}
}

func TestTLSWithoutACertificateIsRefused(t *testing.T) {
	s := &Server{}
	if err := s.ListenAndServeTLS("", ""); err == nil || !strings.Contains(err.Error(), "there is no certificate") {
		t.Errorf("it ended with %v", err)
	}
	if _, err := s.ListenTLS("tcp", "127.0.0.1:0", "no such file", "nor this"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
