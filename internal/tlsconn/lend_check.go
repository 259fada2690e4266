//go:build !sluice_nolend

package tlsconn

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"time"
)

// works makes a connection over memory and sends some records over it that are lent
// to their reader as a session's are. It reports whether they arrive, and nothing but
// keys stays.
func works(f fields) bool {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return false
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return false
	}
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	end := time.Now().Add(5 * time.Second)
	if a.SetDeadline(end) != nil || b.SetDeadline(end) != nil {
		return false
	}
	server := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, SessionTicketsDisabled: true})
	client := tls.Client(b, &tls.Config{InsecureSkipVerify: true}) // it is the test's own
	message := bytes.Repeat([]byte("sluice"), plainMax/6+1000)
	go func() {
		for range 3 {
			if _, err := client.Write(message); err != nil {
				return // the server does not get what it waits for
			}
		}
	}()
	if server.Handshake() != nil {
		return false
	}
	f.reclaim(server)
	record, got := make([]byte, headerSize+bodyMax), make([]byte, plainMax)
	for left := bytes.Repeat(message, 3); len(left) > 0; {
		if _, err := io.ReadFull(a, record[:headerSize]); err != nil {
			return false
		}
		whole := record[:min(recordLen(record), len(record))]
		if _, err := io.ReadFull(a, whole[headerSize:]); err != nil {
			return false
		}
		f.lend(server, whole)
		_ = a.SetReadDeadline(time.Now()) // it is not to look there
		n, err := server.Read(got)
		_ = a.SetReadDeadline(end)
		if err != nil || !bytes.HasPrefix(left, got[:n]) || at[bytes.Buffer](server, f.rawInput).Len() > 0 || at[bytes.Reader](server, f.input).Len() > 0 {
			return false
		}
		left = left[n:]
		f.reclaim(server)
		clear(record)
	}
	return at[bytes.Buffer](server, f.hand).Cap() == 0
}
