package tlsconn

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime"
	"sync"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// Events is what a Layer reports, on the goroutine of its loop. Received, Sent and
// Closed are as in driver.Events; of what is lent, too. But what breaks a connection
// may be received after io.EOF, which is the peer's word and not the network's.
type Events interface {
	// Shaking reports that the goroutine of a handshake has become runnable.
	Shaking()

	// Established reports that the handshake is over: bytes flow.
	Established(id driver.ID)

	// Refuse reports that the handshake has failed. What it returns is sent to
	// the peer in clear, behind the alert if there is one: for a peer that does
	// not speak TLS at all. Closed follows when the peer has ended, too, or
	// Shut was called.
	Refuse(id driver.ID, err error) (answer []byte)

	Received(id driver.ID, b *buffer.Block, p []byte, err error)
	Sent(id driver.ID, n int, err error)

	// Broken reports that the peer sent what it must not send, or that it said
	// the same of this side. Nothing more is received but the end, and nothing
	// can be sent: a Send that is unanswered stays so. An alert may be on its
	// way to the peer, for which the loop calls CloseWrite and not yet Shut.
	Broken(id driver.ID, err error)

	// Finished reports that what CloseWrite had to send has left.
	Finished(id driver.ID)

	Closed(id driver.ID)
}

// ErrTruncated is how the flow of Received ends if the peer ended the connection
// below TLS and did not say so in TLS: whoever is in between may have done it, and
// something may be missing.
var ErrTruncated = fmt.Errorf("the peer ended the connection without a close_notify: %w", io.ErrUnexpectedEOF)

// plainSize is room for two records, so that small ones are delivered together.
const plainSize = 2 * plainMax

// Layer is the TLS of one loop. Its methods are for that loop's goroutine alone,
// but for ConnectionState.
type Layer struct {
	drv    driver.Driver
	events Events
	pool   *buffer.Pool
	gate   *Gate
	log    *slog.Logger
	post   func(func()) // has the loop call a function, soon

	in       []byte        // whole records that the tls.Conn which is read may have
	left     uint32        // bytes of the first of them that it has not had
	plain    *buffer.Block // what records are decrypted into, nil until needed
	spare    []*outbound
	record   []byte       // small pieces on their way into one
	pieces   [][]byte     // of a Send
	mu       sync.RWMutex // for sessions, which the loop alone changes
	sessions []*session   // by driver.ID, nil where there is no TLS
}

// tellNotLent is for saying once in a process what does not change in it.
var tellNotLent sync.Once

// New returns the layer of a loop. post has the loop's goroutine call a function
// after the events of the present pass, from any goroutine.
func New(drv driver.Driver, events Events, pool *buffer.Pool, gate *Gate, log *slog.Logger, post func(func())) *Layer {
	if !lends() {
		tellNotLent.Do(func() {
			log.Warn("sluice: crypto/tls is not as expected; each TLS connection needs 4 KB more, and 10 KB more after large records", "go", runtime.Version())
		})
	}
	return &Layer{drv: drv, events: events, pool: pool, gate: gate, log: log, post: post}
}

// Abandon ends all sessions, because the driver has failed.
func (l *Layer) Abandon() {
	for _, s := range l.sessions {
		if s != nil && s.state == shaking {
			l.abort(s)
		}
		if s != nil {
			s.state = shut
		}
	}
}

// Close gives the layer's memory back, when the driver has let go of it.
func (l *Layer) Close() {
	l.Abandon()
	for _, s := range l.sessions {
		if s != nil {
			s.drop()
			s.empty()
		}
	}
	if l.plain != nil {
		l.plain.Release()
		l.plain = nil
	}
}

// Has reports whether id is a connection with TLS.
func (l *Layer) Has(id driver.ID) bool { return int(id) < len(l.sessions) && l.sessions[id] != nil }

// Begin puts TLS on connection id, which is open over fd: the events that its
// driver reports are passed to the layer from then on. Established follows, or
// Refuse.
func (l *Layer) Begin(id driver.ID, fd int, cfg *tls.Config, client bool) {
	s := &session{layer: l, id: id, fd: int32(fd)}
	s.hs.Store(newHandshake(cfg, l.drv.LocalAddr(fd), l.drv.RemoteAddr(fd)))
	l.mu.Lock()
	if n := int(id) + 1 - len(l.sessions); n > 0 {
		l.sessions = append(l.sessions, make([]*session, n)...)
	}
	l.sessions[id] = s
	l.mu.Unlock()
	if client {
		l.shake(s, tls.Client)
	}
}

// RemoteAddr returns the address of the peer of connection id, whose handshake is
// not over, as it was when it began: nil if that was unknown.
func (l *Layer) RemoteAddr(id driver.ID) net.Addr { return l.sessions[id].hs.Load().remote }

