package tlspeers

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

// gnutls starts gnutls-cli, which verifies that the server is id.
func gnutls(t *testing.T, program string, id identity, addr net.Addr, priority string, args ...string) *dialogue {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr.String())
	args = append([]string{"--x509cafile", id.cert, "--verify-hostname", id.name, "--sni-hostname", id.name,
		"--inline-commands", "--waitresumption", "--priority", priority, "--port", port, host}, args...)
	return start(t, program, args...)
}

// only is the priority string for one version.
func only(version string) string { return "NORMAL:-VERS-ALL:+VERS-TLS" + version }

var versions = []string{"1.2", "1.3"}

// witness is a handler that echoes, until it is said goodbye, and tells of its
// connections.
type witness struct {
	opened chan *tls.ConnectionState
	closed chan error
}

func newWitness() witness { return witness{make(chan *tls.ConnectionState, 10), make(chan error, 10)} }

func (w witness) OnOpen(c sluice.Conn)             { w.opened <- c.TLS() }
func (w witness) OnClose(c sluice.Conn, err error) { w.closed <- err }
func (w witness) OnData(c sluice.Conn, in *buffer.LinkBuffer) {
	if bytes.HasPrefix(in.Bytes(), []byte("goodbye")) {
		_ = c.Close()
		return
	}
	echo(c, in)
}

// listen listens with a witness and the certificate id.
func listen(t *testing.T, e *sluice.Engine, cfg *tls.Config) (*sluice.Listener, witness) {
	t.Helper()
	w := newWitness()
	ln, err := e.Listen("tcp", "127.0.0.1:0", sluice.TLS(cfg, w))
	if err != nil {
		t.Fatal(err)
	}
	return ln, w
}

func TestGnuTLSClient(t *testing.T) {
	program := tool(t, "gnutls-cli")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		ln, w := listen(t, e, &tls.Config{
			Certificates:     []tls.Certificate{id.pair},
			NextProtos:       []string{"echo/1"},
			CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
		})
		for _, tt := range []struct {
			version, priority string
			retried           bool // after a HelloRetryRequest
		}{
			{version: "1.3"},
			{version: "1.2"},
			{version: "1.3", priority: ":-GROUP-ALL:+GROUP-SECP521R1:+GROUP-SECP384R1", retried: true},
			{version: "1.3", priority: ":%DISABLE_TLS13_COMPAT_MODE"},
			{version: "1.3", priority: ":-CIPHER-ALL:+CHACHA20-POLY1305"},
			{version: "1.2", priority: ":-CIPHER-ALL:+CHACHA20-POLY1305"},
			{version: "1.2", priority: ":-CIPHER-ALL:+AES-128-CBC"},
		} {
			d := gnutls(t, program, id, ln.Addr(), only(tt.version)+tt.priority, "--alpn", "other/1", "--alpn", "echo/1")
			d.hear("- Status: The certificate is trusted.")
			d.hear("- Application protocol: echo/1")
			d.hear("- Handshake was completed")
			state := receive(t, "OnOpen", w.opened)
			if tls.VersionName(state.Version) != "TLS "+tt.version || state.HelloRetryRequest != tt.retried || state.NegotiatedProtocol != "echo/1" {
				t.Errorf("%+v: Conn.TLS has %s, HelloRetryRequest %v, %q", tt, tls.VersionName(state.Version), state.HelloRetryRequest, state.NegotiatedProtocol)
			}
			d.say("hello " + strings.Repeat("x", 30_000))
			d.hear("hello x")
			if tt.version == "1.3" {
				for _, update := range []string{"rekey", "rekey1"} { // of both sides, and of its own
					d.say("^" + update + "^")
					d.hear("- Rekey was completed")
					d.say("after " + update)
					d.hear("after " + update)
				}
			}
			d.end()
			if err := receive(t, "OnClose", w.closed); err != io.EOF { // which a close_notify ends in
				t.Errorf("%+v: OnClose got %v", tt, err)
			}
		}
		nothingLeft(t, e)
	})
}

func TestGnuTLSClientSeesAnOrderlyEnd(t *testing.T) {
	program := tool(t, "gnutls-cli")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		ln, _ := listen(t, e, &tls.Config{Certificates: []tls.Certificate{id.pair}})
		for _, version := range versions {
			d := gnutls(t, program, id, ln.Addr(), only(version))
			d.say("goodbye")
			d.hear("- Peer has closed the GnuTLS connection")
			nothingLeft(t, e)
		}
	})
}

