package websocketpeers

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
)

const (
	bound       = 20 * time.Second // for how long a test waits at most
	scriptBound = 5 * time.Minute  // for all the cases of a script
)

// missing skips the test for want of a program, or fails it where
// SLUICE_REQUIRE_TOOLS is 1.
func missing(t *testing.T, args ...any) {
	t.Helper()
	if os.Getenv("SLUICE_REQUIRE_TOOLS") == "1" {
		t.Fatal(args...)
	}
	t.Skip(args...)
}

// python finds a Python that has websockets: the system's, whose packages are
// Debian's, or the first one.
func python(t *testing.T) (path string) {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		if exec.CommandContext(ctx, name, "-c", "import websockets").Run() == nil {
			return name
		}
	}
	missing(t, "there is no python3 that can import websockets")
	return ""
}

// node finds node, and the package ws for it. env leads to that.
func node(t *testing.T) (path string, env []string) {
	t.Helper()
	path, err := exec.LookPath("node")
	if err != nil {
		missing(t, err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	env = []string{"NODE_PATH=" + filepath.Join(cache, "sluice", "npm", "node_modules") + string(filepath.ListSeparator) + os.Getenv("NODE_PATH")}
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "-e", "require('ws')")
	cmd.Env = append(os.Environ(), env...)
	if cmd.Run() != nil {
		missing(t, "there is no npm package ws for node, with ", env[0])
	}
	return path, env
}

// chromium finds Chromium.
func chromium(t *testing.T) (path string) {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		missing(t, err)
	}
	return path
}

// identity is a server's certificate, also in files, for 127.0.0.1.
type identity struct {
	pair      tls.Certificate
	roots     *x509.CertPool
	cert, key string
}

func newIdentity(t *testing.T) identity {
	t.Helper()
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	id := identity{pair: ts.TLS.Certificates[0], roots: x509.NewCertPool()}
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
	id.cert, id.key = write("cert.pem", "CERTIFICATE", ts.Certificate().Raw), write("key.pem", "PRIVATE KEY", key)
	return id
}

// eachWorld runs test with the best driver that can be used here, and with the
// last one and TLS; the portable one is for systems that have no other.
func eachWorld(t *testing.T, test func(t *testing.T, e *sluice.Engine, secure bool)) {
	drivers := slices.DeleteFunc(sluice.Drivers(), func(name string) bool {
		return name == "portable" || sluice.CheckDriver(name) != nil
	})
	if len(drivers) == 0 {
		drivers = []string{"portable"}
	}
	for name, secure := range map[string]bool{drivers[0]: false, drivers[len(drivers)-1] + " with TLS": true} {
		t.Run(name, func(t *testing.T) {
			driver, _, _ := strings.Cut(name, " ")
			e, err := sluice.New(sluice.Config{Driver: driver})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			test(t, e, secure)
		})
	}
}

// scratch returns a directory for a program whose children may be there for a
// little longer than the program.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "websocketpeers")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for end := time.Now().Add(bound); ; time.Sleep(10 * time.Millisecond) {
			err := os.RemoveAll(dir)
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Error(err)
				return
			}
		}
	})
	return dir
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

// script is a program that runs.
type script struct {
	path   string
	lines  chan []byte // of its standard output
	stderr bytes.Buffer
	ended  chan struct{} // closed when it has ended and lines has all of it
	stop   func()
}

// start starts a program, which ends with the test.
func start(t *testing.T, env []string, path string, args ...string) *script {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scriptBound)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(append(os.Environ(), "NO_PROXY=127.0.0.1"), env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) } // so that it ends its children
	cmd.WaitDelay = 5 * time.Second
	s := &script{path: path, lines: make(chan []byte, 1000), ended: make(chan struct{})}
	if _, err := cmd.StdinPipe(); err != nil { // which a server ends with
		t.Fatal(err)
	}
	cmd.Stderr = &s.stderr
	out, w := io.Pipe()
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = cmd.Wait()
		w.Close()
	}()
	go func() {
		defer close(s.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			s.lines <- bytes.Clone(lines.Bytes())
		}
	}()
	s.stop = func() {
		cancel()
		<-s.ended
	}
	t.Cleanup(s.stop)
	return s
}

// result is that of a case, or tells after the last one how many they were.
type result struct {
	Case  string
	Error *string
	Done  int
}

// known are the cases that are known to fail, and why.
var known = map[string]string{}

// report makes a subtest of every case whose result comes from lines.
func (s *script) report(t *testing.T, lines <-chan []byte) {
	t.Helper()
	for n := 0; ; n++ {
		var line []byte
		select {
		case line = <-lines:
		case <-s.ended:
			select { // the last of what it wrote is there by now
			case line = <-lines:
			default:
			}
		case <-time.After(2 * bound): // a script gives a case as much as bound
		}
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			s.stop() // and nothing writes to stderr any more
			t.Fatalf("%s ends after %d cases with %q\n%s", s.path, n, line, &s.stderr)
		}
		if r.Done > 0 {
			if r.Done != n {
				t.Errorf("%d results of %d cases", n, r.Done)
			}
			return
		}
		t.Run(strings.ReplaceAll(r.Case, "/", "_"), func(t *testing.T) {
			reason, isKnown := known[r.Case]
			switch {
			case isKnown && r.Error != nil:
				t.Skipf("known: %s; %s", reason, *r.Error)
			case isKnown:
				t.Error("it passes, and is to be taken off the list of known failures")
			case r.Error != nil:
				t.Error(*r.Error)
			}
		})
	}
}
