package httpd_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

// Connections that agreed on a protocol that is not HTTP/1.x are closed, as
// net/http closes them.
func TestTLSOtherProtocolsAreNotServed(t *testing.T) {
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	roots := x509.NewCertPool()
	roots.AddCert(ts.Certificate())
	eachWorld(t, func(t *testing.T, w *world) {
		var asked, opened, closed atomic.Int64
		s := &httpd.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked.Add(1)
				fmt.Fprint(w, r.TLS.NegotiatedProtocol)
			}),
			TLSConfig: &tls.Config{
				Certificates: ts.TLS.Certificates,
				NextProtos:   []string{"http/1.1", "http/1.0", "other/1", "acme-tls/1"},
			},
			ConnState: func(_ net.Conn, state http.ConnState) {
				switch state {
				case http.StateNew:
					opened.Add(1)
				case http.StateClosed:
					closed.Add(1)
				}
			},
		}
		st := w.start(t, s, func(st *site) {
			ln, err := s.ListenTLS("tcp", "127.0.0.1:0", "", "")
			if err != nil {
				t.Fatal(err)
			}
			st.addr = ln.Addr()
		})
		for _, tt := range []struct {
			offers string // "" for none
			served bool
		}{{"", true}, {"http/1.1", true}, {"http/1.0", true}, {"other/1", false}, {"acme-tls/1", false}} {
			cfg := &tls.Config{RootCAs: roots, ServerName: "example.com"}
			if tt.offers != "" {
				cfg.NextProtos = []string{tt.offers}
			}
			c, err := tls.Dial("tcp", st.addr.String(), cfg)
			if err != nil {
				t.Fatalf("%q: %v", tt.offers, err)
			}
			_ = c.SetDeadline(time.Now().Add(bound))
			if got := c.ConnectionState().NegotiatedProtocol; got != tt.offers {
				t.Errorf("agreed on %q, not %q", got, tt.offers)
			}
			before := asked.Load()
			_, _ = fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
			got, err := io.ReadAll(c) // an end without a close_notify is an error
			if served := len(got) > 0; err != nil || served != tt.served || (asked.Load() > before) != tt.served {
				t.Errorf("%q: %q, %v, and %d requests", tt.offers, got, err, asked.Load()-before)
			}
			c.Close()
		}
		eventually(t, "the connections to end", func() bool { return st.conns() == 0 })
		// The authority's is none of HTTP's at all; of the other the hooks hear.
		if opened.Load() != 4 || closed.Load() != 4 {
			t.Errorf("%d connections were new, %d closed", opened.Load(), closed.Load())
		}
	})
}
