package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"time"

	"github.com/sluice-go/sluice/certfile"
)

// tlsConfig returns what the TLS servers use: the certificate of the files, or one
// made for this run.
func (s *serveCmd) tlsConfig(out io.Writer) (*tls.Config, error) {
	if (s.Cert == "") != (s.Key == "") {
		return nil, errors.New("--cert and --key belong together: one of them is missing")
	}
	if s.Cert != "" {
		pair, err := certfile.Load(s.Cert, s.Key, nil)
		if err != nil {
			return nil, fmt.Errorf("--cert and --key: %w", err)
		}
		return &tls.Config{GetCertificate: pair.GetCertificate}, nil
	}
	cert, err := developmentCertificate(time.Now())
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(out, "no --cert: a certificate for localhost was made for this run alone, which clients will not trust (curl -k); SHA-256 %x\n",
		sha256.Sum256(cert.Certificate[0]))
	return &tls.Config{Certificates: []tls.Certificate{cert}}, nil
}

// developmentCertificate makes a certificate that nobody has issued.
func developmentCertificate(now time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "sluice development certificate"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(30 * 24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}
