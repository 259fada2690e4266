package tlsconn

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// identities are what the tests' servers and clients show each other.
type identities struct {
	roots                     *x509.CertPool
	ecdsa, rsa, chain, client tls.Certificate
}

// certificates makes them once.
var certificates = sync.OnceValue(func() *identities {
	ids := &identities{roots: x509.NewCertPool()}
	caKey := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test root"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	ca := must(x509.ParseCertificate(must(x509.CreateCertificate(rand.Reader, template, template, caKey.Public(), caKey))))
	ids.roots.AddCert(ca)
	issue := func(name string, key crypto.Signer) tls.Certificate {
		template := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
			KeyUsage:    x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			DNSNames:    []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		}
		der := must(x509.CreateCertificate(rand.Reader, template, ca, key.Public(), caKey))
		return tls.Certificate{Certificate: [][]byte{der, ca.Raw}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
	}
	ids.ecdsa = issue("localhost", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	ids.rsa = issue("localhost", must(rsa.GenerateKey(rand.Reader, 2048)))
	ids.client = issue("client", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)))
	ids.chain = ids.ecdsa
	ids.chain.Certificate = append([][]byte(nil), ids.ecdsa.Certificate...)
	for range chainExtra { // of several records
		ids.chain.Certificate = append(ids.chain.Certificate, ca.Raw)
	}
	ids.chain.OCSPStaple = make([]byte, 3000)
	ids.chain.SignedCertificateTimestamps = [][]byte{make([]byte, 120), make([]byte, 120)}
	return ids
})

const chainExtra = 80

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// shape is what a session is to be like.
type shape struct {
	version     uint16
	certificate string // "ecdsa", "rsa", "chain"
	client      bool   // the layer's end is the client
	extra       string // "", "mtls", "retry", "no tickets"
}

// configs returns what both ends need for it.
func (sh shape) configs(tb testing.TB) (server, client *tls.Config) {
	tb.Helper()
	ids := certificates()
	show := map[string]tls.Certificate{"ecdsa": ids.ecdsa, "rsa": ids.rsa, "chain": ids.chain}[sh.certificate]
	server = &tls.Config{
		Certificates: []tls.Certificate{show}, MinVersion: sh.version, MaxVersion: sh.version,
		NextProtos: []string{"other", "test/1"},
	}
	client = &tls.Config{
		RootCAs: ids.roots, ServerName: "localhost", MinVersion: tls.VersionTLS12, MaxVersion: sh.version,
		NextProtos: []string{"test/1"}, ClientSessionCache: tls.NewLRUClientSessionCache(4),
	}
	switch sh.extra {
	case "mtls":
		server.ClientAuth, server.ClientCAs = tls.RequireAndVerifyClientCert, ids.roots
		client.Certificates = []tls.Certificate{ids.client}
	case "no tickets":
		server.SessionTicketsDisabled = true
	case "retry": // the client guesses a key exchange that the server does not want
		server.CurvePreferences = []tls.CurveID{tls.CurveP384}
		client.CurvePreferences = []tls.CurveID{tls.X25519, tls.CurveP384}
	}
	return server, client
}
