package httpserver

import (
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
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// requireTools is true exactly when a program that is missing is a failure.
var requireTools = os.Getenv("SLUICE_REQUIRE_TOOLS") == "1"

// tool finds a program, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
	case requireTools:
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return path
}

// run runs a program to its end, which must be a success, and returns what it
// writes.
func run(t *testing.T, stdin, path string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*bound)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %q: %v\n%.3000s", path, args, err, &out)
	}
	return out.String()
}

// write makes a file that goes with the test.
func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// toolHandler is plain with uploads at /digest and files below /files/.
func toolHandler(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", plain(t))
	mux.HandleFunc("/digest", digest)
	mux.Handle("/files/", http.StripPrefix("/files", fileServer(t)))
	return mux
}

func TestCurl(t *testing.T) {
	curl := tool(t, "curl")
	large := strings.Repeat(megabyte, 8)
	file := write(t, "large", large)
	sum := fmt.Sprintf("%d %x <nil>", len(large), sha256.Sum256([]byte(large)))
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, toolHandler(t))
		for _, tt := range []struct {
			name  string
			args  []string // "@" stands for the server
			stdin string
			want  []string
			not   string
		}{
			{"keep-alive", []string{"-v", "@/hello", "@/long", "@/hello"}, "", []string{"Re-using existing connection", "Hello, World!"}, "Closing connection 0"},
			{"upload", []string{"-T", file, "-H", "Expect:", "@/digest"}, "", []string{sum}, ""},
			{"expected upload", []string{"-v", "-T", file, "-H", "Expect: 100-continue", "@/digest"}, "", []string{"100 Continue", sum}, ""},
			{"expected upload refused", []string{"-v", "-T", file, "-H", "Expect: 100-continue", "@/unread"}, "", []string{"200 OK", "not read"}, "100 Continue"},
			{"chunked upload", []string{"-v", "-T", "-", "@/digest"}, large, []string{"> Transfer-Encoding: chunked", sum}, ""},
			{"form", []string{"-F", "v=value", "-F", "file=@" + file, "@/form"}, "", []string{"v:[value]", "large 8388608"}, ""},
			{"1.0", []string{"-v", "--http1.0", "@/long"}, "", []string{"HTTP/1.0 200 OK", "299\n", "Closing connection"}, "chunked"},
			{"HEAD", []string{"-I", "@/exactly?n=100"}, "", []string{"200 OK", "Content-Length: 100\r\n"}, "xxx"},
			{"range", []string{"-r", "5-20", "@/files/large.bin"}, "", []string{"56789abcdef01234"}, "0123456789abcdef"},
			{"upgrade to HTTP/2 not taken", []string{"-v", "--http2", "@/hello"}, "", []string{"HTTP/1.1 200 OK", "Hello, World!"}, "HTTP/2"},
			{"many beside each other", []string{"-Z", "--no-progress-meter", "-w", "%{http_code}\n", "-o", "/dev/null", "@/long?[1-100]"}, "",
				[]string{strings.Repeat("200\n", 100)}, ""},
			{"redirect", []string{"-L", "-d", "a=b", "@/redirect"}, "", []string{"Hello, World!"}, ""},
			{"early hints", []string{"-v", "@/early"}, "", []string{"103 Early Hints", "late"}, ""},
		} {
			t.Run(tt.name, func(t *testing.T) {
				args := []string{"--silent", "--show-error"}
				for _, a := range tt.args {
					if strings.HasPrefix(a, "@/") {
						a = s.url + a[1:]
					}
					args = append(args, a)
				}
				out := run(t, tt.stdin, curl, args...)
				for _, want := range tt.want {
					if !strings.Contains(out, want) {
						t.Errorf("no %q in\n%.3000s", want, out)
					}
				}
				if tt.not != "" && strings.Contains(out, tt.not) {
					t.Errorf("%q in\n%.3000s", tt.not, out)
				}
			})
		}
		t.Run("large download", func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "out")
			run(t, "", curl, "-sS", "-o", path, s.url+"/files/large.bin")
			if p, err := os.ReadFile(path); err != nil || string(p) != megabyte+megabyte {
				t.Errorf("%d bytes, or others than were sent; %v", len(p), err)
			}
		})
	})
}

// TestWrk: no errors under load.
func TestWrk(t *testing.T) {
	wrk := tool(t, "wrk")
	pipeline := write(t, "pipeline.lua", `
init = function(args)
	local r = {}
	for i = 1, 16 do r[i] = wrk.format("GET", "/hello") end
	all = table.concat(r)
end
request = function() return all end
`)
	post := write(t, "post.lua", `
wrk.method = "POST"
wrk.body = string.rep("x", 5000)
`)
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, toolHandler(t))
		for name, args := range map[string][]string{
			"long":      {s.url + "/long"},
			"file":      {s.url + "/files/large.bin"},
			"pipelined": {"-s", pipeline, s.url},
			"posted":    {"-s", post, s.url + "/digest"},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				out := run(t, "", wrk, append([]string{"-t1", "-c50", "-d1s"}, args...)...)
				if !regexp.MustCompile(`\n +[1-9]\d* requests in `).MatchString(out) || strings.Contains(out, "errors") || strings.Contains(out, "Non-2xx") {
					t.Error(out)
				}
			})
		}
	})
}

