package sluice

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/tlsconn"
)

// TLS returns a Handler for Listen, ListenOn and Dial that has h serve connections
// over TLS 1.2 and 1.3: as the server of those that are accepted, the client of those
// that are dialed. h sees what the peer wrote before it was encrypted and need not
// know; OnOpen is called when the handshake is over, and Conn.TLS tells what was
// agreed.
//
// cfg is crypto/tls's and must not be changed afterwards. All connections of a
// listener share it, with the keys of its session tickets. Its callbacks may block:
// they run in the goroutine that a handshake has, of which there are no more than
// Config.MaxHandshakes; but a client's ClientSessionCache, and Time, are also called
// on the loop, and must not block. A server needs a certificate, or a callback that has one. A
// client without a ServerName expects the host that it dials; nil will do for it.
// Renegotiation is refused.
//
// A peer that ends the connection without a close_notify ends it in order as far as
// h is concerned, but OnClose is given ErrTruncated. A connection that was accepted
// and agreed on "acme-tls/1" (RFC 8737) is ended when its handshake is over: it
// carries no data and h does not hear of it. So cfg may be that of package autocert.
func TLS(cfg *tls.Config, h Handler) Handler { return tlsHandler{h, cfg} }

// tlsHandler is what newRoute takes apart.
type tlsHandler struct {
	Handler
	cfg *tls.Config
}

// HandshakeErrorHandler is implemented by a Handler, one that TLS is given, that wants
// to know of handshakes that failed, for which no other method is called. Without it
// they are counted in LoopStats.HandshakeErrors and logged at slog.LevelDebug.
type HandshakeErrorHandler interface {
	// OnHandshakeError is called on the loop. What it returns is sent to the
	// peer as it is, not encrypted, before the connection ends: for a peer that
	// does not speak TLS, of which a tls.RecordHeaderError tells. After
	// ErrHandshakeTimeout nothing is sent.
	OnHandshakeError(remote net.Addr, err error) (answer []byte)
}

// ErrTruncated is what OnClose is given in place of io.EOF when the peer of a TLS
// connection ended it without a close_notify. It matches io.ErrUnexpectedEOF.
var ErrTruncated = fmt.Errorf("sluice: %w", tlsconn.ErrTruncated)

// ErrHandshakeTimeout is the cause when a TLS handshake took longer than
// Config.HandshakeTimeout.
var ErrHandshakeTimeout = fmt.Errorf("sluice: the TLS handshake took too long (Config.HandshakeTimeout): %w", os.ErrDeadlineExceeded)

// check tells what is wrong with the Handler below.
func (t tlsHandler) check() error {
	if t.Handler == nil {
		return errors.New("the handler that TLS was given is nil")
	}
	if _, twice := t.Handler.(tlsHandler); twice {
		return errors.New("the handler that TLS was given is of TLS: TLS within TLS is not possible")
	}
	return nil
}

// TLS returns what was agreed with the peer, or nil if c is no TLS connection or has
// ended. The result is the caller's.
func (c Conn) TLS() *tls.ConnectionState {
	s, err := c.lockAny()
	if err != nil {
		return nil
	}
	defer s.mu.Unlock()
	if s.flags&flagTLS == 0 || s.flags&flagGone != 0 {
		return nil
	}
	return c.ch.loop.tls.ConnectionState(driver.ID(c.ch.base + uint32(c.key&slotMask)))
}

// serverConfig checks what a listener is to use.
func serverConfig(cfg *tls.Config) error {
	switch {
	case cfg == nil || len(cfg.Certificates) == 0 && cfg.GetCertificate == nil && cfg.GetConfigForClient == nil:
		return errors.New("the TLS configuration has no certificate: set Certificates, GetCertificate or GetConfigForClient")
	case cfg.Renegotiation != tls.RenegotiateNever:
		return errRenegotiation
	}
	return nil
}

var errRenegotiation = errors.New("the TLS configuration allows renegotiation, which cannot be done here: set Renegotiation to RenegotiateNever")

