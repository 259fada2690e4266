// Package certfile serves a TLS certificate from files that may change while the
// server runs, as they do when a certificate is renewed.
//
//	pair, err := certfile.Load("cert.pem", "key.pem", nil)
//	...
//	cfg := &tls.Config{GetCertificate: pair.GetCertificate}
package certfile

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// lookEvery is how often the files are looked at, at most.
const lookEvery = time.Second

// Pair is a certificate and its key in two files in PEM. Its methods may be called
// from any goroutine.
type Pair struct {
	certFile, keyFile string
	log               *slog.Logger

	mu     sync.Mutex
	cert   *tls.Certificate
	looked time.Time // when the files were last looked at
	seen   files     // then; nil if they could not be looked at
}

// files are what the system says about both files: time, size, identity.
type files []fs.FileInfo

// Load reads the files, which must be good now, and may be symbolic links. log gets what is wrong with them
// later; nil means slog.Default().
func Load(certFile, keyFile string, log *slog.Logger) (*Pair, error) {
	p := &Pair{certFile: certFile, keyFile: keyFile, log: cmp.Or(log, slog.Default())}
	seen, err := p.look()
	if err == nil {
		err = p.read(seen)
	}
	if err != nil {
		return nil, fmt.Errorf("certfile: %s with key %s: %w", certFile, keyFile, err)
	}
	return p, nil
}

// GetCertificate is for tls.Config. Now and then, at a handshake, it looks whether
// the files have changed and if so reads them; a second at most passes before new
// ones are served. If they are bad, which is logged once, it goes on with the old
// ones, and tries again when they change.
func (p *Pair) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.Sub(p.looked) >= lookEvery {
		p.looked = now
		p.refresh()
	}
	return p.cert, nil
}

// refresh reads the files if they have changed, with mu held.
func (p *Pair) refresh() {
	seen, err := p.look()
	if same(seen, p.seen) {
		return
	}
	if err == nil {
		err = p.read(seen)
	}
	if err != nil {
		p.log.Error("certfile: the new files are bad; the certificate from before is served on", "cert", p.certFile, "key", p.keyFile, "err", err)
		p.seen = seen // once
		return
	}
	p.log.Info("certfile: a new certificate is served", "cert", p.certFile, "until", p.cert.Leaf.NotAfter)
}

// look returns what there is to see of the files, nil with an error.
func (p *Pair) look() (seen files, err error) {
	for _, name := range []string{p.certFile, p.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return nil, err
		}
		seen = append(seen, info)
	}
	return seen, nil
}

// same reports whether no file has changed, or been replaced.
func same(a, b files) bool {
	return slices.EqualFunc(a, b, func(a, b fs.FileInfo) bool {
		return a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && os.SameFile(a, b)
	})
}

// read makes what is in the files the certificate, with mu held if others have p.
func (p *Pair) read(seen files) error {
	cert, err := tls.LoadX509KeyPair(p.certFile, p.keyFile)
	if err != nil {
		return err
	}
	now := time.Now()
	if cert.Leaf.NotAfter.Before(now) { // as a clock that is wrong sees it, too
		p.log.Warn("certfile: the certificate has expired; clients will not trust it", "cert", p.certFile, "until", cert.Leaf.NotAfter)
	}
	p.cert, p.seen, p.looked = &cert, seen, now
	return nil
}
