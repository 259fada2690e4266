package httpd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

// hijacks answers by giving the connection to serve.
func hijacks(t *testing.T, serve func(net.Conn, *bufio.ReadWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Errorf("Hijack: %v", err)
			return
		}
		serve(c, rw)
	}
}

// mirror sends back what it receives, by lines, until the line "bye".
func mirror(c net.Conn, rw *bufio.ReadWriter) {
	defer c.Close()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = rw.WriteString("echo " + line)
		if _ = rw.Flush(); line == "bye\n" {
			return
		}
	}
}

// line reads a line.
func (c *client) line(want string) {
	c.t.Helper()
	if got, err := c.r.ReadString('\n'); got != want+"\n" || err != nil {
		c.t.Fatalf("read %q, %v, want %q", got, err, want)
	}
}

func TestAHijackedConnectionIsABlockingConn(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, leave := range []bool{false, true} { // the handler returns at once, or stays
			st := w.handle(t, hijacks(t, func(c net.Conn, rw *bufio.ReadWriter) {
				_, _ = io.WriteString(rw, "welcome\n")
				_ = rw.Flush()
				if leave {
					go mirror(c, rw)
				} else {
					mirror(c, rw)
				}
			}))
			c := st.dial()
			c.send(get)
			c.line("welcome")
			for i := range 5 {
				c.send(fmt.Sprintf("%d\n", i))
				c.line(fmt.Sprintf("echo %d", i))
			}
			if s := st.Stats(); s.Hijacked != 1 || s.Conns != 1 {
				t.Errorf("Stats are %+v", s)
			}
			c.send("bye\n")
			c.line("echo bye")
			c.ended()
		}
	})
}

func TestBytesSentEarlyAreTheFirstThatAHijackerReads(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		step := make(chan struct{}, 1)
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			<-step
			hijacks(t, mirror)(w, r)
		})
		c := st.dial()
		c.send(get, "early\n") // in the request's packet
		c.send("later\n")
		step <- struct{}{}
		c.line("echo early")
		c.line("echo later")
		c.send("bye\n")
		c.line("echo bye")
		c.ended()
		// More than the server keeps for itself, and after other requests.
		c = st.dial()
		long := strings.Repeat("x", 1000) + "\n"
		c.send(get)
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c, strings.Repeat(long, 500)+"bye\n")
			sent <- err
		}()
		time.Sleep(10 * time.Millisecond)
		step <- struct{}{}
		for range 500 {
			c.line("echo " + strings.TrimSpace(long))
		}
		c.line("echo bye")
		if err := <-sent; err != nil {
			t.Errorf("sending: %v", err)
		}
		c.ended()
	})
}

func TestAHijackerSwitchesProtocols(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/written" { // by the ResponseWriter, before
				w.Header().Set("Connection", "Upgrade")
				w.Header().Set("Upgrade", "mirror")
				w.WriteHeader(http.StatusSwitchingProtocols)
				hijacks(t, mirror)(w, r)
				return
			}
			hijacks(t, func(c net.Conn, rw *bufio.ReadWriter) {
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: mirror\r\n\r\n")
				mirror(c, rw)
			})(w, r)
		})
		for _, path := range []string{"/raw", "/written"} {
			c := st.dial()
			c.send("GET " + path + " HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: mirror\r\n\r\nfirst\n")
			if resp := c.head("GET"); resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "mirror" || resp.Header.Get("Connection") != "Upgrade" {
				t.Errorf("%s: %v", path, resp)
			}
			c.line("echo first")
			c.send("bye\n")
			c.line("echo bye")
			c.ended()
		}
	})
}

func TestAHijackedConnectionHasItsOwnDeadlines(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		got := make(chan error, 2)
		st := w.serve(t, &httpd.Server{
			ReadTimeout: 20 * time.Millisecond, WriteTimeout: 20 * time.Millisecond, IdleTimeout: 20 * time.Millisecond,
			Handler: hijacks(t, func(c net.Conn, rw *bufio.ReadWriter) {
				defer c.Close()
				time.Sleep(60 * time.Millisecond) // the server's are over
				_, _ = io.WriteString(c, "still here\n")
				line, err := rw.ReadString('\n')
				if line != "hello\n" || err != nil {
					t.Errorf("read %q, %v", line, err)
				}
				_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
				_, err = c.Read(make([]byte, 1))
				got <- err
				_ = c.SetReadDeadline(time.Time{})
				_ = c.SetWriteDeadline(time.Now().Add(10 * time.Millisecond))
				_, err = c.Write(make([]byte, 64<<20))
				got <- err
			}),
		})
		c := st.dial()
		c.send(get)
		c.line("still here")
		time.Sleep(30 * time.Millisecond)
		c.send("hello\n")
		for range 2 {
			if err := receive(t, "a deadline", got); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("the error is %v", err)
			}
		}
	})
}

func TestTheResponseWriterOfAHijackedConnectionIsOfNoUse(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			hijacks(t, func(c net.Conn, rw *bufio.ReadWriter) {
				defer c.Close()
				if _, err := w.Write([]byte("x")); err != http.ErrHijacked {
					t.Errorf("Write: %v", err)
				}
				w.WriteHeader(500)
				if err := http.NewResponseController(w).Flush(); err == nil {
					t.Error("Flush returned nil")
				}
				if _, _, err := w.(http.Hijacker).Hijack(); err != http.ErrHijacked {
					t.Errorf("Hijack: %v", err)
				}
				_, _ = io.WriteString(c, "fine\n")
			})(w, r)
		})
		c := st.dial()
		c.send(get)
		c.line("fine")
		c.ended()
		st.log.expect(t, "WriteHeader on a hijacked connection from github.com/sluice-go/sluice/httpd_test.")
	})
}

func TestAPanicAfterHijackLeavesTheConnectionToItsOwner(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, hijacks(t, func(c net.Conn, rw *bufio.ReadWriter) {
			go mirror(c, rw)
			panic("after Hijack")
		}))
		c := st.dial()
		c.send(get)
		st.log.expect(t, "after Hijack")
		c.send("bye\n")
		c.line("echo bye")
		c.ended()
	})
}

func TestShutdownNeitherClosesNorAwaitsHijackedConnections(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.handle(t, hijacks(t, func(c net.Conn, rw *bufio.ReadWriter) { go mirror(c, rw) }))
		c := st.dial()
		c.send(get, "one\n")
		c.line("echo one")
		for _, end := range []func() error{func() error { return st.Shutdown(context.Background()) }, st.Close} {
			if err := end(); err != nil {
				t.Errorf("ending the server: %v", err)
			}
			c.send("two\n")
			c.line("echo two")
		}
		c.send("bye\n")
		c.line("echo bye")
		c.ended()
	})
}

func TestHijackInTheMiddleOfABodyStopsReadingIt(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.handle(t, func(w http.ResponseWriter, r *http.Request) {
			p := make([]byte, 10)
			_, _ = io.ReadFull(r.Body, p)
			hijacks(t, func(c net.Conn, rw *bufio.ReadWriter) {
				_, _ = fmt.Fprintf(c, "read %s\n", p)
				if _, err := r.Body.Read(p); err == nil {
					t.Error("the body can still be read")
				}
				_ = c.Close()
			})(w, r)
		})
		c := st.dial()
		c.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n", strings.Repeat("x", 70_000))
		c.line("read xxxxxxxxxx")
		c.broken()
	})
}
