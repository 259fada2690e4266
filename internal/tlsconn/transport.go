package tlsconn

import (
	"net"
	"time"
)

// wait is the error of a read that would have to wait. It implements net.Error
// itself, as crypto/tls wants it, which then leaves the connection as it was.
type wait struct{}

func (wait) Error() string   { return "tlsconn: no whole record is there" }
func (wait) Timeout() bool   { return true }
func (wait) Temporary() bool { return true }

var errWait error = wait{}

// transport is the net.Conn that a session's tls.Conn has. While the handshake
// lasts it belongs to that goroutine and blocks; afterwards it is the loop's and
// does not.
type transport session

// Read hands out at most the rest of one record, so that nothing of the next one
// ever lies in the tls.Conn.
func (t *transport) Read(p []byte) (int, error) {
	s := (*session)(t)
	if h := s.hs.Load(); h != nil {
		return h.read(s, p)
	}
	l := s.layer
	if len(l.in) == 0 {
		return 0, errWait
	}
	if l.left == 0 {
		l.left = uint32(min(recordLen(l.in), len(l.in)))
	}
	n := copy(p, l.in[:l.left])
	l.in = l.in[n:]
	l.left -= uint32(n)
	return n, nil
}

// Write takes all of p, or fails for good: crypto/tls does not get over an error.
func (t *transport) Write(p []byte) (int, error) {
	s := (*session)(t)
	if h := s.hs.Load(); h != nil {
		h.write(s, p)
	} else {
		if err := s.emit(p); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// Close does nothing: the loop alone ends a connection. crypto/tls calls it when
// the context of a handshake ends, which is when the loop aborts it.
func (t *transport) Close() error { return nil }

// LocalAddr is for the callbacks of a handshake, which see the transport in their
// ClientHelloInfo. Later there is none.
func (t *transport) LocalAddr() net.Addr {
	if h := (*session)(t).hs.Load(); h != nil {
		return h.local
	}
	return nil
}

// RemoteAddr is like LocalAddr.
func (t *transport) RemoteAddr() net.Addr {
	if h := (*session)(t).hs.Load(); h != nil {
		return h.remote
	}
	return nil
}

// SetDeadline and the others do nothing: deadlines are the loop's. crypto/tls sets
// one around its close_notify.
func (t *transport) SetDeadline(time.Time) error      { return nil }
func (t *transport) SetReadDeadline(time.Time) error  { return nil }
func (t *transport) SetWriteDeadline(time.Time) error { return nil }
