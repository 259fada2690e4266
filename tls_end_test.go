package sluice

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// together collects what is written while it is on.
type together struct {
	net.Conn
	on  bool
	out []byte
}

func (c *together) Write(p []byte) (int, error) {
	if !c.on {
		return c.Conn.Write(p)
	}
	c.out = append(c.out, p...)
	return len(p), nil
}

// SetWriteDeadline does nothing: crypto/tls sets one that is over behind a close_notify.
func (c *together) SetWriteDeadline(time.Time) error { return nil }

// As every client does that closes while there is something that it has not read: the
// answer to its close_notify cannot be sent, and the kernel says so only once.
func TestTLSResetBehindACloseNotifyEndsTheConnection(t *testing.T) {
	all := systems()
	if direct := directSystem(); direct != nil {
		all = append(all, direct)
	}
	for _, sys := range all {
		t.Run(sys.Name(), func(t *testing.T) {
			w := realWorld(t, sys, "tcp")
			server, client := tlsConfigs()
			for _, unread := range []int{0, 200 << 10} {
				e := w.engine(t, Config{LingerTimeout: time.Hour}) // whoever waits for it fails
				closed, got, gone := make(chan error, 1), make(chan struct{}), make(chan struct{})
				ln := w.serve(t, e, TLS(server, Funcs{
					Open: func(c Conn) { _, _ = c.Write(make([]byte, unread)) },
					Data: func(_ Conn, in *buffer.LinkBuffer) {
						_ = in.Skip(in.Len())
						close(got)
						<-gone
					},
					Close: func(_ Conn, err error) { closed <- err },
				}))
				raw := w.connect(t, ln)
				wire := &together{Conn: raw}
				c := tls.Client(wire, client)
				if err := c.Handshake(); err != nil {
					t.Fatal(err)
				}
				wire.on = true
				_, err := c.Write([]byte("x"))
				if err == nil {
					err = c.CloseWrite()
				}
				if err == nil {
					_, err = raw.Write(wire.out)
				}
				if err != nil {
					t.Fatal(err)
				}
				receive(t, "OnData", got)
				w.reset(raw)
				close(gone)
				receive(t, "OnClose", closed)
				_ = e.Close()
			}
		})
	}
}
