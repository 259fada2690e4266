package checks

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice/bench/internal/child"
)

// The first byte of a connection says what the handler does on it.
const (
	opEcho        = 'e' // send everything back
	opPanic       = 'p'
	opWriteClose  = 'c' // write payload and close
	opWrite       = 'b' // write payload in one call
	opLargePieces = 'v' // write payload in one call, in few pieces
	opSmallPieces = 'w' // write the beginning of payload in one call, in many pieces
	opSink        = 's' // take what comes, slowly, and compare it with payload
	opWake        = 'k' // wake the connection in every callback
	opKeep        = 'r' // keep the handle, and answer with this byte
	opDone        = 'd' // nothing more
)

const (
	payloadSize = 8 << 20 // bytes: more than socket buffers hold
	largePieces = 4
	smallPieces = 2000 // the system takes 1,024 at a time
	smallPiece  = 64   // bytes
	sinkTime    = 5 * time.Millisecond
)

// payload is what is written: the same bytes in the server's process and in the
// one that checks it, and no part like another. It is made when it is asked
// for: servers that are measured are this program, too, and memory that lives
// from the start lets their garbage grow as much again.
var payload = sync.OnceValue(func() []byte {
	p := make([]byte, payloadSize)
	rand.NewChaCha8([32]byte{}).Read(p) // never fails
	return p
})

// conn is what the checks need of a library's connection. Its methods are
// called in the library's callback.
type conn interface {
	// write writes p in one call.
	write(p []byte)
	// close closes the connection after what was written.
	close()
	// methods returns what may be called on the connection's handle at any
	// time, by the names that the library has for it.
	methods() []method
}

// method is a method of a connection's handle.
type method struct {
	name string
	call func() error
}

// vectorConn is a conn whose library can write several pieces in one call.
type vectorConn interface {
	writev(pieces [][]byte)
}

// wakingConn is a conn whose library can call a connection's handler without
// data.
type wakingConn interface {
	wake()
}

// session is the handler of one connection, the same for all libraries.
type session struct {
	c     conn
	op    byte // 0 until the first byte
	sunk  int  // bytes
	wrong bool // true exactly when a byte sunk was not payload's
}

var (
	wakes atomic.Int64 // calls of wake

	keptMu sync.Mutex
	kept   []method // of the handle that opKeep kept
)

// data is called with what arrived, and with nothing when it was woken.
func (s *session) data(in []byte) {
	if s.op == 0 {
		if len(in) == 0 {
			return
		}
		if s.op = in[0]; s.op != opEcho && s.op != opKeep {
			in = in[1:]
		}
	}
	switch s.op {
	case opEcho:
		s.c.write(in)
	case opSink:
		s.sink(in)
	case opWake:
		wakes.Add(1)
		s.c.(wakingConn).wake()
	default:
		op := s.op
		s.op = opDone // the handler may be called again for an empty rest
		s.once(op, in)
	}
}

// once does what is done once on a connection.
func (s *session) once(op byte, in []byte) {
	switch op {
	case opPanic:
		panic("a handler's fault, on purpose")
	case opWriteClose:
		s.c.write(payload())
		s.c.close()
	case opWrite:
		s.c.write(payload())
	case opLargePieces:
		s.c.(vectorConn).writev(cut(payload(), largePieces))
	case opSmallPieces:
		s.c.(vectorConn).writev(cut(payload()[:smallPieces*smallPiece], smallPieces))
	case opKeep:
		keptMu.Lock()
		kept = s.c.methods()
		keptMu.Unlock()
		s.c.write(in)
	}
}

// sink takes what arrived as a handler does that has work to do.
func (s *session) sink(in []byte) {
	if s.sunk+len(in) > len(payload()) || !bytes.Equal(in, payload()[s.sunk:s.sunk+len(in)]) {
		s.wrong = true
	}
	s.sunk += len(in)
	time.Sleep(sinkTime)
}

// closed is called when the connection has ended.
func (s *session) closed() {
	if s.op == opSink {
		child.Say(saidSunk, fmt.Sprint(s.sunk, " ", !s.wrong))
	}
}

// cut returns p in n pieces of one length.
func cut(p []byte, n int) [][]byte {
	pieces := make([][]byte, 0, n)
	for size := len(p) / n; len(p) > 0; p = p[size:] {
		pieces = append(pieces, p[:size])
	}
	return pieces
}
