package httpd_test

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

// patternFile is a file of n bytes of pattern, in a directory that goes with
// the test.
func patternFile(t *testing.T, n int) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file.bin")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, io.LimitReader(&patterned{}, int64(n))); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return name
}

// serveFile answers with a file.
func serveFile(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, name) }
}

func TestFilesAreServedWholeAndInRanges(t *testing.T) {
	const size = 3_000_000
	name := patternFile(t, size)
	small := patternFile(t, 1000)
	want := pattern(size)
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{Handler: paths{"/": serveFile(name), "/small": serveFile(small)}})
		c := st.dial()
		for range 2 {
			if a := c.exchange(get, string(want)); a.ContentLength != size || a.Header.Get("Accept-Ranges") != "bytes" || a.Close {
				t.Errorf("%v, Close %v", a.Header, a.Close)
			}
			c.exchange(ask("/small"), string(want[:1000]))
		}
		rng := func(r string) string { return "GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=" + r + "\r\n\r\n" }
		for r, part := range map[string][]byte{
			"0-0": want[:1], "10-19": want[10:20], "100-": want[100:], "-500000": want[size-500_000:], "1000000-2000000": want[1_000_000:2_000_001],
		} {
			c.send(rng(r))
			if a := c.expect(http.StatusPartialContent, string(part)); a.Header.Get("Content-Range") == "" {
				t.Errorf("%s: %v", r, a.Header)
			}
		}
		c.send(rng("9000000-"))
		if a := c.answer(); a.StatusCode != http.StatusRequestedRangeNotSatisfiable {
			t.Errorf("out of range: %d", a.StatusCode)
		}
		c.send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
		if a := c.answerTo("HEAD"); a.ContentLength != size || a.err != nil {
			t.Errorf("HEAD: %v, %v", a.Header, a.err)
		}
		c.send(rng("0-9,1000000-1499999"))
		a := c.answer()
		_, boundary, _ := strings.Cut(a.Header.Get("Content-Type"), "boundary=")
		parts := multipart.NewReader(strings.NewReader(a.body), boundary)
		for _, want := range [][]byte{want[:10], want[1_000_000:1_500_000]} {
			p, err := parts.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(p); err != nil || !bytes.Equal(b, want) {
				t.Errorf("a part of %d bytes, %v", len(b), err)
			}
		}
	})
}

func TestPipelinedFilesAndOtherAnswersKeepTheirOrder(t *testing.T) {
	name := patternFile(t, 700_000)
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{
			Handler:     paths{"/file": serveFile(name), "/text": text("text")},
			LoopHandler: func(x *httpd.RequestCtx) bool { _, _ = x.WriteString("loop"); return string(x.Path()) == "/loop" },
		})
		c := st.dial()
		for range 3 {
			c.send(ask("/file"), ask("/text"), ask("/file"), ask("/loop"), ask("/file"))
		}
		file := string(pattern(700_000))
		for range 3 {
			for _, want := range []string{file, "text", file, "loop", file} {
				c.expect(200, want)
			}
		}
	})
}

func TestWhatIsWrittenAroundAFileKeepsItsOrder(t *testing.T) {
	const size = 500_000
	name := patternFile(t, size)
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			f, err := os.Open(name)
			if err != nil {
				t.Error(err)
				return
			}
			defer f.Close()
			if r.URL.Path == "/length" {
				w.Header().Set("Content-Length", fmt.Sprint(3+size-10+4+20_000))
			}
			w.Header().Set("Content-Type", "application/x-pattern")
			_, _ = io.WriteString(w, "one")
			_, _ = f.Seek(10, io.SeekStart)
			if n, err := io.Copy(w, f); n != size-10 || err != nil {
				t.Errorf("Copy: %d, %v", n, err)
			}
			_, _ = io.WriteString(w, "two\n")
			_, _ = f.Seek(5, io.SeekStart)
			if n, err := io.CopyN(w, f, 20_000); n != 20_000 || err != nil {
				t.Errorf("CopyN: %d, %v", n, err)
			}
			if off, _ := f.Seek(0, io.SeekCurrent); off != 20_005 {
				t.Errorf("the file's position is %d", off)
			}
		})
		c := st.dial()
		want := "one" + string(pattern(size)[10:]) + "two\n" + string(pattern(20_005)[5:])
		for _, path := range []string{"/length", "/chunks", "/length"} {
			c.exchange(ask(path), want)
		}
	})
}

