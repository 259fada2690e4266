package certfile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// pair writes a certificate for name and its key into the files.
func pair(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	pairUntil(t, certFile, keyFile, name, time.Now().Add(time.Hour))
}

func pairUntil(t *testing.T, certFile, keyFile, name string, end time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: end}
	cert, err1 := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	write(t, certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	write(t, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// write replaces a file, as those do who renew certificates.
func write(t *testing.T, name string, p []byte) {
	t.Helper()
	if err := os.WriteFile(name+".new", p, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// served returns whose certificate is served when the files are looked at again.
func served(t *testing.T, p *Pair) string {
	t.Helper()
	p.mu.Lock()
	p.looked = time.Time{}
	p.mu.Unlock()
	cert, err := p.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Subject.CommonName
}

func TestReload(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if _, err := Load(certFile, keyFile, nil); err == nil {
		t.Error("files that are not there were loaded")
	}
	pair(t, certFile, keyFile, "first")
	var logged bytes.Buffer
	p, err := Load(certFile, keyFile, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := served(t, p); got != "first" {
			t.Errorf("%s is served", got)
		}
	}
	pair(t, certFile, keyFile, "second")
	if got := served(t, p); got != "second" {
		t.Errorf("%s is served after a change", got)
	}
	for what, spoil := range map[string]func(){
		"garbage":     func() { write(t, certFile, []byte("no certificate")) },
		"another key": func() { pair(t, certFile, filepath.Join(dir, "other.pem"), "third") },
		"nothing":     func() { os.Remove(keyFile) },
	} {
		pair(t, certFile, keyFile, "second")
		if got := served(t, p); got != "second" {
			t.Errorf("%s is served before %s", got, what)
		}
		logged.Reset()
		spoil()
		for range 3 {
			if got := served(t, p); got != "second" {
				t.Errorf("%s: %s is served", what, got)
			}
		}
		if n := strings.Count(logged.String(), "level=ERROR"); n != 1 {
			t.Errorf("%s was logged %d times:\n%s", what, n, logged.String())
		}
	}
	pair(t, certFile, keyFile, "fourth")
	if got := served(t, p); got != "fourth" {
		t.Errorf("%s is served after good files came back", got)
	}
}

func TestACertificateThatHasExpiredIsServedAndLogged(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pairUntil(t, cert, key, "old", time.Now().Add(-time.Hour))
	var logged bytes.Buffer
	p, err := Load(cert, key, slog.New(slog.NewTextHandler(&logged, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if who := served(t, p); who != "old" || !strings.Contains(logged.String(), "level=WARN") || !strings.Contains(logged.String(), cert) {
		t.Errorf("%s is served, logged: %s", who, logged.String())
	}
	logged.Reset()
	pair(t, cert, key, "new")
	if who := served(t, p); who != "new" || strings.Contains(logged.String(), "level=WARN") {
		t.Errorf("%s is served, logged: %s", who, logged.String())
	}
}
