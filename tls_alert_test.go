package sluice

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/buffer"
)

// tampering changes the last byte of the next write once it is armed.
type tampering struct {
	net.Conn
	armed bool
}

func (c *tampering) Write(p []byte) (int, error) {
	if c.armed {
		c.armed = false
		p = append([]byte(nil), p...)
		p[len(p)-1] ^= 1
	}
	return c.Conn.Write(p)
}

func TestTLSPeerIsToldOfABadRecord(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		server, client := tlsConfigs()
		for _, behind := range []int{0, 3 << 20} { // bytes that are still on their way to the peer
			e := w.engine(t, Config{})
			payload := bytesOf(behind)
			closed := make(chan error, 1)
			ln := w.serve(t, e, TLS(server, Funcs{
				Data: func(c Conn, in *buffer.LinkBuffer) {
					echo(c, in)
					_, _ = c.Write(payload)
				},
				Close: func(c Conn, err error) { closed <- err },
			}))
			raw := &tampering{Conn: w.connect(t, ln)}
			c := tls.Client(raw, client)
			exchange(t, c, []byte("hello"))
			raw.armed = true
			if _, err := c.Write([]byte("changed on its way")); err != nil {
				t.Fatal(err)
			}
			n, err := io.Copy(io.Discard, c)
			if err == nil || !strings.Contains(err.Error(), "remote error: tls: bad record MAC") {
				t.Errorf("%d bytes on their way: the peer read %d and then %v", behind, n, err)
			}
			c.Close()
			if err := receive(t, "OnClose", closed); err == nil || !strings.Contains(err.Error(), "bad record MAC") {
				t.Errorf("%d bytes on their way: OnClose got %v", behind, err)
			}
			_ = e.Close()
		}
	})
}