func TestAFileToASlowReaderHoldsNoGoroutine(t *testing.T) {
	const size = 100 << 20
	name := patternFile(t, size)
	eachWorld(t, func(t *testing.T, w *world) {
		var returned atomic.Int64
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			http.ServeFile(w, r, name)
			returned.Add(1)
		})
		c := st.narrow()
		c.send(get)
		eventually(t, "the handler to return", func() bool { return returned.Load() == 1 })
		eventually(t, "the job to end", func() bool { return st.eng.Stats().Jobs.Running == 0 })
		time.Sleep(quiet)
		if n := st.eng.Stats().Jobs.Running; n != 0 {
			t.Errorf("%d jobs run", n)
		}
		var most int64
		body := io.TeeReader(c.head("GET").Body, watcher(func() { most = max(most, st.liveBytes()) }))
		if n, same, err := samePattern(body); n != size || !same || err != nil {
			t.Errorf("%d bytes, the right ones %v, %v", n, same, err)
		}
		if most > 1<<20 {
			t.Errorf("the server held %d bytes", most)
		}
		c.send("GET / HTTP/1.1\r\nHost: h\r\nRange: bytes=0-9\r\n\r\n")
		c.expect(http.StatusPartialContent, string(pattern(10)))
	})
}

func TestAFileThatIsTruncatedMeanwhileEndsTheConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		name := patternFile(t, 30_000_000)
		st := w.handle(t, serveFile(name))
		c := st.narrow()
		c.send(get)
		resp := c.head("GET")
		time.Sleep(quiet)
		if err := os.Truncate(name, 1000); err != nil {
			t.Fatal(err)
		}
		// Pages that are on their way show the change, too: only how many
		// bytes come is certain.
		if n, err := io.Copy(io.Discard, resp.Body); err == nil || n >= 30_000_000 {
			t.Errorf("%d bytes, %v", n, err)
		}
		c.broken()
	})
}

func TestAClientThatGoesAwayFromAFileLeavesNothing(t *testing.T) {
	name := patternFile(t, 50_000_000)
	ends := []func(*client){(*client).reset, func(c *client) { _ = c.Close() }}
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.handle(t, serveFile(name))
		before := descriptors()
		for _, end := range ends {
			var clients []*client
			for range 5 {
				c := st.narrow()
				c.send(get)
				_ = c.head("GET")
				clients = append(clients, c)
			}
			time.Sleep(quiet)
			for _, c := range clients {
				end(c)
			}
		}
		eventually(t, "the connections to end", func() bool { return st.Stats().Conns == 0 })
		eventually(t, "the files to be closed", func() bool { return descriptors() <= before })
	})
}

func TestShutdownWaitsForAFileToASlowReader(t *testing.T) {
	const size = 30_000_000
	name := patternFile(t, size)
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, serveFile(name))
		c := st.narrow()
		c.send(get)
		resp := c.head("GET")
		down := make(chan error, 1)
		go func() { down <- st.Shutdown(t.Context()) }()
		time.Sleep(quiet)
		if len(down) > 0 {
			t.Error("Shutdown has returned")
		}
		if n, same, err := samePattern(resp.Body); n != size || !same || err != nil {
			t.Errorf("%d bytes, the right ones %v, %v", n, same, err)
		}
		c.ended()
		_ = c.Close()
		if err := receive(t, "Shutdown", down); err != nil {
			t.Error(err)
		}
	})
}

func TestUploadedFormFilesAreRemoved(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		t.Setenv("TMPDIR", t.TempDir())
		var once sync.Once
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			if err := r.ParseMultipartForm(1000); err != nil {
				t.Error(err)
				return
			}
			once.Do(func() {
				if names, _ := os.ReadDir(os.TempDir()); len(names) == 0 {
					t.Error("the form made no file")
				}
			})
			f, h, err := r.FormFile("f")
			if err == nil {
				_ = f.Close()
			}
			fmt.Fprint(w, h.Size, err)
		})
		var body bytes.Buffer
		form := multipart.NewWriter(&body)
		part, _ := form.CreateFormFile("f", "name")
		_, _ = part.Write(pattern(200_000))
		_ = form.Close()
		c := st.dial()
		c.exchange(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", form.FormDataContentType(), body.Len(), body.String()), "200000 <nil>")
		eventually(t, "the file to be removed", func() bool { names, _ := os.ReadDir(os.TempDir()); return len(names) == 0 })
	})
}
