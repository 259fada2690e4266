package httpd_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestEnableFullDuplexEchoesAnUploadWhileItComes(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			if err := rc.EnableFullDuplex(); err != nil {
				t.Errorf("EnableFullDuplex: %v", err)
			}
			p := make([]byte, 4096)
			for {
				n, err := r.Body.Read(p)
				_, _ = w.Write(p[:n])
				if _ = rc.Flush(); err != nil {
					return
				}
			}
		})
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
		var resp *http.Response
		for i := range 10 { // each answer comes before the next is sent
			word := fmt.Sprintf("word %d", i)
			c.send(fmt.Sprintf("%x\r\n%s\r\n", len(word), word))
			if resp == nil {
				resp = c.head("POST")
			}
			p := make([]byte, len(word))
			if _, err := io.ReadFull(resp.Body, p); err != nil || string(p) != word {
				t.Fatalf("got %q, %v", p, err)
			}
		}
		c.send("0\r\n\r\n")
		if rest, err := io.ReadAll(resp.Body); len(rest) > 0 || err != nil {
			t.Errorf("then %q, %v", rest, err)
		}
		c.exchange(post("/", "again"), "again")
	})
}

func TestALongEchoGoesBothWaysAtOnce(t *testing.T) {
	const size = 8 << 20
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, echo)
		c := st.dial()
		for _, chunks := range []bool{false, true} {
			if chunks {
				c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
			} else {
				c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", size))
			}
			var sent atomic.Int64
			done := make(chan error, 1)
			go func() { done <- c.upload(size, &sent, chunks) }()
			n, same, err := samePattern(c.head("POST").Body)
			if n != size || !same || err != nil {
				t.Errorf("chunks %v: %d bytes, the right ones %v, %v", chunks, n, same, err)
			}
			if err := <-done; err != nil {
				t.Errorf("chunks %v: sending: %v", chunks, err)
			}
		}
	})
}

func TestAReadDeadlineEndsReadingTheBody(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			if r.URL.Path == "/past" {
				_ = rc.SetReadDeadline(time.Unix(1, 0))
			} else if err := rc.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
				t.Errorf("SetReadDeadline: %v", err)
			}
			n, err := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n, errors.Is(err, os.ErrDeadlineExceeded))
		})
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
		if a := c.expect(200, "1 true"); !a.Close {
			t.Error("the answer does not announce the end")
		}
		c.ended()
		c = st.dial()
		c.send("POST /past HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n", strings.Repeat("x", 70_000))
		if a := c.answer(); a.StatusCode != 200 || !strings.HasSuffix(a.body, "true") {
			t.Errorf("got %d %q", a.StatusCode, a.body)
		}
		c.ended()
	})
}

func TestAReadDeadlineCanBeMovedAndCancelled(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		begun := make(chan struct{})
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
			if r.URL.Path == "/cancel" {
				_ = rc.SetReadDeadline(time.Time{})
			} else {
				_ = rc.SetReadDeadline(time.Now().Add(time.Hour))
			}
			begun <- struct{}{}
			readAll(w, r)
		})
		c := st.dial()
		for _, path := range []string{"/move", "/cancel"} {
			c.send("POST " + path + " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n")
			receive(t, "the handler", begun)
			time.Sleep(50 * time.Millisecond)
			c.send("1\r\ny\r\n0\r\n\r\n")
			if a := c.expect(200, "xy"); a.Close {
				t.Error("the connection ends")
			}
		}
	})
}

func TestAWriteDeadlineEndsWriting(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		got := make(chan error, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(30 * time.Millisecond)); err != nil {
				t.Errorf("SetWriteDeadline: %v", err)
			}
			if r.URL.Path == "/late" { // nothing waits to be sent
				time.Sleep(60 * time.Millisecond)
				_, err := w.Write(make([]byte, 10_000))
				got <- err
				return
			}
			p := make([]byte, 100_000)
			for {
				if _, err := w.Write(p); err != nil {
					got <- err
					return
				}
			}
		})
		for _, path := range []string{"/stuck", "/late"} {
			c := st.narrow()
			c.send(ask(path))
			if err := receive(t, "Write to fail", got); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: Write: %v", path, err)
			}
			c.broken()
		}
	})
}

func TestAWriteDeadlineThatIsMovedLetsTheAnswerThrough(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			rc := http.NewResponseController(w)
			_ = rc.SetWriteDeadline(time.Now().Add(20 * time.Millisecond))
			_ = rc.SetWriteDeadline(time.Time{})
			time.Sleep(40 * time.Millisecond)
			_, _ = io.WriteString(w, "in time")
		})
		st.dial().exchange(get, "in time")
	})
}
