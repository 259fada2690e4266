package tlsconn

import (
	"crypto/tls"
	"runtime"
	"strings"
	"testing"
	"time"
)

// segment is what one packet over Ethernet carries.
const segment = 1460

// begun returns a server's rig on whose way a whole hello is, from a client whose
// handshake goes on until the outcome can be received.
func begun(t *testing.T) (r *rig, far *tls.Conn, size int, outcome chan error) {
	t.Helper()
	server, client := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
	r = newRig(t, "whole")
	far = r.begin(server, client, false)
	outcome = make(chan error, 1)
	go func() {
		outcome <- far.Handshake()
		r.wake()
	}()
	for !func() bool { // until only answers are wanting
		r.mu.Lock()
		defer r.mu.Unlock()
		size = len(r.in)
		return size > 0 && recordLen(r.in) == size
	}() {
		<-r.woken
	}
	return r, far, size, outcome
}

func TestAHelloBeginsNothingBeforeItIsWhole(t *testing.T) {
	for _, cut := range []int{1, headerSize - 1, headerSize, headerSize + 1, segment, -1, 0} { // 0 is byte by byte
		r, far, size, outcome := begun(t)
		if size <= segment {
			t.Errorf("a hello has %d bytes: all this could be seen in one segment", size)
		}
		if cut < 0 {
			cut += size
		}
		pieces := 1
		if r.piece = cutAt(cut); cut == 0 {
			r.piece, pieces = func() int { return 1 }, size-1
		}
		before := runtime.NumGoroutine()
		for range pieces {
			r.turn()
			s := r.layer.sessions[id]
			if s.state != waiting || s.tc != nil || r.layer.gate.running() > 0 || runtime.NumGoroutine() > before {
				t.Fatalf("cut %d: with %d of %d bytes it is in state %d, %d handshakes run", cut, len(s.hs.Load().in), size, s.state, r.layer.gate.running())
			}
		}
		r.until("the handshake", func() bool { return r.established && len(outcome) == 1 })
		if err := <-outcome; err != nil {
			t.Fatalf("cut %d: %v", cut, err)
		}
		if _, _, err := r.echo(far, noise(100)); err != nil {
			t.Errorf("cut %d: %v", cut, err)
		}
		r.close()
	}
}

func TestAnAnnouncedRecordTakesNoMemoryBeforeItComes(t *testing.T) {
	largest := []byte{handshakeType, 3, 1, plainMax >> 8, plainMax & 0xFF, 1}
	t.Run("hello", func(t *testing.T) {
		r := newRig(t, "1 byte")
		server, _ := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
		r.layer.Begin(id, 0, server, false)
		r.peer.inject(append(largest, make([]byte, 500)...))
		r.until("silence", r.idle)
		if n := cap(r.layer.sessions[id].hs.Load().in); n > 1024 || r.pool.Live() > 0 {
			t.Errorf("%d bytes are kept of 506, and %d blocks", n, r.pool.Live())
		}
		r.close()
	})
	t.Run("open", func(t *testing.T) {
		r, _ := open(t, shape{tls.VersionTLS13, "ecdsa", false, ""}, "whole")
		r.until("silence", r.idle)
		before := r.pool.LiveBytes()
		largest[0] = dataType
		r.peer.inject(append(largest, make([]byte, 500)...))
		r.until("silence", r.idle)
		if n := r.pool.LiveBytes() - before; n > 1024 {
			t.Errorf("%d bytes are kept of 506", n)
		}
		r.close()
	})
}

// spread returns a hello of n bytes, which end up as they may, in records of k each
// but without the last one.
func spread(n, k int) (records []byte) {
	message := append([]byte{1, byte(n >> 16), byte(n >> 8), byte(n)}, make([]byte, n)...)
	for ; len(message) > k; message = message[k:] {
		records = append(append(records, handshakeType, 3, 1, byte(k>>8), byte(k)), message[:k]...)
	}
	return records
}

func TestAHelloOverManyRecordsIsBounded(t *testing.T) {
	const longest = 1 << 16 // that crypto/tls takes
	for _, k := range []int{1, 100, plainMax} {
		before := runtime.NumGoroutine()
		r := newRig(t, "random")
		server, _ := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
		r.layer.Begin(id, 0, server, false)
		r.peer.inject(spread(longest, k))
		h := r.layer.sessions[id].hs.Load()
		ahead, kept := 0, int64(0)
		for used := false; !used; { // by the goroutine
			if !r.turn() {
				time.Sleep(time.Millisecond)
			}
			h.mu.Lock()
			ahead, kept = max(ahead, len(h.in)), max(kept, r.pool.LiveBytes())
			used = r.idle() && len(h.in) == 0
			h.mu.Unlock()
		}
		if r.refused != nil || r.established || ahead > 2*arrivedMax || kept > 64<<10 {
			t.Errorf("records of %d: refused %v, established %v, %d bytes ahead, %d kept", k, r.refused, r.established, ahead, kept)
		}
		r.close()
		goroutinesEnd(t, before)
	}
	t.Run("longer", func(t *testing.T) {
		r := newRig(t, "random")
		server, _ := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
		r.layer.Begin(id, 0, server, false)
		r.peer.inject(spread(longest+1, 100)[:headerSize+100])
		r.until("the refusal", func() bool { return r.refused != nil })
		if !strings.Contains(r.refused.Error(), "exceeds maximum") {
			t.Errorf("refused: %v", r.refused)
		}
		r.close()
	})
}

func TestAHandshakeWhoseConnectionEndedWaitsForNoTurn(t *testing.T) {
	gate := NewGate(1)
	release, ran := make(chan struct{}), make(chan string, 2)
	gate.enter(func() { <-release })
	for range 1000 {
		turn := gate.enter(func() { ran <- "one that ended" })
		if !gate.forget(turn) || gate.forget(turn) {
			t.Fatal("it is not forgotten once")
		}
	}
	turn := gate.enter(func() { ran <- "the other" })
	if n := gate.Waiting(); n != 1 {
		t.Errorf("%d wait", n)
	}
	close(release)
	if who := <-ran; who != "the other" || gate.forget(turn) {
		t.Errorf("%s ran, or can be forgotten", who)
	}
}

func TestAPeerThatLeavesWhileItsHandshakeWaitsGivesItUp(t *testing.T) {
	for _, how := range []string{"end", "abort"} {
		r, _, _, outcome := begun(t)
		release := make(chan struct{})
		for range gateSize {
			r.layer.gate.enter(func() { <-release })
		}
		r.until("it to wait", func() bool { return r.layer.gate.Waiting() == 1 })
		if how == "end" {
			r.peer.Close()
			r.until("the refusal", func() bool { return r.refused != nil })
		} else {
			r.layer.Shut(id, true)
		}
		if n := r.layer.gate.Waiting(); n != 0 {
			t.Errorf("%s: %d wait", how, n)
		}
		close(release)
		r.close()
		if err := <-outcome; err == nil {
			t.Errorf("%s: the peer's handshake succeeded", how)
		}
	}
}
