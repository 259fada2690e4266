package load

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/gorilla/websocket"
)

func shortWebSocket(addr string) Config {
	cfg := short(addr)
	cfg.WebSocket = true
	return cfg
}

// startRight starts a WebSocket server of other authors, which echoes binary
// messages and notes how many it got and whether there was another message.
func startRight(t *testing.T, got *atomic.Int64, others *atomic.Bool) string {
	t.Helper()
	return startRightOn(t, (*httptest.Server).Start, got, others)
}

// startRightOn is startRight with start, which may be that of TLS.
func startRightOn(t *testing.T, start func(*httptest.Server), got *atomic.Int64, others *atomic.Bool) string {
	t.Helper()
	var upgrader websocket.Upgrader
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		for {
			kind, p, err := c.ReadMessage()
			if err != nil {
				return
			}
			if kind != websocket.BinaryMessage || r.URL.Path != "/" {
				others.Store(true)
			}
			got.Add(1)
			if err := c.WriteMessage(kind, p); err != nil {
				return
			}
		}
	}))
	start(s)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func TestWebSocketMessagesComeBackFromARightServer(t *testing.T) {
	var got atomic.Int64
	var others atomic.Bool
	addr := startRight(t, &got, &others)
	for _, size := range []int{minSize, 125, 126, 1024, 1<<16 - 1, 1 << 16, 1 << 20} {
		got.Store(0)
		cfg := shortWebSocket(addr)
		cfg.Size = size
		cfg.First = 30
		r, err := Loop(cfg, atOnce)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if r.Requests == 0 || r.Errors != 0 || r.Requests > got.Load() || others.Load() {
			t.Errorf("%d bytes: %d requests, the server got %d, %d errors (%s)", size, r.Requests, got.Load(), r.Errors, r.FirstError)
		}
	}
}

