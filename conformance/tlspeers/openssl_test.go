package tlspeers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

// bound is for how long a test waits at most.
const bound = 20 * time.Second

// tool finds a program, or skips the test; a program that is missing is a failure
// where SLUICE_REQUIRE_TOOLS is 1.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil && os.Getenv("SLUICE_REQUIRE_TOOLS") == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

// identity is a certificate for example.com, also in files.
type identity struct {
	pair            tls.Certificate
	roots           *x509.CertPool
	cert, key, name string
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	id := identity{pair: ts.TLS.Certificates[0], roots: x509.NewCertPool(), name: "example.com"}
	id.roots.AddCert(ts.Certificate())
	key, err := x509.MarshalPKCS8PrivateKey(id.pair.PrivateKey)
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
	id.cert, id.key = write("cert.pem", "CERTIFICATE", id.pair.Certificate[0]), write("key.pem", "PRIVATE KEY", key)
	return id
}

// eachDriver runs test with every driver that can be used here.
func eachDriver(t *testing.T, test func(t *testing.T, e *sluice.Engine)) {
	for _, name := range sluice.Drivers() {
		t.Run(name, func(t *testing.T) {
			if err := sluice.CheckDriver(name); err != nil {
				t.Skip(err)
			}
			e, err := sluice.New(sluice.Config{Driver: name})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			test(t, e)
		})
	}
}

func echo(c sluice.Conn, in *buffer.LinkBuffer) { _ = c.WriteBuffer(in) }

// dialogue is a program that is talked to.
type dialogue struct {
	t   *testing.T
	in  io.WriteCloser
	out chan string // lines
	all bytes.Buffer
}

// start starts a program for the time of the test.
func start(t *testing.T, path string, args ...string) *dialogue {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, path, args...)
	d := &dialogue{t: t, out: make(chan string, 1000)}
	var err error
	if d.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			d.out <- lines.Text()
		}
		close(d.out)
	}()
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		w.Close()
	})
	return d
}

// say writes a line.
func (d *dialogue) say(line string) {
	d.t.Helper()
	if _, err := io.WriteString(d.in, line+"\n"); err != nil {
		d.t.Fatal(err)
	}
}

// hear waits for a line that has text in it.
func (d *dialogue) hear(text string) {
	d.t.Helper()
	for end := time.After(bound); ; {
		select {
		case line, ok := <-d.out:
			fmt.Fprintln(&d.all, line)
			if strings.Contains(line, text) {
				return
			}
			if !ok {
				d.t.Fatalf("it ended without %q:\n%s", text, &d.all)
			}
		case <-end:
			d.t.Fatalf("waited in vain for %q:\n%s", text, &d.all)
		}
	}
}

func TestOpenSSLClient(t *testing.T) {
	openssl := tool(t, "openssl")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		ln, err := e.Listen("tcp", "127.0.0.1:0", sluice.TLS(&tls.Config{Certificates: []tls.Certificate{id.pair}}, sluice.Funcs{Data: echo}))
		if err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{
			{"-tls1_3"},
			{"-tls1_2"},
			{"-tls1_3", "-groups", "P-521:P-384"}, // a HelloRetryRequest, unless the first is liked
			{"-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"},
			{"-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305"},
			{"-tls1_3", "-max_send_frag", "512"},
		} {
			d := start(t, openssl, append([]string{"s_client", "-connect", ln.Addr().String(), "-servername", id.name,
				"-CAfile", id.cert, "-verify_return_error"}, args...)...)
			d.hear("Verify return code: 0 (ok)")
			d.say("hello " + strings.Repeat("x", 3000))
			d.hear("hello x")
			if args[0] == "-tls1_3" {
				for _, update := range []string{"K", "k"} { // asking for the same from this side, and not
					d.say(update)
					d.hear("KEYUPDATE")
					d.say("after " + update)
					d.hear("after " + update)
				}
			} else {
				d.say("R")
				d.hear("RENEGOTIATING") // and is refused
			}
		}
	})
}

func TestOpenSSLServer(t *testing.T) {
	openssl := tool(t, "openssl")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		for _, version := range []string{"-tls1_2", "-tls1_3"} {
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := free.Addr().String()
			free.Close()
			d := start(t, openssl, "s_server", "-accept", addr, "-cert", id.cert, "-key", id.key, "-rev", version)
			d.hear("ACCEPT")
			got := make(chan string, 1)
			h := sluice.Funcs{Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
				if line, err := in.Until('\n'); err == nil {
					got <- string(line)
				}
			}}
			c, err := e.Dial(t.Context(), "tcp", addr, sluice.TLS(&tls.Config{RootCAs: id.roots, ServerName: id.name}, h))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.WriteString("drawer\n"); err != nil {
				t.Fatal(err)
			}
			select {
			case line := <-got:
				if line != "reward\n" {
					t.Errorf("%s: it answered %q", version, line)
				}
			case <-time.After(bound):
				t.Errorf("%s: no answer", version)
			}
			_ = c.Close()
		}
	})
}

func TestCurl(t *testing.T) {
	curl := tool(t, "curl")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		s := &httpd.Server{Engine: e, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintf(w, "%d bytes over %s", n, tls.VersionName(r.TLS.Version))
		})}
		defer s.Close()
		ln, err := s.ListenTLS("tcp", "127.0.0.1:0", id.cert, id.key)
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(ln.Addr().String())
		large := filepath.Join(t.TempDir(), "large")
		if err := os.WriteFile(large, make([]byte, 5<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			want string
			args []string
		}{
			{"0 bytes over TLS 1.3", nil},
			{"0 bytes over TLS 1.2", []string{"--tls-max", "1.2"}},
			{"5242880 bytes over TLS 1.3", []string{"--data-binary", "@" + large}},
		} {
			args := append([]string{"--silent", "--show-error", "--max-time", "20", "--cacert", id.cert,
				"--resolve", id.name + ":" + port + ":127.0.0.1", "https://" + id.name + ":" + port + "/"}, tt.args...)
			out, err := exec.CommandContext(t.Context(), curl, args...).CombinedOutput()
			if err != nil || string(out) != tt.want {
				t.Errorf("%q: %q, %v", tt.args, out, err)
			}
		}
	})
}