// ConnectionState returns what was agreed on connection id, or nil if its
// handshake is not over. Any goroutine may call it while id is in use.
func (l *Layer) ConnectionState(id driver.ID) *tls.ConnectionState {
	l.mu.RLock()
	var s *session
	if l.Has(id) {
		s = l.sessions[id]
	}
	l.mu.RUnlock()
	if s == nil || s.hs.Load() != nil {
		return nil
	}
	state := s.tc.ConnectionState()
	return &state
}

// Received takes what the driver reports for connection id.
func (l *Layer) Received(id driver.ID, p []byte, err error) {
	s := l.sessions[id]
	switch {
	case err == io.EOF:
		l.ended(s)
	case err != nil:
		l.broke(s, err)
	case s.state == waiting:
		l.arrive(s, p)
		if begins(s.hs.Load().in) { // which is the loop's until then
			l.shake(s, tls.Server)
		}
	case s.state == shaking:
		l.events.Shaking()
		l.arrive(s, p)
	case s.state == established && s.flags&(notified|broken) == 0: // after that nothing counts
		l.decrypt(s, p)
	}
}

// arrive passes on what is for the goroutine of the handshake.
func (l *Layer) arrive(s *session, p []byte) {
	if s.hs.Load().arrive(p) {
		s.flags |= full
		l.drv.Pause(s.id)
	}
}

// readOn reads again, when a handshake has used what had come.
func (l *Layer) readOn(s *session, h *handshake) {
	if s.hs.Load() == h && s.state == shaking && s.flags&full != 0 {
		s.flags &^= full
		l.drv.Resume(s.id)
	}
}

// ended notes that the peer has ended its direction.
func (l *Layer) ended(s *session) {
	s.flags |= eof
	switch s.state {
	case waiting:
		l.fail(s, io.ErrUnexpectedEOF)
	case shaking:
		if h := s.hs.Load(); l.gate.forget(h.turn) {
			l.fail(s, io.ErrUnexpectedEOF) // a handshake needs more than its first message
		} else {
			h.end()
		}
	case established:
		if s.flags&notified == 0 {
			l.end(s)
		}
	case failed:
		l.finish(s)
	}
}

// broke notes that the connection is broken.
func (l *Layer) broke(s *session, err error) {
	switch s.state {
	case waiting, shaking:
		s.flags |= eof
		l.fail(s, err)
	case established:
		l.events.Received(s.id, nil, nil, err)
	case failed:
		s.flags |= eof
		l.finish(s)
	}
}

// flight sends what a handshake has for the peer.
func (l *Layer) flight(s *session, h *handshake) {
	if s.hs.Load() == h && s.state == shaking {
		_, _ = s.outbound().buf.Write(h.take())
		_ = l.push(s) // what fails is found again by reading
	}
}

// shaken takes the outcome of a handshake.
func (l *Layer) shaken(s *session, h *handshake, err error) {
	if s.state != shaking {
		return // the connection ended meanwhile
	}
	if out := h.take(); len(out) > 0 {
		_, _ = s.outbound().buf.Write(out)
	}
	if err != nil {
		l.fail(s, err)
		return
	}
	came, over := h.in, s.flags&eof != 0 // which are the loop's now
	s.hs.Store(nil)
	s.state = established
	trim(s.tc)
	_ = l.push(s) // what fails is found again by reading
	l.events.Established(s.id)
	if s.flags&full != 0 {
		s.flags &^= full
		if s.flags&paused == 0 {
			l.drv.Resume(s.id)
		}
	}
	if len(came) > 0 && s.state == established {
		l.decrypt(s, came)
	}
	if over && s.state == established {
		l.ended(s)
	}
}

// fail ends a connection whose handshake has failed: in order, so that the peer
// gets the alert that says why.
func (l *Layer) fail(s *session, err error) {
	if s.state == shaking {
		l.abort(s)
	}
	s.state = failed
	s.drop()
	if answer := l.events.Refuse(s.id, err); len(answer) > 0 {
		_, _ = s.outbound().buf.Write(answer)
	}
	if s.state != failed {
		return // Shut
	}
	if s.flags&full != 0 {
		s.flags &^= full
		l.drv.Resume(s.id) // for its end
	}
	s.flags |= finWanted
	if l.push(s) != nil {
		s.flags |= eof // nobody is there
	}
	l.finish(s)
}

// finish ends a connection whose handshake has failed, once the peer has ended it,
// too. Data that nobody has read would make the end a reset.
func (l *Layer) finish(s *session) {
	if s.state == failed && s.flags&(eof|sending) == eof {
		l.Shut(s.id, false)
	}
}
