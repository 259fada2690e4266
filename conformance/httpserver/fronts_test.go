package httpserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// front is a program that passes requests on. $DIR and $BACKEND in its
// configuration are a directory and the server's host:port; it listens on
// $DIR/socket, so that no port has to be found for it.
type front struct {
	name   string
	args   []string // $DIR as in the configuration, which is $DIR/config
	config string
}

var fronts = []front{
	{"nginx", []string{"-e", "stderr", "-p", "$DIR", "-c", "$DIR/config"}, `
daemon off;
master_process off;
pid $DIR/pid;
error_log stderr error;
events { worker_connections 512; }
http {
	access_log off;
	client_body_temp_path $DIR/1;
	proxy_temp_path $DIR/2;
	fastcgi_temp_path $DIR/3;
	uwsgi_temp_path $DIR/4;
	scgi_temp_path $DIR/5;
	client_max_body_size 100m;
	upstream back { server $BACKEND; keepalive 16; }
	server {
		listen unix:$DIR/socket;
		proxy_http_version 1.1;
		location / {
			proxy_set_header Connection "";
			proxy_buffering off;
			proxy_request_buffering off;
			proxy_pass http://back;
		}
		location /buffered/ {
			proxy_set_header Connection "";
			proxy_pass http://back/;
		}
		location /old/ {
			proxy_http_version 1.0;
			proxy_pass http://back/;
		}
		location /hijack-echo {
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection "upgrade";
			proxy_pass http://back;
		}
	}
}
`},
	{"haproxy", []string{"-db", "-f", "$DIR/config"}, `
global
	maxconn 500
defaults
	mode http
	timeout connect 20s
	timeout client 20s
	timeout server 20s
	option httpchk GET /hello
	http-reuse always
frontend front
	bind unix@$DIR/socket
	http-request replace-path /(buffered|old)(/.*) \2
	default_backend back
backend back
	server back $BACKEND check inter 100ms pool-purge-delay 30s
`},
}

// start runs the program in front of a server until the end of the test, and
// returns a client whose requests go through it.
func (f front) start(t *testing.T, s *site) *http.Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice") // shorter than t.TempDir, for the socket's sake
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	fill := strings.NewReplacer("$DIR", dir, "$BACKEND", s.addr).Replace
	if err := os.WriteFile(filepath.Join(dir, "config"), []byte(fill(f.config)), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tool(t, f.name))
	for _, arg := range f.args {
		cmd.Args = append(cmd.Args, fill(arg))
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-exited
		if t.Failed() {
			t.Logf("%s: %s", f.name, &out)
		}
	})
	transport := &http.Transport{MaxIdleConnsPerHost: 50, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "socket"))
	}}
	t.Cleanup(transport.CloseIdleConnections)
	c := &http.Client{Transport: transport, Timeout: bound}
	for deadline := time.Now().Add(bound); ; time.Sleep(10 * time.Millisecond) {
		resp, err := c.Get("http://front/hello")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return c
			}
		}
		if len(exited) > 0 || time.Now().After(deadline) {
			t.Fatalf("%s does not begin: %v", f.name, err)
		}
	}
}

