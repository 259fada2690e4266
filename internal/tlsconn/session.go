package tlsconn

import (
	"crypto/tls"
	"fmt"
	"io"
	"runtime/debug"
	"sync/atomic"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// state is how far a session has come.
type state uint8

const (
	waiting     state = iota // a server's, for the first whole record
	shaking                  // a goroutine has the handshake
	established              // the loop has the tls.Conn
	failed                   // the handshake has failed; the peer is being told
	shut                     // the driver ends the connection
)

type flags uint16

const (
	paused     flags = 1 << iota // Pause was called last, not Resume
	held                         // what is kept begins with whole records, which wait for Resume
	full                         // the driver is paused, because too much came during the handshake
	eof                          // the peer has ended its direction
	notified                     // it said so in TLS
	finWanted                    // CloseWrite, once everything has been sent
	sending                      // the driver's answer to a Send is outstanding
	answering                    // to that Send of the loop Sent is owed
	endOwed                      // the end has come, but Resume and what is held come first
	finSent                      // the driver was told to end our direction
	unsendable                   // a Send of the driver has failed
	broken                       // Broken was reported
)

// session is the TLS of one connection. It is small, for there are very many.
type session struct {
	layer *Layer
	tc    *tls.Conn
	hs    atomic.Pointer[handshake] // nil once it is over

	state state
	flags flags
	id    driver.ID
	fd    int32

	pend *buffer.Block // what came and was not used, nil most of the time
	n    int           // of its bytes
	out  *outbound     // nil most of the time
}

// kept returns what is kept.
func (s *session) kept() []byte {
	if s.pend == nil {
		return nil
	}
	return s.pend.Bytes()[:s.n]
}

// keep keeps p behind what is kept already. It does not make room for the record
// that all of it begins with: of that a peer can announce much and send nothing.
func (s *session) keep(p []byte) {
	need := s.n + len(p)
	if s.pend == nil || len(s.pend.Bytes()) < need {
		b := s.layer.pool.Get(need)
		copy(b.Bytes(), s.kept())
		if s.pend != nil {
			s.pend.Release()
		}
		s.pend = b
	}
	copy(s.pend.Bytes()[s.n:], p)
	s.n = need
}

// drop gives up what is kept.
func (s *session) drop() {
	if s.pend != nil {
		s.pend.Release()
		s.pend, s.n = nil, 0
	}
}

// decrypt takes what the peer sent: whole records at once, the rest is kept.
func (l *Layer) decrypt(s *session, p []byte) {
	if s.n > 0 {
		n := s.missing(p)
		s.keep(p[:n])
		p = p[n:]
		if whole(s.kept()) == 0 {
			return
		}
		b, n := s.pend, s.n
		s.pend, s.n = nil, 0
		l.read(s, b.Bytes()[:n])
		b.Release()
		if s.flags&(notified|broken) != 0 {
			return
		}
	}
	if n := whole(p); n > 0 && s.state == established && s.flags&paused == 0 {
		l.read(s, p[:n])
		p = p[n:]
	}
	if s.state == established && s.flags&(notified|broken) == 0 && len(p) > 0 {
		s.keep(p)
	}
	if whole(s.kept()) > 0 {
		s.flags |= held
	}
}

// missing returns how many of p's bytes belong to the record that is kept in part.
func (s *session) missing(p []byte) int {
	var header [headerSize]byte
	n := copy(header[:], s.kept())
	n += copy(header[n:], p)
	if n < headerSize {
		return len(p)
	}
	return min(len(p), recordLen(header[:])-s.n)
}

// read has the tls.Conn decrypt whole records, and passes on what is in them.
func (l *Layer) read(s *session, records []byte) {
	if l.plain == nil {
		l.plain = l.pool.Get(plainSize)
	}
	l.in = records
	for more := true; more; {
		room := l.plain.Bytes()[:plainSize]
		n, err := 0, error(nil)
		for err == nil && len(room)-n >= plainMax && (n == 0 || len(l.in) > 0) {
			var k int
			l.in = lend(s.tc, l.in)
			k, err = s.readRecord(room[n:])
			n += k
		}
		if n > 0 {
			b := l.plain
			l.events.Received(s.id, b, room[:n:n], nil)
			if b.Shared() {
				b.Release()
				l.plain = l.pool.Get(plainSize)
			}
		}
		more = l.after(s, err)
	}
	reclaim(s.tc)
	if len(l.in) > 0 && s.state == established {
		s.keep(l.in) // the loop has paused it
	}
	l.in, l.left = nil, 0
	if s.state != shut {
		_ = l.push(s) // what crypto/tls had to say, such as a new key
	}
	if s.state == established && s.flags&broken == 0 && s.out != nil && s.out.buf.Len() > outMax {
		l.events.Received(s.id, nil, nil, errDeaf)
	}
}

// readRecord is tls.Conn.Read. A client's ClientSessionCache is called in it, with
// the tickets that come: what a panic there costs is the connection.
func (s *session) readRecord(p []byte) (n int, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic in a callback of the TLS configuration: %v", v)
			s.layer.log.Error("sluice: panic in a callback of a TLS configuration", "panic", v, "stack", string(debug.Stack()))
		}
	}()
	return s.tc.Read(p)
}

// end reports that the peer has ended its direction, unless what came before is
// still held back, or would be.
func (l *Layer) end(s *session) {
	if s.flags&(paused|held) != 0 {
		s.flags |= endOwed
		return
	}
	err := ErrTruncated
	if s.flags&notified != 0 {
		err = io.EOF
	}
	l.events.Received(s.id, nil, nil, err)
}

// after looks at what a read came to, and reports whether there is more to read.
func (l *Layer) after(s *session, err error) bool {
	switch {
	case s.state != established:
		return false // the loop ended it
	case err == io.EOF:
		s.flags = s.flags&^endOwed | notified // the end is reported once
		l.in = nil                            // nothing follows a close_notify
		l.end(s)
		return false
	case err != nil && err != errWait:
		l.in = nil
		s.flags = s.flags&^answering | broken
		l.events.Broken(s.id, err)
		return false
	}
	return len(l.in) > 0 && s.flags&paused == 0
}
