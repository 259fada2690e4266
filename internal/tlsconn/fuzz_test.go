package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"sync"
	"testing"
	"time"
)

// What an input of FuzzLayer has the peer, the network between them and the loop do.
// Each is followed by one byte that says how much.
const (
	opWrite = iota // the peer's
	opNewKeys
	opTicket
	opNothing
	opPeerCloses // with a close_notify
	opPeerEnds   // without
	opDeliver
	opChange // what is on its way
	opCut
	opRepeat
	opInject // the bytes that follow in the input
	opReset
	opStick  // the driver takes nothing, or does again
	opPause  // from here on the loop's
	opResume // and what was on its way is delivered
	opSend
	opCloseWrite
	ops
)

// stream is what both ends send, or its beginning.
var stream = sync.OnceValue(func() []byte { return noise(1 << 20) })

// fuzzed is a connection that an input of FuzzLayer plays with.
type fuzzed struct {
	*rig
	f       *forger // nil if there is no handshake
	client  bool
	written int  // of stream, by the peer
	answers int  // of stream, by the loop
	honest  bool // true exactly when nothing was changed on its way and nothing is refused
	closed  bool // the peer has sent a close_notify
	useless int  // records in a row that bring nothing
	pausing bool // the loop pauses when bytes come, which others may be behind
}

// on reports whether the peer may send.
func (z *fuzzed) on() bool { return z.f != nil && !z.closed && !z.inEOF }

// usable reports whether the loop may use the connection.
func (z *fuzzed) usable() bool {
	return z.established && !z.closing && (z.ended == nil || z.ended == io.EOF || z.ended == ErrTruncated)
}

// send has the peer send what was forged.
func (z *fuzzed) send(useful bool) {
	if z.useless++; useful {
		z.useless = 0
	}
	z.honest = z.honest && z.useless < 10 // a few more, and crypto/tls refuses them
	z.peer.inject(z.f.take())
}

// change has f change what is on its way.
func (z *fuzzed) change(f func(p []byte) []byte) {
	z.mu.Lock()
	defer z.mu.Unlock()
	if n := len(z.in); n > 0 && n < 1<<16 {
		z.in, z.honest = f(z.in), false
	}
}

// do does one thing and returns what is left of the input.
func (z *fuzzed) do(op byte, n int, rest []byte) []byte {
	switch {
	case op == opDeliver:
		z.piece = func() int { return 1 + n*n/8 }
		for range 1 + n%4 {
			z.turn()
		}
	case op == opChange:
		z.change(func(p []byte) []byte { p[n*n%len(p)] ^= 1 << (n % 8); return p })
	case op == opCut:
		z.change(func(p []byte) []byte { at := n * n % len(p); return append(p[:at:at], p[at+1:]...) })
	case op == opRepeat:
		z.change(func(p []byte) []byte { at := n * n % len(p); return append(p[:at:at], p...) })
	case op == opInject && !z.inEOF:
		n = min(n, len(rest))
		z.honest = z.honest && n == 0
		z.peer.inject(rest[:n])
		return rest[n:]
	case op == opPeerEnds:
		z.peer.Close()
	case op == opReset && !z.finished && !z.closing:
		z.in, z.inEOF, z.finished, z.honest = nil, true, true, false
		z.layer.Received(id, nil, errors.New("reset"))
	case op == opStick:
		z.stuck = !z.stuck
	case op < opPeerEnds && z.on():
		z.peerDoes(op, n)
	case op >= opPause && z.usable():
		z.loopDoes(op, n)
	}
	return rest
}

func (z *fuzzed) peerDoes(op byte, n int) {
	before := z.written
	switch op {
	case opWrite:
		p := stream()[z.written:]
		p = p[:min(len(p), 1+n*n/8)]
		z.written += len(p)
		z.f.record(dataType, p)
	case opNewKeys:
		if z.f.version == tls.VersionTLS12 {
			return
		}
		z.f.keyUpdate(n%2 == 1, 1+n/2)
	case opTicket:
		z.honest = z.honest && z.client && z.f.version == tls.VersionTLS13
		z.f.ticket(1 + n)
	case opNothing:
		z.f.record(dataType, nil)
	case opPeerCloses:
		z.closed = true
		z.f.record(alertType, []byte{warningLevel, closeNotify})
	}
	z.send(z.written > before) // the stream may have come to its end
}

