package httpd_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

// paths answers with a handler for each path.
type paths map[string]http.HandlerFunc

func (p paths) ServeHTTP(w http.ResponseWriter, r *http.Request) { p[r.URL.Path](w, r) }

// ask is a GET of a path.
func ask(path string) string { return "GET " + path + " HTTP/1.1\r\nHost: h\r\n\r\n" }

func TestShortAnswersHaveALengthAndLongOnesComeInChunks(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			var n, piece int
			_, _ = fmt.Sscanf(r.URL.Path, "/%d/%d", &n, &piece)
			for body := pattern(n); len(body) > 0; {
				k := min(piece, len(body))
				if m, err := w.Write(body[:k]); m != k || err != nil {
					t.Errorf("Write of %d: %d, %v", k, m, err)
				}
				body = body[k:]
			}
		})
		c := st.dial()
		for _, n := range []int{0, 1, 2047, 2048, 2049, 4095, 4096, 4097, 6144, 6145, 100_000, 1_000_000} {
			for _, piece := range []int{1000, 2048, 2049, 33_000, 1 << 20} {
				a := c.exchange(ask(fmt.Sprintf("/%d/%d", n, piece)), string(pattern(n)))
				length, coding := int64(n), ""
				if n > 2048 {
					length, coding = -1, "chunked"
				}
				if a.ContentLength != length || strings.Join(a.TransferEncoding, ",") != coding || a.Close {
					t.Errorf("%d bytes in pieces of %d: ContentLength %d, TransferEncoding %q, Close %v", n, piece, a.ContentLength, a.TransferEncoding, a.Close)
				}
			}
		}
		c.send("GET /5000/999 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
		if a := c.expect(200, string(pattern(5000))); a.ContentLength != -1 || a.TransferEncoding != nil || !a.Close {
			t.Errorf("to HTTP/1.0: ContentLength %d, TransferEncoding %q, Close %v", a.ContentLength, a.TransferEncoding, a.Close)
		}
		c.ended()
	})
}

func TestWriteStringAndReadFromWriteAsWriteDoes(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			n, err := io.WriteString(w, "one ")
			fmt.Fprintln(w, n, err)
			m, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader(strings.Repeat("two", 3000)))
			fmt.Fprintln(w, "", m, err)
			_, _ = io.WriteString(w, strings.Repeat("three", 2000))
		})
		st.dial().exchange(get, "one 4 <nil>\n"+strings.Repeat("two", 3000)+" 9000 <nil>\n"+strings.Repeat("three", 2000))
	})
}

func TestTheHeadOfAnAnswer(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		answers := paths{
			"/html":  text("<!DOCTYPE html><p>"),
			"/plain": text("just text"),
			"/empty": func(http.ResponseWriter, *http.Request) {},
			"/set": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "a/b")
				text("<html>")(w, r)
			},
			"/nil": func(w http.ResponseWriter, r *http.Request) { w.Header()["Content-Type"] = nil; text("<html>")(w, r) },
			"/zipped": func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Encoding", "x")
				text("<html>")(w, r)
			},
			"/nodate": func(w http.ResponseWriter, r *http.Request) { w.Header()["Date"] = nil },
			"/mydate": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Date", "today") },
			"/late":   func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200); w.Header().Set("X-Late", "1") },
			"/split":  func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-A", "a\r\nX-B: b") },
			"/name":   func(w http.ResponseWriter, r *http.Request) { w.Header()["X A"] = []string{"1"} },
			"/odd":    func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(799) },
		}
		st := w.serve(t, &httpd.Server{Handler: answers})
		c := st.dial()
		field := func(path, name, want string) {
			t.Helper()
			c.send(ask(path))
			if a := c.answer(); strings.Join(a.Header.Values(name), "|") != want {
				t.Errorf("%s: %s is %q, want %q", path, name, a.Header.Values(name), want)
			}
		}
		field("/html", "Content-Type", "text/html; charset=utf-8")
		field("/plain", "Content-Type", "text/plain; charset=utf-8")
		field("/empty", "Content-Type", "")
		field("/empty", "Content-Length", "0")
		field("/set", "Content-Type", "a/b")
		field("/nil", "Content-Type", "")
		field("/zipped", "Content-Type", "")
		field("/nodate", "Date", "")
		field("/mydate", "Date", "today")
		field("/late", "X-Late", "")
		field("/split", "X-B", "")
		field("/split", "X-A", "a  X-B: b")
		field("/name", "X A", "")
		c.send(ask("/odd"))
		if a := c.answer(); a.Status != "799 status code 799" {
			t.Errorf("status line %q", a.Status)
		}
		for range 2 {
			c.send(ask("/plain"))
			date, err := http.ParseTime(c.answer().Header.Get("Date"))
			if d := time.Since(date); err != nil || d < -bound || d > bound {
				t.Errorf("Date is %v, %v", date, err)
			}
		}
	})
}

