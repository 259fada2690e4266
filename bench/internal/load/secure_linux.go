package load

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// secured returns the TLS configuration of a client process. Servers make their
// certificates up, so they are not verified; a client certificate is there for
// those that ask for one.
var secured = sync.OnceValue(func() *tls.Config {
	return &tls.Config{
		ServerName:         "127.0.0.1",
		InsecureSkipVerify: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return clientCertificate()
		},
	}
})

// clientCertificate is what a client shows, if it is asked.
var clientCertificate = sync.OnceValues(func() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, err
})

// Secure returns c as the client of a TLS connection, as all connections to a
// server with TLS are.
func Secure(c net.Conn) *tls.Conn { return tls.Client(c, secured()) }

// secure is a TLS connection of a generator. A tls.Conn goes on after an error
// that is net.Error and Temporary, so that it can be asked for what is there; but
// for the handshake, during which the socket blocks.
type secure struct {
	*tls.Conn
	wire wire
}

// newSecure makes the handshake over fd, which blocks.
func newSecure(fd int) (*secure, error) {
	s := &secure{wire: wire{fd: fd}}
	s.Conn = Secure(&s.wire)
	if err := s.Handshake(); err != nil {
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	return s, nil
}

// opening is a secure whose socket blocks, so that a Read waits.
type opening struct{ *secure }

func (o opening) Read(p []byte) (int, error) {
	for end := time.Now().Add(connectTimeout); ; {
		o.wire.drained = false
		n, err := o.secure.Read(p)
		if n > 0 || err != errDry { // errDry, too, after what is no data, such as a session ticket
			return n, err
		}
		if time.Now().After(end) {
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// wire is the socket under a secure.
type wire struct {
	fd      int
	drained bool   // the last read took all there was
	out     []byte // what is encrypted
	left    int    // bytes of it that the kernel has taken
}

// Read fails with errDry where nothing is there.
func (w *wire) Read(p []byte) (int, error) {
	if w.drained {
		return 0, errDry
	}
	n, err := blocking(w.fd).Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errDry
	}
	w.drained = n < len(p)
	return n, err
}

// Write takes all of p: a record that has left in part could not be taken back.
func (w *wire) Write(p []byte) (int, error) {
	w.out = append(w.out, p...)
	if err := w.flush(); err != nil && err != unix.EAGAIN {
		return 0, err
	}
	return len(p), nil
}

// flush hands the kernel what it has not taken; unix.EAGAIN if there is more.
func (w *wire) flush() error {
	for w.left < len(w.out) {
		n, err := unix.Write(w.fd, w.out[w.left:])
		if err != nil && err != unix.EINTR {
			return err
		}
		w.left += max(n, 0)
	}
	w.out, w.left = w.out[:0], 0
	return nil
}

// The rest of net.Conn has no use here.

func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return nil }
func (w *wire) RemoteAddr() net.Addr             { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// errDry says that there is nothing to read.
var errDry net.Error = dry{}

type dry struct{}

func (dry) Error() string   { return "nothing to read" }
func (dry) Timeout() bool   { return true }
func (dry) Temporary() bool { return true }
