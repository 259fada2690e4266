package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"golang.org/x/crypto/acme"

	"github.com/sluice-go/sluice"
)

// bound is for how long a test waits at most.
const bound = 60 * time.Second

const host = "www.example.com"

// authority is an ACME server of this process.
type authority struct {
	front *httptest.Server
	mux   *http.ServeMux
	roots *x509.CertPool // to which its certificates lead
}

// newAuthority returns one that answers nothing yet.
func newAuthority(t *testing.T) *authority {
	mux := http.NewServeMux()
	a := &authority{httptest.NewTLSServer(mux), mux, x509.NewCertPool()}
	t.Cleanup(a.front.Close)
	return a
}

// client is what the example is to reach it by.
func (a *authority) client() *acme.Client {
	return &acme.Client{DirectoryURL: a.front.URL + wfe.DirectoryPath, HTTPClient: a.front.Client()}
}

// open opens the authority. It takes every name to have the address 127.0.0.1, where
// it looks at addr's port.
func (a *authority) open(t *testing.T, addr net.Addr) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")      // before it validates
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0") // now and then, to try its clients
	logger, store := log.New(t.Output(), "", 0), db.NewMemoryStore()
	issuer := ca.New(logger, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	root, err := x509.ParseCertificate(issuer.GetRootCert(0).DER)
	if err != nil {
		t.Fatal(err)
	}
	a.roots.AddCert(root)
	validator := va.New(logger, 0, addr.(*net.TCPAddr).Port, true, resolver(t), store)
	handler := wfe.New(logger, store, validator, issuer, []string{"pebble.example"}, true, false, 0, 0)
	a.mux.Handle("/", handler.Handler())
}

// resolver starts a DNS server that has 127.0.0.1 for every name.
func resolver(t *testing.T) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, asked *dns.Msg) {
		answer := new(dns.Msg).SetReply(asked)
		if q := asked.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = append(answer.Answer, &dns.A{
				Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET},
				A:   net.IPv4(127, 0, 0, 1),
			})
		}
		_ = w.WriteMsg(answer)
	})}
	ended := make(chan error, 1)
	go func() { ended <- s.ActivateAndServe() }()
	t.Cleanup(func() {
		ln.Close()
		<-ended
	})
	return ln.Addr().String()
}

// serve starts the example's server.
func serve(t *testing.T, cache string, authority *acme.Client) net.Addr {
	t.Helper()
	s := newServer([]string{"example.com", host}, cache, "me@example.com", authority)
	s.ErrorLog = log.New(t.Output(), "", 0)
	var err error
	if s.Engine, err = sluice.New(sluice.Config{HandshakeTimeout: bound}); err != nil { // a loaded machine has time
		t.Fatal(err)
	}
	ln, err := s.ListenTLS("tcp", "127.0.0.1:0", "", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		s.Engine.Close()
	})
	return ln.Addr()
}

// ask sends a request to name at addr over a connection of its own, and returns the
// certificate that was shown.
func ask(ctx context.Context, addr net.Addr, roots *x509.CertPool, name string) (*x509.Certificate, error) {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, addr.Network(), addr.String())
		},
		TLSClientConfig: &tls.Config{RootCAs: roots},
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+name+"/", nil)
	if err != nil {
		return nil, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	switch body, err := io.ReadAll(resp.Body); {
	case err != nil:
		return nil, err
	case string(body) != "Hello from "+name+"\n":
		return nil, fmt.Errorf("the body is %q", body)
	}
	return resp.TLS.PeerCertificates[0], nil
}

func TestCertificateIsIssuedOnceAndKept(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	a := newAuthority(t)
	cache := t.TempDir()
	addr := serve(t, cache, a.client())
	a.open(t, addr)
	if _, err := ask(ctx, addr, a.roots, "another.example.com"); err == nil {
		t.Error("a host that is not the server's has a certificate")
	}
	first, err := ask(ctx, addr, a.roots, host)
	if err != nil {
		t.Fatal(err)
	}

	a.front.Close() // no more is needed of it
	again, err := ask(ctx, addr, a.roots, host)
	if err != nil || !again.Equal(first) {
		t.Errorf("the next handshake: another certificate, or %v", err)
	}
	again, err = ask(ctx, serve(t, cache, a.client()), a.roots, host)
	if err != nil || !again.Equal(first) {
		t.Errorf("after a restart: another certificate, or %v", err)
	}
	if _, err := ask(ctx, serve(t, t.TempDir(), a.client()), a.roots, host); err == nil {
		t.Error("without the cache: there is a certificate, but nobody to issue it")
	}
}
