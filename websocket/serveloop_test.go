package websocket_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/websocket"
)

func TestALoopHandlerMakesTheHandshake(t *testing.T) {
	srv := &websocket.Server{
		Handler: websocket.Funcs{Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
			_ = c.WriteMessage(op, append(data, c.Context().(string)...))
		}},
		Accept: func(r *websocket.Request) (any, error) {
			if r.Path() != "/ws" || r.TLS() != nil || r.RemoteAddr() == nil {
				return nil, &websocket.Refusal{Status: http.StatusNotFound, Header: http.Header{"X-Why": {"path"}}}
			}
			return r.Query(), nil
		},
	}
	h := &httpd.Server{LoopHandler: func(x *httpd.RequestCtx) bool {
		srv.ServeLoop(x)
		return true
	}}
	ln, err := h.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	eng, err := sluice.New(sluice.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	got := make(chan string, 1)
	d := &websocket.Dialer{Engine: eng, Handler: websocket.Funcs{
		Message: func(_ *websocket.Conn, _ websocket.Opcode, data []byte) { got <- string(data) },
	}}
	c, err := d.Dial(context.Background(), "ws://"+ln.Addr().String()+"/ws?you", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WriteString("hello "); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m != "hello you" {
		t.Errorf("%q came back", m)
	}
	var refused *websocket.HandshakeError
	if _, err := d.Dial(context.Background(), "ws://"+ln.Addr().String()+"/other", nil); !errors.As(err, &refused) {
		t.Fatalf("%v", err)
	}
	if r := refused.Response; r.StatusCode != http.StatusNotFound || r.Header.Get("X-Why") != "path" {
		t.Errorf("%+v", r)
	}
	resp, err := http.Get("http://" + ln.Addr().String() + "/ws")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired || resp.Header.Get("Upgrade") != "websocket" {
		t.Errorf("a request without an upgrade: %+v", resp)
	}
}
