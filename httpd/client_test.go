package httpd_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// Requests that many tests send.
const (
	get      = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
	getClose = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
)

// post is a request with a body of known length.
func post(path, body string) string {
	return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
}

// chunked is a request whose body comes in chunks.
func chunked(path string, chunks ...string) string {
	return "POST " + path + " HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + inChunks(chunks...) + "\r\n"
}

// inChunks is a chunked body without the empty line of its end.
func inChunks(chunks ...string) string {
	var b strings.Builder
	for _, c := range chunks {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(c), c)
	}
	b.WriteString("0\r\n")
	return b.String()
}

// client is a raw connection to a server.
type client struct {
	net.Conn
	t testing.TB
	r *bufio.Reader
}

// dial connects to the server.
func (st *site) dial() *client {
	st.t.Helper()
	c, err := net.Dial(st.addr.Network(), st.addr.String())
	if err != nil {
		st.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(bound))
	st.t.Cleanup(func() { _ = c.Close() })
	return &client{c, st.t, bufio.NewReader(c)}
}

// narrow is dial with a receive buffer that does not grow, so that less fits
// into the kernel's hands. With one below a packet of the loopback's size, the
// kernel's timers would make everything slow.
func (st *site) narrow() *client {
	st.t.Helper()
	c := st.dial()
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(128 << 10)
	return c
}

// send sends bytes.
func (c *client) send(parts ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.Join(parts, "")); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// closeWrite ends the client's direction.
func (c *client) closeWrite() {
	c.t.Helper()
	if err := c.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		c.t.Fatal(err)
	}
}

// reset ends the connection with a reset.
func (c *client) reset() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

// answer is a response with its body.
type answer struct {
	*http.Response
	body string
	err  error // from reading the body
}

// head reads a response's head.
func (c *client) head(method string) *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("reading an answer: %v", err)
	}
	return resp
}

// answerTo reads the response to a request of that method.
func (c *client) answerTo(method string) *answer {
	c.t.Helper()
	resp := c.head(method)
	b, err := io.ReadAll(resp.Body)
	return &answer{resp, string(b), err}
}

// answer reads a response.
func (c *client) answer() *answer {
	c.t.Helper()
	return c.answerTo("GET")
}

// expect reads a response and checks its status and body.
func (c *client) expect(status int, body string) *answer {
	c.t.Helper()
	a := c.answer()
	if a.StatusCode != status || a.body != body || a.err != nil {
		c.t.Fatalf("the answer is %d %.200q (%v), want %d %.200q", a.StatusCode, a.body, a.err, status, body)
	}
	return a
}

// exchange sends a request and expects 200 with a body.
func (c *client) exchange(request, body string) *answer {
	c.t.Helper()
	c.send(request)
	return c.expect(http.StatusOK, body)
}

// ended checks that the server closes the connection in order and sends
// nothing before.
func (c *client) ended() {
	c.t.Helper()
	if b, err := c.r.ReadByte(); err != io.EOF {
		c.t.Fatalf("the connection gave %q, %v, want its end", b, err)
	}
}

// broken checks that the server ended the connection, in order or not, after
// whatever it sent.
func (c *client) broken() {
	c.t.Helper()
	if _, err := io.Copy(io.Discard, c.r); errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatal("the connection is still there")
	}
}

// refused sends bytes and expects an error status and the connection's end.
func (c *client) refused(status int, parts ...string) *answer {
	c.t.Helper()
	c.send(parts...)
	a := c.answer()
	if a.StatusCode != status || !a.Close {
		c.t.Fatalf("the answer is %d %q, close %v; want %d and a close", a.StatusCode, a.body, a.Close, status)
	}
	c.ended()
	return a
}

// silent checks that the server sends nothing for a while. It can only find
// what comes soon.
func (c *client) silent(d time.Duration) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(d))
	if b, err := c.r.ReadByte(); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("the connection gave %q, %v, want nothing", b, err)
	}
	_ = c.SetReadDeadline(time.Now().Add(bound))
}

// text answers with a string.
func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, s) }
}

// echo answers with the request's body, while it is coming.
func echo(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	_, _ = io.Copy(w, r.Body)
}

// readAll answers with the request's body when it is whole.
func readAll(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusTeapot)
		return
	}
	_, _ = w.Write(b)
}