func TestWebSocketConnectionsAreHeldOpen(t *testing.T) {
	for _, secure := range []bool{false, true} {
		var got atomic.Int64
		var others atomic.Bool
		start := (*httptest.Server).Start
		if secure {
			start = (*httptest.Server).StartTLS
		}
		cfg := shortWebSocket(startRightOn(t, start, &got, &others))
		cfg.TLS = secure
		r, release, err := Hold(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		if r.Requests != int64(cfg.Conns) || got.Load() != r.Requests || r.Errors != 0 {
			t.Errorf("TLS %v: %d requests over %d connections, the server got %d, %d errors (%s)", secure, r.Requests, cfg.Conns, got.Load(), r.Errors, r.FirstError)
		}
	}
}

func TestWebSocketMessagesComeBackOverTLS(t *testing.T) {
	var got atomic.Int64
	var others atomic.Bool
	cfg := shortWebSocket(startRightOn(t, (*httptest.Server).StartTLS, &got, &others))
	cfg.TLS = true
	for _, size := range []int{minSize, 1024, 1 << 16} {
		cfg.Size = size
		r, err := Loop(cfg, atOnce)
		if err != nil || r.Requests == 0 || r.Errors != 0 || others.Load() {
			t.Errorf("%d bytes: %v, %d requests, %d errors (%s)", size, err, r.Requests, r.Errors, r.FirstError)
		}
	}
}

// rightUpgrade is the right answer to the handshake; its key and its answer
// are those of RFC 6455, section 1.3.
const rightUpgrade = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\n" +
	"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

// framing returns a WebSocket server for messages of 1,024 bytes that passes
// frame number 3 of every connection through change.
func framing(change func(frame []byte) []byte) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		if _, err := http.ReadRequest(in); err != nil {
			return
		}
		io.WriteString(c, rightUpgrade)
		const size = 1024
		question := make([]byte, 8+size)
		for n := 1; ; n++ {
			if _, err := io.ReadFull(in, question); err != nil {
				return
			}
			answer := append([]byte{0x82, 126}, binary.BigEndian.AppendUint16(nil, size)...)
			for i, b := range question[8:] {
				answer = append(answer, b^question[4+i%4])
			}
			if n == 3 {
				if answer = change(answer); answer == nil {
					return
				}
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	}
}

func TestWrongFramesAreNoticed(t *testing.T) {
	tests := []struct {
		name   string
		change func(frame []byte) []byte
		want   error
	}{
		{"nothing wrong", func(f []byte) []byte { return f }, nil},
		{"text", func(f []byte) []byte { f[0] = 0x81; return f }, errWrong},
		{"not final", func(f []byte) []byte { f[0] = 2; return f }, errWrong},
		{"masked", func(f []byte) []byte { f[1] |= 0x80; return f }, errWrong},
		{"length", func(f []byte) []byte { f[3]++; return f }, errWrong},
		{"first byte", func(f []byte) []byte { f[4]++; return f }, errWrong},
		{"last byte", func(f []byte) []byte { f[len(f)-1]++; return f }, errWrong},
		{"a ping before", func(f []byte) []byte { return append([]byte{0x89, 0}, f[:len(f)-2]...) }, errWrong},
		{"a ping behind", func(f []byte) []byte { return append(f, 0x89, 0) }, errSurplus},
		{"still masked", func(f []byte) []byte {
			mask := binary.LittleEndian.AppendUint32(nil, maskKey)
			for i := range f[4:] {
				f[4+i] ^= mask[i%4]
			}
			return f
		}, errWrong},
		{"closed", func([]byte) []byte { return nil }, errClosed},
	}
	for _, tt := range tests {
		cfg := shortWebSocket(startPlanted(t, framing(tt.change)))
		r, err := Loop(cfg, atOnce)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if tt.want == nil && (r.Errors != 0 || r.Requests == 0) || tt.want != nil && (r.Errors != int64(cfg.Conns) || r.FirstError != tt.want.Error()) {
			t.Errorf("%s: %d requests, %d errors (%s), want %v", tt.name, r.Requests, r.Errors, r.FirstError, tt.want)
		}
	}
}

func TestWrongHandshakesAreRefused(t *testing.T) {
	answers := map[string]string{
		"refused":         "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
		"another key":     strings.Replace(rightUpgrade, "s3p", "s3q", 1),
		"another upgrade": strings.Replace(rightUpgrade, "WebSocket", "h2c", 1),
		"no upgrade":      strings.Replace(rightUpgrade, "Connection: upgrade", "Connection: close", 1),
		"an extension":    strings.Replace(rightUpgrade, "Upgrade", "Sec-WebSocket-Extensions: permessage-deflate\r\nUpgrade", 1),
		"a subprotocol":   strings.Replace(rightUpgrade, "Upgrade", "Sec-WebSocket-Protocol: chat\r\nUpgrade", 1),
		"a greeting":      rightUpgrade + "\x89\x00",
		"not HTTP":        "hello\r\n\r\n",
		"cut off":         rightUpgrade[:50],
		"endless":         strings.Repeat("x", maxUpgraded+1),
	}
	for name, answer := range answers {
		addr := startPlanted(t, func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				fmt.Fprint(c, answer)
			}
		})
		if r, err := Loop(shortWebSocket(addr), atOnce); err == nil {
			t.Errorf("%s: no error, %+v", name, r)
		}
	}
	secure := shortWebSocket("127.0.0.1:1")
	secure.TLS = true
	for name, run := range map[string]func(Config, func() error) (Result, error){"churn": Churn, "handshakes": Handshakes, "storm": Storm} {
		if _, err := run(secure, atOnce); err == nil || !strings.Contains(err.Error(), "handshakes") {
			t.Errorf("%s over WebSocket: %v", name, err)
		}
	}
}

func TestFramesAreCheckedWithoutAllocating(t *testing.T) {
	f := newFrames(Config{Size: 1024})
	question := bytes.Clone(f.lend(1, 2))
	f.giveBack()
	answer := append([]byte{0x82, 126, 4, 0}, question[8:]...)
	for i := range answer[4:] {
		answer[4+i] ^= question[4+i%4]
	}
	right := true
	if n := testing.AllocsPerRun(100, func() {
		f.lend(1, 2)
		f.giveBack()
		right = right && f.right(1, 2, 0, answer[:5]) && f.right(1, 2, 5, answer[5:])
	}); n != 0 || !right {
		t.Errorf("%v allocations, right is %v", n, right)
	}
	if f.right(2, 2, 0, answer) || f.right(1, 3, 0, answer) {
		t.Error("the answer to another message is taken")
	}
}
