package websocket

import (
	"context"
	"net/http"
	"testing"
	"time"
	"unsafe"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
)

func TestFirst(t *testing.T) {
	t.Log(unsafe.Sizeof(Conn{}))
	srv := &Server{Handler: Funcs{Message: func(c *Conn, op Opcode, data []byte) { _ = c.WriteMessage(op, data) }}, Compression: &Compression{}}
	mux := http.NewServeMux()
	mux.Handle("/ws", srv)
	h := &httpd.Server{Handler: mux}
	ln, err := h.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	eng, _ := sluice.New(sluice.Config{})
	defer eng.Close()
	ln2, err := eng.Listen("tcp", "127.0.0.1:0", srv.Protocol())
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{ln.Addr().String(), ln2.Addr().String()} {
		got := make(chan string, 10)
		closed := make(chan error, 1)
		d := &Dialer{Engine: eng, Compression: &Compression{}, Handler: Funcs{
			Message: func(c *Conn, op Opcode, data []byte) { got <- string(data) },
			Close:   func(c *Conn, err error) { closed <- err },
		}}
		c, err := d.Dial(context.Background(), "ws://"+addr+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range []string{"hello", "", string(make([]byte, 100000))} {
			if err := c.WriteMessage(Binary, []byte(m)); err != nil {
				t.Fatal(err)
			}
			if g := <-got; g != m {
				t.Fatal(len(g), len(m))
			}
		}
		if !c.Compressed() {
			t.Error("not compressed")
		}
		if err := c.Close(NormalClosure, "bye"); err != nil {
			t.Fatal(err)
		}
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	t.Logf("%+v", srv.Stats())
	if err := srv.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	t.Logf("%+v", srv.Stats())
	_ = h.Shutdown(ctx)
}
