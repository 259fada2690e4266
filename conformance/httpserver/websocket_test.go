package httpserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
)

// webSocketServers are handlers that echo WebSocket messages, over Hijack.
var webSocketServers = map[string]http.HandlerFunc{
	"gorilla": func(w http.ResponseWriter, r *http.Request) {
		up := gorilla.Upgrader{EnableCompression: r.FormValue("deflate") != "", Subprotocols: []string{"echo"}}
		c, err := up.Upgrade(w, r, http.Header{"X-Extra": {"1"}})
		if err != nil {
			return
		}
		defer c.Close()
		for {
			kind, p, err := c.ReadMessage()
			if err != nil {
				return
			}
			if err := c.WriteMessage(kind, p); err != nil {
				return
			}
		}
	},
	"coder": func(w http.ResponseWriter, r *http.Request) {
		options := &coder.AcceptOptions{Subprotocols: []string{"echo"}}
		if r.FormValue("deflate") != "" {
			options.CompressionMode = coder.CompressionContextTakeover
		}
		w.Header().Set("X-Extra", "1")
		c, err := coder.Accept(w, r, options)
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 24)
		for {
			kind, p, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, p); err != nil {
				return
			}
		}
	},
}

// webSocketClients echo messages of these sizes over a connection each, and
// close it with a code that must come back.
var webSocketClients = map[string]func(ctx context.Context, url string, sizes []int) error{
	"gorilla": func(ctx context.Context, url string, sizes []int) error {
		dialer := gorilla.Dialer{EnableCompression: strings.Contains(url, "deflate"), Subprotocols: []string{"echo"}}
		c, answer, err := dialer.DialContext(ctx, url, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		if c.Subprotocol() != "echo" || answer.Header.Get("X-Extra") != "1" {
			return fmt.Errorf("answer %v", answer.Header)
		}
		pong := make(chan string, 1)
		c.SetPongHandler(func(s string) error { pong <- s; return nil })
		if err := c.WriteControl(gorilla.PingMessage, []byte("ping"), time.Now().Add(bound)); err != nil {
			return err
		}
		for _, n := range sizes {
			if err := c.WriteMessage(gorilla.BinaryMessage, content(n)); err != nil {
				return err
			}
			if _, p, err := c.ReadMessage(); err != nil || !bytes.Equal(p, content(n)) {
				return fmt.Errorf("message of %d bytes: %d bytes, %v", n, len(p), err)
			}
		}
		if s := <-pong; s != "ping" {
			return fmt.Errorf("pong %q", s)
		}
		if err := c.WriteControl(gorilla.CloseMessage, gorilla.FormatCloseMessage(4001, "done"), time.Now().Add(bound)); err != nil {
			return err
		}
		if _, _, err := c.ReadMessage(); !gorilla.IsCloseError(err, 4001) {
			return fmt.Errorf("after the close: %w", err)
		}
		return nil
	},
	"coder": func(ctx context.Context, url string, sizes []int) error {
		options := &coder.DialOptions{Subprotocols: []string{"echo"}}
		if strings.Contains(url, "deflate") {
			options.CompressionMode = coder.CompressionContextTakeover
		}
		c, answer, err := coder.Dial(ctx, url, options)
		if err != nil {
			return err
		}
		defer c.CloseNow()
		c.SetReadLimit(1 << 24)
		if c.Subprotocol() != "echo" || answer.Header.Get("X-Extra") != "1" {
			return fmt.Errorf("answer %v", answer.Header)
		}
		for _, n := range sizes {
			if err := c.Write(ctx, coder.MessageBinary, content(n)); err != nil {
				return err
			}
			if _, p, err := c.Read(ctx); err != nil || !bytes.Equal(p, content(n)) {
				return fmt.Errorf("message of %d bytes: %d bytes, %w", n, len(p), err)
			}
		}
		return c.Close(4001, "done")
	},
}

// content is n bytes that compress, but not to nothing.
func content(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i * i >> 5)
	}
	return p
}

var webSocketSizes = []int{0, 1, 125, 126, 4096, 65535, 65536, 300000, 3, 70000}

func webSocketMux() *http.ServeMux {
	mux := http.NewServeMux()
	for name, h := range webSocketServers {
		mux.HandleFunc("/"+name, h)
	}
	return mux
}

func TestWebSocket(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, webSocketMux())
		for server := range webSocketServers {
			for client, echo := range webSocketClients {
				for _, query := range []string{"", "?deflate=1"} {
					t.Run(client+" to "+server+query, func(t *testing.T) {
						ctx, cancel := context.WithTimeout(context.Background(), bound)
						defer cancel()
						if err := echo(ctx, "ws://"+s.addr+"/"+server+query, webSocketSizes); err != nil {
							t.Error(err)
						}
					})
				}
			}
		}
	})
}

// TestWebSocketMany runs connections beside each other.
func TestWebSocketMany(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, webSocketMux())
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		var wg sync.WaitGroup
		for server := range webSocketServers {
			for range 50 {
				wg.Go(func() {
					if err := webSocketClients["gorilla"](ctx, "ws://"+s.addr+"/"+server, []int{1, 1000, 100000, 1}); err != nil {
						t.Errorf("%s: %v", server, err)
					}
				})
			}
		}
		wg.Wait()
	})
}

// TestWebSocketFrameBehindHandshake: bytes that arrive with the request belong
// to the new protocol.
func TestWebSocketFrameBehindHandshake(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, webSocketMux())
		for _, n := range []int{5, 60000} {
			frame := []byte{0x82, 0x80 | 126, 0, 0, 0, 0, 0, 0} // a mask of zeros leaves the bytes as they are
			binary.BigEndian.PutUint16(frame[2:], uint16(n))
			c := s.connect(t)
			go io.WriteString(c, message("GET /coder", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
				"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")+string(frame)+string(content(n)))
			r := bufio.NewReader(c)
			if a, err := readAnswer(r, "GET"); err != nil || a.status != http.StatusSwitchingProtocols {
				t.Fatal(a, err)
			}
			header := 4
			if n < 126 {
				header = 2
			}
			p := make([]byte, header+n)
			if _, err := io.ReadFull(r, p); err != nil || !bytes.Equal(p[header:], content(n)) {
				t.Errorf("echo of %d bytes: %v", n, err)
			}
		}
	})
}

// TestWebSocketPeerGone: the handler learns that its peer is gone.
func TestWebSocketPeerGone(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		gone := make(chan error, 1)
		s := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			up := gorilla.Upgrader{}
			c, err := up.Upgrade(w, r, nil)
			if err != nil {
				gone <- err
				return
			}
			defer c.Close()
			_, _, err = c.ReadMessage()
			gone <- err
		}))
		c, _, err := gorilla.DefaultDialer.Dial("ws://"+s.addr, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.NetConn().Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-gone:
			var closed *gorilla.CloseError
			if !errors.As(err, &closed) || closed.Code != gorilla.CloseAbnormalClosure {
				t.Errorf("ReadMessage: %v", err)
			}
		case <-time.After(bound):
			t.Error("the handler does not learn that its peer is gone")
		}
	})
}