// clientConfig returns what a connection to address is to use.
func clientConfig(cfg *tls.Config, address string) (*tls.Config, error) {
	if cfg == nil {
		cfg = &tls.Config{}
	}
	if cfg.Renegotiation != tls.RenegotiateNever {
		return nil, errRenegotiation
	}
	if cfg.ServerName != "" {
		return cfg, nil
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil && cfg.InsecureSkipVerify {
		return cfg, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the TLS configuration has no ServerName to expect of %q", address)
	}
	cfg = cfg.Clone()
	cfg.ServerName = host
	return cfg, nil
}

// way is the part of a driver by which bytes flow, or of the TLS above it.
type way interface {
	Pause(id driver.ID)
	Resume(id driver.ID)
	Send(id driver.ID, bufs [][]byte) (int, error)
	CloseWrite(id driver.ID)
	Shut(id driver.ID, abort bool)
}

// stream returns what s's bytes flow through.
func (l *eventLoop) stream(s *slot) way {
	if s.flags&flagTLS != 0 {
		return l.tls
	}
	return l.plain
}

// secure begins the handshake of a connection that is open over fd, with s locked;
// it unlocks.
func (l *eventLoop) secure(ch *chunk, i uint32, s *slot, fd int, cfg *tls.Config, client bool) {
	if l.tls == nil {
		l.tls = tlsconn.New(l.drv, tlsEvents{l}, &l.pool, l.eng.handshakes, l.log(), l.do)
	}
	s.state, s.fd = stateDialing, int32(fd)
	s.flags |= flagTLS
	s.readEnd = l.deadline(l.eng.cfg.HandshakeTimeout)
	l.setDeadline(ch, i, s)
	s.mu.Unlock()
	l.tls.Begin(driver.ID(ch.base+i), fd, cfg, client)
}

// secured reports whether what the driver reports for id is for the TLS layer.
func (l *eventLoop) secured(id driver.ID) bool { return l.tls != nil && l.tls.Has(id) }

// tlsEvents is the loop's side of the TLS layer.
type tlsEvents struct{ *eventLoop }

// Shaking has the loop give way to the goroutine of a handshake.
func (l tlsEvents) Shaking() { l.yield = true }

// Established opens a connection whose handshake is over.
func (l tlsEvents) Established(id driver.ID) {
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	s.readEnd = 0
	s.want |= wantTimer
	if s.want&wantAbort != 0 {
		l.settle(ch, i, s)
		return
	}
	a := ch.part(i)
	switch {
	case a != nil && a.dial != nil:
		l.dialed(ch, i, s, int(s.fd))
	case l.tls.ConnectionState(id).NegotiatedProtocol == acmeProtocol:
		s.active = l.now
		l.beginClose(ch, i, nil)
		l.settle(ch, i, s)
	default:
		l.opened(ch, i, s, int(s.fd))
	}
}

// acmeProtocol is what a certificate authority negotiates that looks at a
// certificate to learn whether it may issue another (RFC 8737).
const acmeProtocol = "acme-tls/1"

// Refuse notes that a handshake has failed.
func (l tlsEvents) Refuse(id driver.ID, err error) (answer []byte) {
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	ch.conn(i).act().end(err)
	return l.handshakeFailed(uint32(id), s, err)
}

// handshakeFailed tells the handler that a handshake has failed, with s locked; it
// unlocks.
func (l *eventLoop) handshakeFailed(id uint32, s *slot, err error) (answer []byte) {
	l.count.handshakeErrors++
	r, remote := l.routes[s.route], l.tls.RemoteAddr(driver.ID(id))
	s.mu.Unlock()
	if remote == nil {
		remote = unknownAddr{}
	}
	if r.refused == nil {
		l.log().Debug("sluice: a TLS handshake failed", "remote", remote.String(), "err", err)
		return nil
	}
	defer l.guard("OnHandshakeError", Conn{})
	return r.refused.OnHandshakeError(remote, err)
}

// Received passes on what was decrypted.
func (l tlsEvents) Received(id driver.ID, b *buffer.Block, p []byte, err error) {
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	if err == tlsconn.ErrTruncated {
		s.flags |= flagTruncated
		err = io.EOF
	}
	l.received(ch, i, s, b, p, err)
}

// Sent passes on that bytes have left.
func (l tlsEvents) Sent(id driver.ID, n int, err error) { l.answered(id, n, err) }

// Broken ends a connection whose peer broke the rules: in order, so that it gets the
// alert that says so. What waits cannot be encrypted any more.
func (l tlsEvents) Broken(id driver.ID, err error) {
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	a := ch.conn(i).act()
	if s.state == stateClosing && s.pending > 0 && s.want&wantAbort == 0 {
		a.ended = false // Close promised to deliver and cannot
	}
	a.out.Close()
	s.pending = 0
	s.flags &^= flagSending
	l.beginClose(ch, i, err)
	l.settle(ch, i, s)
}

// Finished notes that this side has said all.
func (l tlsEvents) Finished(id driver.ID) {
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	s.flags |= flagFinGone
	l.settle(ch, i, s)
}

// Closed ends a connection, also one that was never open.
func (l tlsEvents) Closed(id driver.ID) {
	ch, i := l.at(uint32(id))
	s := &ch.slots[i]
	s.mu.Lock()
	if s.state == stateDialing {
		l.leaving(ch, i, s)
	}
	l.gone(ch, i, s)
}
