package websocket

import (
	"cmp"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice/ws"
)

// Compression is how messages are compressed (permessage-deflate, RFC 7692) on
// connections whose peers can do it, too.
type Compression struct {
	// Level is from 1, which is fast, to 9. 0 means one that suits messages.
	Level int

	// Threshold is the length in bytes from which messages are compressed.
	// 0 means 512: what fits into a packet anyhow is not worth the time.
	Threshold int

	// Params say how large windows are and whether they are kept from one message
	// to the next. The zero value keeps none, so that an idle connection costs
	// nothing more. With ws.Side.Takeover small messages are compressed better, at
	// the cost of the window for each direction that has it: up to 32 KiB, and the
	// time to go through it for each message. Bits of 10 or 12 have most of the gain
	// for a fraction of both.
	Params ws.Params
}

const defaultThreshold = 512

// Policy says what happens to a peer that does not keep up with what is
// broadcast to it.
type Policy uint8

const (
	// CloseSlow closes the connection with Backlog.Status and throws away what waits.
	// Stats.ClosedSlow counts it at once. OnClose is called when the connection has
	// ended, for a peer that takes nothing after sluice.Config.LingerTimeout.
	CloseSlow Policy = iota

	// DropOldest drops the messages that have waited longest.
	DropOldest

	// KeepNewest keeps the newest message only, for those that replace each
	// other, such as a state.
	KeepNewest
)

// String returns "close", "drop oldest" or "keep newest".
func (p Policy) String() string {
	switch p {
	case CloseSlow:
		return "close"
	case DropOldest:
		return "drop oldest"
	case KeepNewest:
		return "keep newest"
	}
	return fmt.Sprintf("Policy(%d)", uint8(p))
}

// Backlog bounds what waits for a peer that does not keep up. The first 64 KiB are on
// their way and do not count, nor does what the kernel has taken, which may be some
// MiB. Behind them prepared messages wait whole, those of Group.Broadcast and
// Conn.WritePrepared, and so does what is written after them. Each connection has its
// own Backlog, in however many groups it is.
type Backlog struct {
	// Bytes may wait, 64 more counted for each message. Beyond it a prepared message
	// meets the Policy; WriteMessage and WriteString fail with ErrBacklog, and the
	// connection stays open. A message that finds less before it is taken, however long
	// it is. Less than sluice.Config.HighWater suits servers that push; where
	// messages are answered, reading pauses only there. 0 means 1 MiB, but for what is
	// written where nothing prepared waits: of that sluice.Config.WriteLimit then.
	Bytes int

	// Age is for how long a prepared message may wait. Older ones are dropped or,
	// with CloseSlow, cost the connection. 0 means no limit.
	Age time.Duration

	// Policy is for prepared messages alone: others are never dropped.
	Policy Policy

	// Status is what CloseSlow closes with. 0 means PolicyViolation.
	Status Status
}

// The defaults of Server and Dialer.
const (
	defaultMaxMessage   = 1 << 20
	defaultKeepAlive    = 30 * time.Second
	defaultCloseTimeout = 5 * time.Second
	defaultBacklog      = 1 << 20
)

// service is what the connections of a Server or Dialer have in common.
type service struct {
	h     Handler
	parts PartHandler  // h, if it is one
	ping  PingHandler  // h, if it is one
	pong  PongHandler  // h, if it is one
	drain DrainHandler // h, if it is one

	client       bool
	limits       ws.Limits
	compression  *Compression // nil if there is none
	keepAlive    time.Duration
	closeTimeout time.Duration
	backlog      Backlog
	bounded      bool // true exactly when backlog.Bytes was set
	protocols    []string

	leaving  atomic.Bool  // true exactly when connections are being closed for good
	admitted atomic.Int64 // handshakes that were begun and may become a connection
	all      Group        // the connections that are open
	counts   [countShards]counts
}

