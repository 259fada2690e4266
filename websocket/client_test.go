package websocket_test

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

// The first bytes of frames.
const (
	fin  = 0x80
	rsv1 = 0x40

	cont    = 0x0
	text    = fin | 0x1
	bin     = fin | 0x2
	closing = fin | 0x8
	ping    = fin | 0x9
	pong    = fin | 0xa
)

// frame is one that a client sends, masked, its length in the shortest form.
func frame(first byte, payload string) string {
	b := header(first, len(payload), 0x80)
	key := [4]byte{byte(len(payload)), 0x5a, 0xc3, first}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

// plain is a frame that a server sends.
func plain(first byte, payload string) string {
	return string(header(first, len(payload), 0)) + payload
}

func header(first byte, n int, masked byte) []byte {
	switch {
	case n < 126:
		return []byte{first, masked | byte(n)}
	case n < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{first, masked | 126}, uint16(n))
	}
	return binary.BigEndian.AppendUint64([]byte{first, masked | 127}, uint64(n))
}

// closeFrame is a client's Close frame.
func closeFrame(status websocket.Status, reason string) string {
	return frame(closing, closePayload(status, reason))
}

func closePayload(status websocket.Status, reason string) string {
	return string(binary.BigEndian.AppendUint16(nil, uint16(status))) + reason
}

// The handshake of RFC 6455 1.3.
const (
	key    = "dGhlIHNhbXBsZSBub25jZQ=="
	accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// hello is the request of a handshake, with more fields.
func hello(fields ...string) string {
	request := "GET /ws?a=1 HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n"
	for _, f := range fields {
		request += f + "\r\n"
	}
	return request + "\r\n"
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
	if st.client != nil {
		c = tls.Client(c, st.client)
	}
	_ = c.SetDeadline(time.Now().Add(bound))
	st.t.Cleanup(func() { _ = c.Close() })
	return &client{c, st.t, reader(c)}
}

// open connects and makes the handshake with more fields.
func (st *site) open(fields ...string) *client {
	st.t.Helper()
	c := st.dial()
	c.send(hello(fields...))
	c.switched()
	return c
}

// send sends bytes.
func (c *client) send(parts ...string) {
	c.t.Helper()
	if _, err := io.WriteString(c, strings.Join(parts, "")); err != nil {
		c.t.Fatalf("sending: %v", err)
	}
}

// sendSlowly sends bytes one by one, each as a packet of its own, mostly.
func (c *client) sendSlowly(s string) {
	c.t.Helper()
	for i := range len(s) {
		if _, err := io.WriteString(c, s[i:i+1]); err != nil {
			return // it was refused before its end
		}
	}
}

// response reads the head of an answer.
func (c *client) response() *http.Response {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: "GET"})
	if err != nil {
		c.t.Fatalf("reading an answer: %v", err)
	}
	return resp
}

// switched reads the answer that accepts the handshake.
func (c *client) switched() *http.Response {
	c.t.Helper()
	resp := c.response()
	h := resp.Header
	if resp.StatusCode != 101 || h.Get("Sec-WebSocket-Accept") != accept ||
		!strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "upgrade") {
		b, _ := io.ReadAll(resp.Body)
		c.t.Fatalf("the handshake was answered with %s %v %q", resp.Status, h, b)
	}
	return resp
}

// next reads a frame.
func (c *client) next() (first byte, payload string, err error) {
	var h [10]byte
	if _, err = io.ReadFull(c.r, h[:2]); err != nil {
		return 0, "", err
	}
	first = h[0]
	n := uint64(h[1])
	switch h[1] {
	case 126:
		_, err = io.ReadFull(c.r, h[2:4])
		n = uint64(binary.BigEndian.Uint16(h[2:]))
	case 127:
		_, err = io.ReadFull(c.r, h[2:])
		n = binary.BigEndian.Uint64(h[2:])
	}
	switch {
	case err != nil:
		return 0, "", err
	case h[1] > 127 || n > 64<<20:
		return 0, "", fmt.Errorf("a frame of %#x with the length %#x, %d", first, h[1], n)
	}
	p := make([]byte, n)
	_, err = io.ReadFull(c.r, p)
	return first, string(p), err
}

// expect reads a frame and checks it.
func (c *client) expect(first byte, payload string) {
	c.t.Helper()
	gotFirst, got, err := c.next()
	if err != nil || gotFirst != first || got != payload {
		c.t.Fatalf("the next frame is %#x %.100q of %d bytes (%v), want %#x %.100q of %d", gotFirst, got, len(got), err, first, payload, len(payload))
	}
}

// expectClose reads a Close frame with a status, and then the end.
func (c *client) expectClose(status websocket.Status) (reason string) {
	c.t.Helper()
	first, p, err := c.next()
	if err != nil || first != closing || len(p) < 2 || websocket.Status(binary.BigEndian.Uint16([]byte(p))) != status {
		c.t.Fatalf("the next frame is %#x %.100q (%v), want a Close frame with %d", first, p, err, status)
	}
	c.over()
	return p[2:]
}

// over expects the end of the connection, in order.
func (c *client) over() {
	c.t.Helper()
	if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil {
		c.t.Fatalf("%d more bytes, %.100q, and then %v; want the end", len(b), b, err)
	}
	_ = c.Close()
}

// drain reads frames until a Close frame or the end, and closes the connection.
func (c *client) drain() (last string) {
	c.t.Helper()
	for {
		first, p, err := c.next()
		if err != nil || first == closing {
			_ = c.Close()
			return p
		}
	}
}

// drop reads to the end, in whatever way that comes, and closes the connection.
func (c *client) drop() {
	_, _ = io.Copy(io.Discard, c)
	_ = c.Close()
}

// bye closes the connection from the client's side.
func (c *client) bye() {
	c.t.Helper()
	c.send(closeFrame(1000, "bye"))
	c.expectClose(1000)
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

// params are those of compression, the same for both sides.
func params(takeover bool, bits int) ws.Params {
	return ws.Params{Server: ws.Side{Takeover: takeover, Bits: bits}, Client: ws.Side{Takeover: takeover, Bits: bits}}
}
