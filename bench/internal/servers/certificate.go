package servers

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"time"
)

// newKey makes the key of a server.
type newKey func() (crypto.Signer, error)

// ec is what most servers have.
func ec() (crypto.Signer, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

// rsa2048 is what many still have; a handshake costs four times as much.
func rsa2048() (crypto.Signer, error) { return rsa.GenerateKey(rand.Reader, 2048) }

// certificate returns a new certificate that nobody vouches for and its key, as
// PEM.
func certificate(key newKey) (cert, private []byte, err error) {
	signer, err := key()
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		DNSNames:     []string{"localhost"},
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, signer.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		return nil, nil, err
	}
	cert = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	private = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
	return cert, private, nil
}

// serverTLS returns the TLS configuration of servers on crypto/tls: its defaults.
func serverTLS(key newKey) (*tls.Config, error) {
	cert, private, err := certificate(key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, private)
	return &tls.Config{Certificates: []tls.Certificate{pair}}, err
}
