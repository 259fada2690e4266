package sluice

import (
	"crypto/tls"
	"io"
	"testing"

	"github.com/sluice-go/sluice/buffer"
)

func TestTLSOfACertificateAuthorityIsNotForTheHandler(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		server, client = server.Clone(), client.Clone()
		server.NextProtos = append(server.NextProtos, "acme-tls/1")
		opened := make(chan string, 10)
		e := w.engine(t, Config{})
		ln := w.serve(t, e, TLS(server, Funcs{
			Open:  func(c Conn) { opened <- c.TLS().NegotiatedProtocol },
			Data:  echo,
			Close: func(c Conn, err error) { opened <- "" },
		}))
		for _, says := range []string{"", "what it must not"} {
			client.NextProtos = []string{"acme-tls/1"}
			raw := w.connect(t, ln)
			c := tls.Client(raw, client)
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, says)
			if n, err := c.Read(make([]byte, 1)); err != io.EOF { // which is a close_notify
				t.Errorf("read %d bytes and %v", n, err)
			}
			_ = c.Close()
			_, _ = io.Copy(io.Discard, raw) // until it is closed from the other side
			eventually(t, "the connection to end", func() bool {
				conns := int64(0)
				for _, l := range e.Stats().Loops {
					conns += l.Conns
				}
				return conns == 0
			})
		}
		if len(opened) > 0 {
			t.Errorf("the handler heard of it")
		}
		client.NextProtos = []string{"test/1"}
		c := tls.Client(w.connect(t, ln), client)
		exchange(t, c, []byte("hello"))
		if got := receive(t, "OnOpen", opened); got != "test/1" {
			t.Errorf("OnOpen saw %q", got)
		}
	})
}

func TestTLSClientMayBeACertificateAuthority(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		server, client = server.Clone(), client.Clone()
		server.NextProtos, client.NextProtos = []string{"acme-tls/1"}, []string{"acme-tls/1"}
		e := w.engine(t, Config{})
		ln := w.serve(t, e, TLS(server, Funcs{}))
		closed := make(chan error, 1)
		opened := make(chan *tls.ConnectionState, 1)
		_, err := e.Dial(t.Context(), ln.Addr().Network(), ln.Addr().String(), TLS(client, Funcs{
			Open:  func(c Conn) { opened <- c.TLS() },
			Data:  func(Conn, *buffer.LinkBuffer) { t.Error("data came") },
			Close: func(_ Conn, err error) { closed <- err },
		}))
		if err != nil {
			t.Fatal(err)
		}
		if state := receive(t, "OnOpen", opened); state == nil || len(state.PeerCertificates) == 0 || state.NegotiatedProtocol != "acme-tls/1" {
			t.Errorf("Conn.TLS: %+v", state)
		}
		if err := receive(t, "OnClose", closed); err != io.EOF {
			t.Errorf("OnClose got %v", err)
		}
	})
}
