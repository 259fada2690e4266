package sluice

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// clientIdentity is what a client shows a server that asks, and who trusts it.
var clientIdentity = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a client"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, roots
})

// variant is a handshake that is not the usual one.
type variant struct {
	name    string
	version uint16
	change  func(server, client *tls.Config)
	check   func(t *testing.T, server tls.ConnectionState) // of the first connection
	resumed bool                                           // true exactly when the second connection resumes it
}

func variants() []variant {
	keep := func(_, client *tls.Config) { client.ClientSessionCache = tls.NewLRUClientSessionCache(4) }
	mutual := func(server, client *tls.Config) {
		identity, roots := clientIdentity()
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, roots
		client.Certificates = []tls.Certificate{identity}
		keep(server, client)
	}
	known := func(t *testing.T, server tls.ConnectionState) {
		if n := len(server.VerifiedChains); n != 1 || server.PeerCertificates[0].Subject.CommonName != "a client" {
			t.Errorf("the server knows its client by %d chains", n)
		}
	}
	retried := func(t *testing.T, server tls.ConnectionState) {
		if !server.HelloRetryRequest {
			t.Error("there was no HelloRetryRequest")
		}
	}
	nothing := func(*testing.T, tls.ConnectionState) {}
	return []variant{
		{"resumed/1.2", tls.VersionTLS12, keep, nothing, true},
		{"resumed/1.3", tls.VersionTLS13, keep, nothing, true},
		{"mutual/1.2", tls.VersionTLS12, mutual, known, true},
		{"mutual/1.3", tls.VersionTLS13, mutual, known, true},
		{"retry", tls.VersionTLS13, func(server, client *tls.Config) {
			server.CurvePreferences = []tls.CurveID{tls.CurveP384}
			client.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}
		}, retried, false},
		{"no tickets", tls.VersionTLS13, func(server, client *tls.Config) {
			keep(server, client)
			server.SessionTicketsDisabled = true
		}, nothing, false},
	}
}

// eachVariant runs test with the configurations of each variant, and what both ends
// must agree on in the first and the second connection.
func eachVariant(t *testing.T, test func(t *testing.T, server, client *tls.Config, check func(t *testing.T, server, client tls.ConnectionState, second bool))) {
	for _, v := range variants() {
		t.Run(v.name, func(t *testing.T) {
			server, client := tlsConfigs()
			server, client = server.Clone(), client.Clone()
			server.MinVersion, server.MaxVersion = v.version, v.version
			v.change(server, client)
			test(t, server, client, func(t *testing.T, server, client tls.ConnectionState, second bool) {
				t.Helper()
				resumed := second && v.resumed
				if server.Version != v.version || client.Version != v.version || server.DidResume != resumed || client.DidResume != resumed {
					t.Errorf("second %v: versions %x and %x, resumed %v and %v", second,
						server.Version, client.Version, server.DidResume, client.DidResume)
				}
				if !second {
					v.check(t, server)
				}
			})
		})
	}
}

func TestTLSServerInEveryWay(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		eachVariant(t, func(t *testing.T, server, client *tls.Config, check func(*testing.T, tls.ConnectionState, tls.ConnectionState, bool)) {
			opened := make(chan *tls.ConnectionState, 1)
			e := w.engine(t, Config{})
			ln := w.serve(t, e, TLS(server, Funcs{Open: func(c Conn) { opened <- c.TLS() }, Data: echo}))
			for _, second := range []bool{false, true} {
				c := tls.Client(w.connect(t, ln), client)
				exchange(t, c, bytesOf(50_000)) // behind the tickets
				check(t, *receive(t, "OnOpen", opened), c.ConnectionState(), second)
				c.Close()
			}
			_ = e.Close() // the next has its address
		})
	})
}

func TestTLSClientInEveryWay(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		eachVariant(t, func(t *testing.T, server, client *tls.Config, check func(*testing.T, tls.ConnectionState, tls.ConnectionState, bool)) {
			out, err := w.listen()
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			opened := make(chan tls.ConnectionState, 1)
			go func() {
				for {
					nc, err := out.Accept()
					if err != nil {
						return
					}
					go echoTLS(tls.Server(nc, server), opened)
				}
			}()
			e := w.engine(t, Config{})
			payload, came := bytesOf(50_000), make(chan bool, 1)
			for _, second := range []bool{false, true} {
				c, err := e.Dial(t.Context(), out.Addr().Network(), out.Addr().String(), TLS(client, Funcs{
					Data: func(c Conn, in *buffer.LinkBuffer) {
						if in.Len() == len(payload) {
							came <- true
						}
					},
				}))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write(payload); err != nil {
					t.Fatal(err)
				}
				receive(t, "the echo", came)
				check(t, receive(t, "the server's state", opened), *c.TLS(), second)
				_ = c.Close()
			}
		})
	})
}

// echoTLS serves one connection and tells what was agreed.
func echoTLS(c *tls.Conn, opened chan<- tls.ConnectionState) {
	defer c.Close()
	if c.Handshake() == nil {
		opened <- c.ConnectionState()
		_, _ = io.Copy(c, c)
	}
}

// refusals is a handler that hears of handshakes that failed.
type refusals struct {
	Handler
	errs chan error
}

func (r refusals) OnHandshakeError(_ net.Addr, err error) []byte {
	r.errs <- err
	return nil
}

func TestTLSClientWithoutACertificateIsRefused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		_, roots := clientIdentity()
		server, client := tlsConfigs()
		server = server.Clone()
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, roots
		e := w.engine(t, Config{})
		h := refusals{neverOpen(t), make(chan error, 1)}
		ln := w.serve(t, e, TLS(server, h))
		c := tls.Client(w.connect(t, ln), client)
		// With TLS 1.3 the client learns of it after its handshake.
		if _, err := c.Read(make([]byte, 1)); err == nil || err.Error() != "remote error: tls: certificate required" {
			t.Errorf("the client read %v", err)
		}
		if err := receive(t, "OnHandshakeError", h.errs); err == nil {
			t.Error("OnHandshakeError got no error")
		}
		c.Close()
	})
}