func (z *fuzzed) loopDoes(op byte, n int) {
	switch {
	case op == opPause && n%2 == 1:
		z.pausing = true
	case op == opPause:
		z.layer.Pause(id)
	case op == opResume:
		z.layer.Resume(id)
	case op == opSend && !z.finCalled && z.answers < len(stream())/2:
		p := stream()[z.answers:][:n*n]
		z.answers += len(p)
		z.write(p)
	case op == opCloseWrite && !z.sending && len(z.out) == 0:
		z.closeWrite()
	}
}

// after does what a loop does when a connection breaks, and says what must hold.
func (z *fuzzed) after() {
	if z.ended != nil && !z.usable() && !z.broken && !z.closing {
		z.layer.Shut(id, false)
	}
	if n := z.pool.LiveBytes(); n > 4*outMax {
		z.t.Fatalf("%d bytes are in use", n)
	}
}

// finish goes on until nothing is left to do, and looks at what came of it.
func (z *fuzzed) finish(far *tls.Conn) {
	z.stuck, z.pausing, z.piece = false, false, pieces("whole")
	if z.usable() {
		z.layer.Resume(id)
	}
	for z.turn() {
		z.after()
	}
	switch {
	case z.f == nil && z.established:
		z.t.Error("a handshake of nothing but old bytes succeeded")
	case z.f == nil || !z.honest:
		return
	case z.received.Len() != z.written:
		z.t.Errorf("%d bytes arrived of %d, then %v", z.received.Len(), z.written, z.ended)
	case z.closed && z.ended != io.EOF, !z.closed && z.inEOF && z.ended != ErrTruncated, !z.closed && !z.inEOF && z.ended != nil:
		z.t.Errorf("it ended with %v: close_notify %v, end %v", z.ended, z.closed, z.inEOF)
	}
	z.closeWrite()
	for z.turn() {
		z.after()
	}
	if got, err := io.ReadAll(far); err != nil || !bytes.Equal(got, stream()[:z.answers]) {
		z.t.Errorf("the peer read %d bytes of %d, %v", len(got), z.answers, err)
	}
}

// FuzzLayer has the peer, the network and the loop do what the input says, after a
// handshake or, with old bytes of a peer, before it.
func FuzzLayer(f *testing.F) {
	old := map[bool][]byte{}
	for _, client := range []bool{false, true} {
		r, far, _ := forge(f, tls.VersionTLS13, client, nil)
		old[client] = far.NetConn().(*tap).wrote
		r.close()
		for _, tls12 := range []bool{false, true} {
			f.Add(false, client, tls12, []byte{
				opWrite, 10, opDeliver, 4, opNewKeys, 3, opWrite, 255, opPause, 0, opDeliver, 50, opDeliver, 255,
				opSend, 250, opResume, 0, opWrite, 9, opWrite, 99, opPause, 1, opDeliver, 255, opTicket, 9, opNothing, 0, opResume, 0, opStick, 0, opSend, 255, opDeliver, 255, opPeerCloses, 0,
			})
			f.Add(false, client, tls12, []byte{opWrite, 90, opWrite, 200, opChange, 3, opStick, 0, opSend, 20, opDeliver, 200, opPeerEnds, 0})
			f.Add(true, client, tls12, []byte{opDeliver, 40, opDeliver, 200, opCut, 7, opDeliver, 255, opInject, 5, 1, 2, 3, 4, 5, opReset, 0})
		}
	}
	f.Fuzz(func(t *testing.T, early, client, tls12 bool, input []byte) {
		version := uint16(tls.VersionTLS13)
		if tls12 {
			version = tls.VersionTLS12
		}
		z := &fuzzed{client: client, honest: true}
		var far *tls.Conn
		if early {
			z.rig = newRig(t, "whole")
			server, clientCfg := shape{version, "ecdsa", client, ""}.configs(t)
			far = z.begin(server, clientCfg, client)
			z.peer.inject(old[client])
		} else {
			z.rig, far, z.f = forge(t, version, client, nil)
		}
		z.onData = func(p []byte) {
			if z.pausing {
				z.pausing = false
				z.layer.Pause(id)
			}
			if at := z.received.Len() - len(p); z.received.Len() > z.written || !bytes.Equal(p, stream()[at:at+len(p)]) {
				t.Fatalf("%d bytes were delivered behind %d that were not sent so", len(p), at)
			}
		}
		for len(input) >= 2 {
			input = z.do(input[0]%ops, int(input[1]), input[2:])
			z.after()
		}
		z.finish(far)
		z.close()
		for end := time.Now().Add(bound); z.layer.gate.running() > 0; time.Sleep(20 * time.Microsecond) {
			if time.Now().After(end) {
				t.Fatal("a handshake goes on")
			}
		}
	})
}

// running returns how many of a rig's handshakes run.
func (g *Gate) running() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return gateSize - g.free
}