func TestAnswersThatHaveNoBody(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		got := make(chan error, 1)
		status := func(n int) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(n)
				_, err := io.WriteString(w, "not allowed")
				got <- err
			}
		}
		answers := paths{
			"/204": status(204), "/304": status(304), "/short": text("short"), "/long": text(strings.Repeat("long", 5000)),
			"/length": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "12345") },
		}
		st := w.serve(t, &httpd.Server{Handler: answers})
		c := st.dial()
		for _, path := range []string{"/204", "/304"} {
			c.send(ask(path))
			if a := c.answer(); fmt.Sprint("/", a.StatusCode) != path || a.Header["Content-Length"] != nil || a.TransferEncoding != nil || a.Header["Content-Type"] != nil {
				t.Errorf("%s: %v", path, a)
			}
			if err := <-got; err != http.ErrBodyNotAllowed {
				t.Errorf("%s: Write returned %v", path, err)
			}
		}
		// The answers to HEAD have the fields of those to GET, as far as they are known, and no body.
		for path, want := range map[string][2]string{
			"/short": {"5", "text/plain; charset=utf-8"}, "/long": {"", "text/plain; charset=utf-8"}, "/length": {"12345", ""},
		} {
			c.send("HEAD " + path + " HTTP/1.1\r\nHost: h\r\n\r\n")
			if a := c.answerTo("HEAD"); a.StatusCode != 200 || a.Header.Get("Content-Length") != want[0] || a.Header.Get("Content-Type") != want[1] || a.Close {
				t.Errorf("HEAD %s: %d %v, Close %v", path, a.StatusCode, a.Header, a.Close)
			}
		}
		c.exchange(ask("/short"), "short")
	})
}

func TestAContentLengthThatIsNotKeptToEndsTheConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		writes := func(length, body string, want error) http.HandlerFunc {
			return func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", length)
				if _, err := io.WriteString(w, body); err != want {
					t.Errorf("Write of %q with Content-Length %s: %v", body, length, err)
				}
			}
		}
		st := w.serve(t, &httpd.Server{Handler: paths{
			"/exact": writes("4", "body", nil),
			"/short": writes("10", "body", nil),
			"/long":  writes("2", "body", http.ErrContentLength),
			"/wrong": writes("x", "body", nil),
		}})
		c := st.dial()
		c.exchange(ask("/exact"), "body")
		if a := c.exchange(ask("/wrong"), "body"); a.ContentLength != 4 {
			t.Errorf("ContentLength is %d", a.ContentLength)
		}
		st.log.expect(t, `invalid Content-Length of "x"`)
		c.send(ask("/short"))
		if a := c.answer(); a.ContentLength != 10 || a.body != "body" || !errors.Is(a.err, io.ErrUnexpectedEOF) {
			t.Errorf("%d, %q, %v", a.ContentLength, a.body, a.err)
		}
		c.ended()
		c = st.dial()
		c.send(ask("/long"))
		if a := c.answer(); a.ContentLength != 2 || a.body != "" || !errors.Is(a.err, io.ErrUnexpectedEOF) {
			t.Errorf("%d, %q, %v", a.ContentLength, a.body, a.err)
		}
		c.ended()
	})
}

