package tlspeers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
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

// identity is a certificate, also in files, and who trusts it.
type identity struct {
	pair            tls.Certificate
	roots           *x509.CertPool
	cert, key, name string
}

// newIdentity returns that of a server.
func newIdentity(t *testing.T) identity {
	t.Helper()
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	return saved(t, "example.com", ts.TLS.Certificates[0])
}

// newClientIdentity returns that of a client.
func newClientIdentity(t *testing.T) identity {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a client"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return saved(t, template.Subject.CommonName, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key})
}

// saved writes a certificate and its key to files.
func saved(t *testing.T, name string, pair tls.Certificate) identity {
	t.Helper()
	id := identity{pair: pair, roots: x509.NewCertPool(), name: name}
	cert, err1 := x509.ParseCertificate(pair.Certificate[0])
	key, err2 := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	id.roots.AddCert(cert)
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	id.cert, id.key = write("cert.pem", "CERTIFICATE", cert.Raw), write("key.pem", "PRIVATE KEY", key)
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

// receive waits for a value from ch.
func receive[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(bound):
		t.Fatalf("waited in vain for %s", what)
	}
	return v
}

// nothingLeft waits until an engine has no connections.
func nothingLeft(t *testing.T, e *sluice.Engine) {
	t.Helper()
	for end := time.Now().Add(bound); ; time.Sleep(time.Millisecond) {
		conns := int64(0)
		for _, l := range e.Stats().Loops {
			conns += l.Conns
		}
		if conns == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections are left", conns)
		}
	}
}

// handshakeErrors counts the handshakes that have failed.
func handshakeErrors(e *sluice.Engine) (n int64) {
	for _, l := range e.Stats().Loops {
		n += l.HandshakeErrors
	}
	return n
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

// end tells the program that there is no more to say.
func (d *dialogue) end() { d.in.Close() }

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