// check completes the settings and says what is wrong with them.
func (s *service) check(kind string) error {
	s.closeTimeout = cmp.Or(s.closeTimeout, defaultCloseTimeout)
	s.keepAlive = max(0, cmp.Or(s.keepAlive, defaultKeepAlive))
	s.limits.Message = cmp.Or(s.limits.Message, defaultMaxMessage)
	s.bounded = s.backlog.Bytes != 0
	s.backlog.Bytes = cmp.Or(s.backlog.Bytes, defaultBacklog)
	s.backlog.Status = cmp.Or(s.backlog.Status, PolicyViolation)
	switch b := s.backlog; {
	case s.h == nil:
		return fmt.Errorf("websocket: %s.Handler is nil", kind)
	case s.limits.Message < 0 || s.limits.Frame < 0 || s.closeTimeout < 0:
		return fmt.Errorf("websocket: %s.MaxMessage is %d, MaxFrame %d, CloseTimeout %v; they must not be negative",
			kind, s.limits.Message, s.limits.Frame, s.closeTimeout)
	case b.Bytes < 0 || b.Age < 0 || b.Policy > KeepNewest || !b.Status.Sendable():
		return fmt.Errorf("websocket: %s.Backlog is %+v; its numbers must not be negative, its Policy and Status known", kind, b)
	case len(s.protocols) > maxProtocols:
		return fmt.Errorf("websocket: %s.Subprotocols has %d; there may be %d", kind, len(s.protocols), maxProtocols)
	}
	if c := s.compression; c != nil {
		filled := *c
		filled.Threshold = cmp.Or(c.Threshold, defaultThreshold)
		s.compression = &filled
		if c.Level < 0 || c.Level > 9 || c.Threshold < 0 {
			return fmt.Errorf("websocket: %s.Compression has Level %d, Threshold %d; want 0 to 9, and not less than 0", kind, c.Level, c.Threshold)
		}
		if err := c.Params.Check(); err != nil {
			return err
		}
	}
	for _, p := range s.protocols {
		if !validToken(p) {
			return fmt.Errorf("websocket: the subprotocol %q is no token (RFC 9110 5.6.2)", p)
		}
	}
	s.parts, _ = s.h.(PartHandler)
	s.ping, _ = s.h.(PingHandler)
	s.pong, _ = s.h.(PongHandler)
	s.drain, _ = s.h.(DrainHandler)
	return nil
}

// maxProtocols is how many subprotocols a connection's memory can tell apart.
const maxProtocols = 255

// countShards is a power of two, so that loops mostly count apart.
const countShards = 16

// counts are the counters of some loops.
type counts struct {
	opened, conns, in, out       atomic.Int64
	oldest, replaced, expired    atomic.Int64
	slow, silent, broken, refuse atomic.Int64
	_                            [40]byte // two cache lines, and no part of another
}

// count returns the counters for a loop.
func (s *service) count(loop int) *counts { return &s.counts[loop&(countShards-1)] }

// Stats are the counters of a Server or Dialer since it began, but for Conns.
type Stats struct {
	Conns       int64 // open at present
	Opened      int64 // handshakes that were carried out
	Refused     int64 // handshakes that were refused
	MessagesIn  int64 // messages received
	MessagesOut int64 // messages queued to be sent, once for each connection

	// Messages that were prepared, for a peer that was too slow for them.
	DroppedOldest   int64 // to make room for newer ones (DropOldest)
	DroppedReplaced int64 // for a newer one (KeepNewest)
	DroppedExpired  int64 // after Backlog.Age

	// Connections that this side ended.
	ClosedSlow     int64 // by CloseSlow
	ClosedSilent   int64 // for want of an answer to a ping
	ClosedProtocol int64 // because the peer did not keep to the protocol or to a limit
}

// stats adds the counters up.
func (s *service) stats() Stats {
	var t Stats
	for i := range s.counts {
		c := &s.counts[i]
		t.Conns += c.conns.Load()
		t.Opened += c.opened.Load()
		t.Refused += c.refuse.Load()
		t.MessagesIn += c.in.Load()
		t.MessagesOut += c.out.Load()
		t.DroppedOldest += c.oldest.Load()
		t.DroppedReplaced += c.replaced.Load()
		t.DroppedExpired += c.expired.Load()
		t.ClosedSlow += c.slow.Load()
		t.ClosedSilent += c.silent.Load()
		t.ClosedProtocol += c.broken.Load()
	}
	return t
}