func TestASuperfluousWriteHeaderIsLogged(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusAccepted)
			w.WriteHeader(http.StatusTeapot)
		})
		c := st.dial()
		c.send(get)
		c.expect(http.StatusAccepted, "")
		st.log.expect(t, "superfluous WriteHeader(418) from github.com/sluice-go/sluice/httpd_test.TestASuperfluousWriteHeaderIsLogged")
	})
}

func TestFlushSendsWhatWasWritten(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step := make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			for _, s := range []string{"one", "two"} {
				<-step
				_, _ = io.WriteString(w, s)
				if err := http.NewResponseController(w).Flush(); err != nil {
					t.Errorf("Flush: %v", err)
				}
			}
			<-step
		})
		c := st.dial()
		c.send(get)
		resp := c.head("GET") // before anything was written
		if resp.TransferEncoding == nil || resp.Header.Get("Content-Type") != "" {
			t.Errorf("%v %v", resp.TransferEncoding, resp.Header)
		}
		for _, want := range []string{"one", "two"} {
			step <- struct{}{}
			p := make([]byte, 3)
			if _, err := io.ReadFull(resp.Body, p); err != nil || string(p) != want {
				t.Errorf("read %q, %v", p, err)
			}
		}
		close(step)
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("the rest is %q, %v", rest, err)
		}
	})
}

func TestASlowReaderHoldsTheHandlerBackAndTakesLittleMemory(t *testing.T) {
	const size = 64 << 20
	test := func(t *testing.T, w *world, length bool) {
		var written atomic.Int64
		done := make(chan error, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			if length {
				w.Header().Set("Content-Length", fmt.Sprint(size))
			}
			p, src := make([]byte, 100_000), patterned{}
			for written.Load() < size {
				p := p[:min(int64(len(p)), size-written.Load())]
				_, _ = src.Read(p)
				n, err := w.Write(p)
				if written.Add(int64(n)); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		})
		c := st.narrow()
		c.send(get)
		var most int64
		watch := func() { most = max(most, st.liveBytes()) }
		if n := settle(watch, &written); n >= size {
			t.Error("the handler was not held back")
		}
		resp := c.head("GET")
		n, same, err := samePattern(struct{ io.Reader }{io.TeeReader(resp.Body, watcher(watch))})
		if n != size || !same || err != nil {
			t.Errorf("read %d bytes, the right ones %v, %v", n, same, err)
		}
		if err := <-done; err != nil {
			t.Errorf("Write: %v", err)
		}
		if most > 3<<20 {
			t.Errorf("the server held %d bytes", most)
		}
	}
	eachWorld(t, func(t *testing.T, w *world) {
		t.Run("chunks", func(t *testing.T) { test(t, w, false) })
		t.Run("length", func(t *testing.T) { test(t, w, true) })
	})
}

// watcher calls a function at every write.
type watcher func()

func (w watcher) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

func TestAClientThatGoesAwayDuringADownloadFreesItsHandler(t *testing.T) {
	ends := map[string]func(*client){"reset": (*client).reset, "FIN": func(c *client) { _ = c.Close() }}
	eachDriver(t, func(t *testing.T, w *world) {
		for name, end := range ends {
			got, cancelled := make(chan error, 1), make(chan struct{})
			st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
				p := make([]byte, 50_000)
				for {
					if _, err := w.Write(p); err != nil {
						_, again := w.Write(p)
						got <- errors.Join(err, again)
						break
					}
				}
				<-r.Context().Done()
				close(cancelled)
			})
			c := st.narrow()
			c.send(get)
			_ = c.head("GET")
			time.Sleep(10 * time.Millisecond) // the handler is stuck, as a rule
			end(c)
			if err := receive(t, "the handler's error", got); err == nil {
				t.Errorf("%s: Write returned nil", name)
			}
			receive(t, name+" to cancel the context", cancelled)
		}
	})
}