func TestGnuTLSClientMayNotRenegotiate(t *testing.T) {
	program := tool(t, "gnutls-cli")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		ln, w := listen(t, e, &tls.Config{Certificates: []tls.Certificate{id.pair}})
		d := gnutls(t, program, id, ln.Addr(), only("1.2"))
		d.say("hello")
		d.hear("hello")
		d.say("^renegotiate^")
		d.hear("*** ReHandshake has failed")
		if err := receive(t, "OnClose", w.closed); err == nil || err == io.EOF {
			t.Errorf("OnClose got %v", err)
		}
		nothingLeft(t, e)
	})
}

func TestGnuTLSClientResumes(t *testing.T) {
	program := tool(t, "gnutls-cli")
	id := newIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		ln, w := listen(t, e, &tls.Config{Certificates: []tls.Certificate{id.pair}})
		for _, version := range versions {
			d := gnutls(t, program, id, ln.Addr(), only(version), "--resume")
			d.hear("*** This is a resumed session")
			// They may be on different loops, and the second be open first.
			first, second := receive(t, "OnOpen", w.opened), receive(t, "OnOpen", w.opened)
			if first.DidResume == second.DidResume {
				t.Errorf("TLS %s: DidResume is %v twice", version, first.DidResume)
			}
			d.say("hello")
			d.hear("hello")
			d.end()
			for range 2 {
				if err := receive(t, "OnClose", w.closed); err != io.EOF {
					t.Errorf("TLS %s: OnClose got %v", version, err)
				}
			}
		}
	})
}

func TestGnuTLSClientHasACertificate(t *testing.T) {
	program := tool(t, "gnutls-cli")
	id, client, stranger := newIdentity(t), newClientIdentity(t), newClientIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		ln, w := listen(t, e, &tls.Config{
			Certificates: []tls.Certificate{id.pair},
			ClientAuth:   tls.RequireAndVerifyClientCert,
			ClientCAs:    client.roots,
		})
		for _, version := range versions {
			d := gnutls(t, program, id, ln.Addr(), only(version), "--x509certfile", client.cert, "--x509keyfile", client.key)
			d.say("hello")
			d.hear("hello")
			if state := receive(t, "OnOpen", w.opened); !bytes.Equal(state.PeerCertificates[0].Raw, client.pair.Certificate[0]) {
				t.Errorf("TLS %s: Conn.TLS has another certificate", version)
			}
			d.end()
			for _, args := range [][]string{nil, {"--x509certfile", stranger.cert, "--x509keyfile", stranger.key}} {
				before := handshakeErrors(e)
				d := gnutls(t, program, id, ln.Addr(), only(version), args...)
				d.hear("*** Received alert")
				nothingLeft(t, e)
				if n := handshakeErrors(e) - before; n != 1 {
					t.Errorf("TLS %s, %q: %d handshakes have failed", version, args, n)
				}
			}
			if len(w.opened) > 0 {
				t.Errorf("TLS %s: OnOpen was called without a certificate that is trusted", version)
			}
		}
	})
}

func TestGnuTLSClientOfHTTPD(t *testing.T) {
	program := tool(t, "gnutls-cli")
	id, client := newIdentity(t), newClientIdentity(t)
	eachDriver(t, func(t *testing.T, e *sluice.Engine) {
		s := &httpd.Server{
			Engine:   e,
			ErrorLog: log.New(t.Output(), "", 0),
			TLSConfig: &tls.Config{
				ClientAuth:       tls.RequireAndVerifyClientCert,
				ClientCAs:        client.roots,
				CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384},
			},
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprintf(w, "%s, retried: %v, resumed: %v, %s; %d bytes, %v", tls.VersionName(r.TLS.Version), r.TLS.HelloRetryRequest,
					r.TLS.DidResume, r.TLS.PeerCertificates[0].Subject.CommonName, n, err)
			}),
		}
		defer s.Close()
		ln, err := s.ListenTLS("tcp", "127.0.0.1:0", id.cert, id.key)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			version, priority string
			want              string
		}{
			{"1.3", ":-GROUP-ALL:+GROUP-SECP521R1:+GROUP-SECP384R1", "TLS 1.3, retried: true, resumed: true"},
			{"1.3", "", "TLS 1.3, retried: false, resumed: true"},
			{"1.2", "", "TLS 1.2, retried: false, resumed: true"},
		} {
			d := gnutls(t, program, id, ln.Addr(), only(tt.version)+tt.priority, "--alpn", "http/1.1", "--resume",
				"--x509certfile", client.cert, "--x509keyfile", client.key)
			d.hear("- Application protocol: http/1.1")
			half := strings.Repeat("x", 99_999) // and LF
			d.say("POST / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n" + half)
			if tt.version == "1.3" {
				d.say("^rekey^")
				d.hear("- Rekey was completed")
			}
			d.say(half)
			d.hear(tt.want + ", a client; 200000 bytes, <nil>- Peer has closed the GnuTLS connection")
		}
		nothingLeft(t, e)
	})
}