// TestApacheBench: HTTP/1.0, with and without keep-alive.
func TestApacheBench(t *testing.T) {
	ab := tool(t, "ab")
	body := write(t, "body", megabyte[:5000])
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, toolHandler(t))
		for name, args := range map[string][]string{
			"close":      {s.url + "/hello"},
			"keep-alive": {"-k", s.url + "/hello"},
			"long":       {"-k", s.url + "/long"},
			"posted":     {"-k", "-p", body, "-T", "text/plain", s.url + "/digest"},
		} {
			t.Run(name, func(t *testing.T) {
				out := run(t, "", ab, append([]string{"-q", "-n", "300", "-c", "20"}, args...)...)
				for _, want := range []string{`Complete requests: +300\n`, `Failed requests: +0\n`} {
					if !regexp.MustCompile(want).MatchString(out) {
						t.Errorf("no %s", want)
					}
				}
				if name == "keep-alive" && !regexp.MustCompile(`Keep-Alive requests: +300\n`).MatchString(out) {
					t.Error("connections are not kept")
				}
				if t.Failed() || strings.Contains(out, "Non-2xx") {
					t.Error(out)
				}
			})
		}
	})
}

// TestSlowClients: those who are slow on purpose are cut off, and everybody
// else is served meanwhile.
func TestSlowClients(t *testing.T) {
	slowhttptest := tool(t, "slowhttptest")
	for _, tt := range []struct {
		name, target string
		args         []string
		end          string // why the program ends
	}{
		{"head", "/hello", []string{"-H", "-x", "5"}, "No open connections left"},
		{"body", "/seen", []string{"-B", "-s", "100000", "-x", "5"}, "No open connections left"},
		// A slow reader does not see the end of the connection before it has
		// read what its kernel holds.
		{"answer", "/large", []string{"-X", "-w", "128", "-y", "256", "-z", "5", "-n", "1"}, "Hit test time limit"},
	} {
		for _, k := range kinds {
			t.Run(tt.name+"/"+k.name, func(t *testing.T) {
				t.Parallel()
				mux := http.NewServeMux()
				mux.Handle("/", plain(t))
				mux.HandleFunc("/large", func(w http.ResponseWriter, r *http.Request) {
					for range 16 {
						if _, err := io.WriteString(w, megabyte); err != nil {
							return
						}
					}
				})
				var g gauge
				s := k.serveWith(t, &http.Server{
					Handler: mux, ReadHeaderTimeout: time.Second, ReadTimeout: time.Second, WriteTimeout: time.Second,
					IdleTimeout: time.Second, ConnState: g.count,
				})
				stop, checked := make(chan bool), make(chan bool)
				go func() { defer close(checked); g.serveMeanwhile(t, s, stop) }()
				out := run(t, "", slowhttptest, append([]string{"-c", "200", "-r", "200", "-i", "1", "-l", "5", "-p", "3", "-u", s.url + tt.target},
					tt.args...)...)
				close(stop)
				<-checked
				if out = ansi.ReplaceAllString(out, ""); !strings.Contains(out, tt.end) || !available.MatchString(out) || unavailable.MatchString(out) {
					t.Error(out)
				}
			})
		}
	}
}

// ansi finds the colours that slowhttptest writes.
var ansi = regexp.MustCompile("\x1b\\[[0-9;]*[A-Za-z]")

var (
	available   = regexp.MustCompile(`service available: +YES`)
	unavailable = regexp.MustCompile(`service available: +NO`)
)

// gauge counts the connections that are open.
type gauge struct{ opened, closed atomic.Int64 }

func (g *gauge) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		g.opened.Add(1)
	case http.StateClosed, http.StateHijacked:
		g.closed.Add(1)
	}
}

// serveMeanwhile asks again and again until stop is closed. It fails t if it is
// not answered, or if the many connections that are open by and by have not been
// closed before that.
func (g *gauge) serveMeanwhile(t *testing.T, s *site, stop <-chan bool) {
	const slow = 200
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: bound}
	cut, failed := false, 0
	for n := int64(1); ; n++ {
		// On a loaded machine the limit of a second may hit this one, too.
		switch resp, err := c.Get(s.url + "/hello"); {
		case err == nil:
			resp.Body.Close()
			failed = 0
		case failed == 2:
			t.Errorf("meanwhile, three times in a row: %v", err)
			return
		default:
			failed++
		}
		others, open := g.opened.Load()-n, g.opened.Load()-g.closed.Load()
		cut = cut || others >= slow && open < slow/10
		select {
		case <-stop:
			if !cut {
				t.Errorf("not all slow clients were cut off: %d connections came, %d are open", others, open)
			}
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}