// frontTests are run through every program, in front of every server.
var frontTests = []struct {
	name string
	test func(t *testing.T, c *http.Client, g *gauge)
}{
	{"connections are kept", func(t *testing.T, c *http.Client, g *gauge) {
		before := g.opened.Load()
		for range 100 {
			if resp, body := fetch(t, c, request(t.Context(), "GET", "http://front/hello", nil)); resp.StatusCode != 200 || body != "Hello, World!" {
				t.Fatal(resp.Status, body)
			}
		}
		if n := g.opened.Load() - before; n > 20 { // those of health checks among them
			t.Errorf("%d connections for 100 requests", n)
		}
	}},
	{"answers", func(t *testing.T, c *http.Client, g *gauge) {
		for _, tt := range []struct {
			method, target string
			status, length int
		}{
			{"GET", "/long", 200, 300000},
			{"HEAD", "/long", 200, 0},
			{"HEAD", "/exactly?n=100", 200, 0},
			{"GET", "/exactly?n=100000", 200, 100000},
			{"GET", "/flush", 200, 2},
			{"GET", "/status?code=204", 204, 0},
			{"GET", "/status?code=304", 304, 0},
			{"GET", "/status?code=404", 404, 22},
			{"GET", "/identity", 200, 13},
			{"GET", "/close", 200, 0},
			{"GET", "/trailer", 200, 4},
			{"GET", "/files/large.bin", 200, 2 << 20},
			{"POST", "/unread", 200, 8},
			{"OPTIONS", "/hello", 200, 13},
			{"GET", "/abort", 502, -1},
			{"GET", "/panic", 502, -1},
			{"GET", "/hello", 200, 13},
		} {
			for _, prefix := range []string{"", "/buffered", "/old"} {
				resp, body := fetch(t, c, request(t.Context(), tt.method, "http://front"+prefix+tt.target, nil))
				if resp.StatusCode != tt.status || tt.length >= 0 && len(body) != tt.length {
					t.Errorf("%s %s: %s, %d bytes, want %d, %d", tt.method, prefix+tt.target, resp.Status, len(body), tt.status, tt.length)
				}
			}
		}
	}},
	{"uploads", func(t *testing.T, c *http.Client, g *gauge) {
		large := strings.Repeat(megabyte, 8)
		for name, body := range map[string]func() io.Reader{
			"length":  func() io.Reader { return strings.NewReader(large) },
			"chunked": func() io.Reader { return io.MultiReader(strings.NewReader(large)) },
		} {
			for _, prefix := range []string{"", "/buffered", "/old"} {
				_, got := fetch(t, c, request(t.Context(), "POST", "http://front"+prefix+"/digest", body()))
				if want := fmt.Sprintf("%d %x <nil>", len(large), sha256.Sum256([]byte(large))); !strings.HasPrefix(got, want) {
					t.Errorf("%s%s: %.200s, want %s", prefix, name, got, want)
				}
			}
		}
	}},
	{"many beside each other", func(t *testing.T, c *http.Client, g *gauge) {
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				for j := range 20 {
					body := strings.Repeat(string(rune('a'+i%26)), i*j*100)
					_, got := fetch(t, c, request(t.Context(), "PUT", "http://front/digest", io.MultiReader(strings.NewReader(body))))
					if want := fmt.Sprintf("%d %x <nil>", len(body), sha256.Sum256([]byte(body))); !strings.HasPrefix(got, want) {
						t.Errorf("%.200s, want %s", got, want)
					}
				}
			})
		}
		wg.Wait()
	}},
	{"events", func(t *testing.T, c *http.Client, g *gauge) {
		resp, err := c.Do(request(t.Context(), "GET", "http://front/events", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		r := bufio.NewReader(resp.Body)
		for i := range 3 {
			line, err := r.ReadString('\n')
			if want := fmt.Sprintf("data: %d\n", i); err != nil || line != want {
				t.Fatalf("%q, %v, want %q", line, err, want)
			}
			// The next event is sent when this one is known to have arrived.
			fetch(t, c, request(t.Context(), "GET", "http://front/arrived", nil))
		}
	}},
	{"upgrade", func(t *testing.T, c *http.Client, g *gauge) {
		req := request(t.Context(), "GET", "http://front/hijack-echo", nil)
		req.Header.Set("Connection", "Upgrade")
		req.Header.Set("Upgrade", "echo")
		resp, err := c.Transport.RoundTrip(req) // a Client's own timeout would hide that the body can be written
		if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
			t.Fatal(resp, err)
		}
		conn := resp.Body.(io.ReadWriteCloser)
		defer conn.Close()
		line := megabyte + "\n"
		go io.WriteString(conn, line)
		if a, err := readAnswer(bufio.NewReader(conn), "GET"); err != nil || a.body != line {
			t.Error(len(a.body), err)
		}
	}},
}

func TestFronts(t *testing.T) {
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			tool(t, f.name)
			eachKind(t, func(t *testing.T, k kind) {
				arrived := make(chan bool)
				mux := http.NewServeMux()
				mux.Handle("/", toolHandler(t))
				mux.HandleFunc("/arrived", func(w http.ResponseWriter, r *http.Request) { arrived <- true })
				mux.HandleFunc("/events", func(w http.ResponseWriter, r *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					for i := range 3 {
						fmt.Fprintf(w, "data: %d\n", i)
						w.(http.Flusher).Flush()
						<-arrived
					}
				})
				var g gauge
				s := k.serveWith(t, &http.Server{Handler: mux, ConnState: g.count})
				c := f.start(t, s)
				for _, tt := range frontTests {
					t.Run(tt.name, func(t *testing.T) { tt.test(t, c, &g) })
				}
			})
		})
	}
}