func TestTrailersOfAnAnswer(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Trailer", "X-Sum, x-absent")
			w.Header().Add("Trailer", "X-Other")
			_, _ = io.WriteString(w, r.URL.Path)
			w.Header().Set("X-Sum", "1")
			w.Header()["X-Other"] = []string{"2", "3"}
			w.Header().Set("X-Unannounced", "4")
			w.Header().Set(http.TrailerPrefix+"X-Prefixed", "5")
		})
		c := st.dial()
		a := c.exchange(ask("/short"), "/short")
		if want := "map[X-Absent:[] X-Other:[2 3] X-Prefixed:[5] X-Sum:[1]]"; fmt.Sprint(a.Trailer) != want {
			t.Errorf("Trailer is %v, want %s", a.Trailer, want)
		}
		if a.TransferEncoding == nil || a.Header.Get("X-Sum") != "" || a.Header.Get("X-Unannounced") != "" {
			t.Errorf("%v %v", a.TransferEncoding, a.Header)
		}
		c.send("GET / HTTP/1.0\r\n\r\n")
		if a := c.expect(200, "/"); a.Trailer["X-Sum"] != nil {
			t.Errorf("HTTP/1.0 got the trailer %v", a.Trailer)
		}
		c.ended()
	})
}

func TestAbortingAHandlerEndsItsConnectionWithoutALine(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{Handler: paths{
			"/ok":    text("ok"),
			"/abort": func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
			"/half": func(w http.ResponseWriter, r *http.Request) {
				_, _ = w.Write(bytes.Repeat([]byte("x"), 10_000))
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			},
		}})
		other := st.dial()
		other.exchange(ask("/ok"), "ok")
		c := st.dial()
		c.send(ask("/abort"))
		c.broken()
		c = st.dial()
		c.send(ask("/half"))
		if a := c.answer(); a.err == nil {
			t.Errorf("the answer seems whole: %d bytes", len(a.body))
		}
		other.exchange(ask("/ok"), "ok")
		if s := st.log.String(); s != "" {
			t.Errorf("logged %q", s)
		}
	})
}

func TestAPanicOfAHandlerIsLoggedAndCostsItsConnection(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, &httpd.Server{Handler: paths{
			"/ok":    text("ok"),
			"/panic": func(w http.ResponseWriter, r *http.Request) { panic("the handler's fault") },
			"/nil":   func(w http.ResponseWriter, r *http.Request) { panic(nil) },
			"/half": func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, 1))
				w.(http.Flusher).Flush()
				panic(fmt.Errorf("in the middle"))
			},
		}})
		other := st.dial()
		other.exchange(ask("/ok"), "ok")
		for path, want := range map[string]string{"/panic": "the handler's fault", "/nil": "panic called with nil", "/half": "in the middle"} {
			c := st.dial()
			c.send(post(path, strings.Repeat("x", 70_000)))
			c.broken()
			st.log.expect(t, fmt.Sprintf("panic serving %s: %s", c.LocalAddr(), want))
			st.log.expect(t, "answer_test.go")
		}
		other.exchange(ask("/ok"), "ok")
	})
}

func TestAnErrorLogIsUsedAndNothingElse(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		var own logText
		st := w.serve(t, &httpd.Server{ErrorLog: log.New(&own, "mine: ", 0), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			panic("x")
		})})
		c := st.dial()
		c.send(get)
		c.broken()
		own.expect(t, "mine: httpd: panic serving")
		if s := st.log.String(); s != "" {
			t.Errorf("elsewhere: %q", s)
		}
	})
}
