package certfile_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/sluice-go/sluice/certfile"
	"github.com/sluice-go/sluice/httpd"
)

// A server that goes on when its certificate is renewed.
func Example() {
	dir, err := os.MkdirTemp("", "certfile")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	certFile, keyFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := renew(certFile, keyFile); err != nil {
		log.Fatal(err)
	}

	pair, err := certfile.Load(certFile, keyFile, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &httpd.Server{
		Handler:   http.NotFoundHandler(),
		TLSConfig: &tls.Config{GetCertificate: pair.GetCertificate},
	}
	ln, err := s.ListenTLS("tcp", "127.0.0.1:0", "", "")
	if err != nil {
		log.Fatal(err)
	}
	defer s.Close()

	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true}) // it is nobody's
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Println(c.ConnectionState().PeerCertificates[0].VerifyHostname("example.com") == nil)
	// Output: true
}

// renew stands for what writes the files: here they get package httptest's certificate.
func renew(certFile, keyFile string) error {
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	pair := ts.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return err
	}
	if err := os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), 0o600); err != nil {
		return err
	}
	return os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}), 0o600)
}
