package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// output collects what a command prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// parse parses a command line of serve.
func parse(args ...string) (*serveCmd, error) {
	parser := newParser(io.Discard, io.Discard)
	ctx, err := parser.Parse(append([]string{"serve"}, args...))
	if err != nil {
		return nil, err
	}
	return &ctx.Model.Target.Addr().Interface().(*cli).Serve, nil
}

// start serves until drain is called, which returns what serve has.
func start(t *testing.T, s *serveCmd) (out *output, drain func() error) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out = new(output)
	done := make(chan error, 1)
	go func() { done <- s.serve(ctx, out) }()
	drain = sync.OnceValue(func() error {
		stop()
		return <-done
	})
	t.Cleanup(func() { _ = drain() })
	for end := time.Now().Add(10 * time.Second); !strings.Contains(out.String(), "interrupt to stop"); {
		if time.Now().After(end) {
			t.Fatalf("it printed %q", out.String())
		}
		time.Sleep(time.Millisecond)
	}
	return out, drain
}

func TestServeEchoesOnEveryAddressAndDrains(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s, err := parse("--echo", "tcp://127.0.0.1:0", "--echo", "unix://"+path, "--echo", "tls://127.0.0.1:0", "--loops", "2", "--accept", "main",
		"--balance", "leastconn", "--drain", "5s")
	if err != nil {
		t.Fatal(err)
	}
	out, drain := start(t, s)
	var addrs []string
	for _, line := range strings.Split(out.String(), "\n") {
		if url, ok := strings.CutPrefix(line, "echo on "); ok {
			addrs = append(addrs, url)
		}
	}
	if len(addrs) != 3 || !strings.Contains(out.String(), "a certificate for localhost was made") {
		t.Fatalf("it printed %q", out.String())
	}
	for _, url := range addrs {
		network, address, _ := strings.Cut(url, "://")
		dial := net.Dial
		if network == "tls" {
			dial = func(_, address string) (net.Conn, error) {
				return tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true}) // made for this run
			}
		}
		c, err := dial(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, _ = c.Write([]byte("hello"))
		p := make([]byte, 5)
		if _, err := io.ReadFull(c, p); err != nil || string(p) != "hello" {
			t.Errorf("%s: %q, %v", url, p, err)
		}
	}
	if err := drain(); err != nil {
		t.Errorf("serve: %v", err)
	}
	if !strings.HasSuffix(out.String(), "stopped\n") {
		t.Errorf("it printed %q", out.String())
	}
}

func TestServeRefusesBadFlagsWithWhatToDo(t *testing.T) {
	for want, args := range map[string][]string{
		"tcp://HOST:PORT":  {"--echo", "127.0.0.1:7000"},
		"write it as tcp":  {"--echo", "udp://127.0.0.1:0"},
		"--loops":          {"--loops", "-3"},
		"--driver":         {"--driver", "select"},
		"--direct needs":   {"--direct", "--driver", "portable"},
		"--accept":         {"--accept", "all"},
		"--balance":        {"--balance", "random"},
		"--drain":          {"--drain", "soon"},
		"unknown flag":     {"--grpc", "127.0.0.1:1"},
		"one of them is":   {"--https", "127.0.0.1:0", "--cert", "nowhere.pem"},
		"nowhere.pem":      {"--https", "127.0.0.1:0", "--cert", "nowhere.pem", "--key", "nowhere.key"},
		"of which there":   {"--http", "127.0.0.1:0", "--cert", "nowhere.pem", "--key", "nowhere.key"},
		"tls://HOST:PORT":  {"--echo", "tls://"},
		"--http":           {"--http", "nowhere"},
		"must not be nega": {"--drain=-5s"},
	} {
		s, err := parse(args...)
		if err == nil {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			err = s.serve(ctx, io.Discard)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v does not say %q", args, err, want)
		}
	}
}

func TestVersionNamesTheDrivers(t *testing.T) {
	var out bytes.Buffer
	if err := (versionCmd{}).Run(&out); err != nil || !strings.Contains(out.String(), "portable") {
		t.Errorf("%q, %v", out.String(), err)
	}
}
