package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"testing"
)

// cutAt makes the first piece n bytes long.
func cutAt(n int) func() int {
	first := true
	return func() int {
		if first {
			first = false
			return n
		}
		return 1 << 20
	}
}

func TestEverySplitOfRecords(t *testing.T) {
	messages := [][]byte{[]byte("a"), noise(300), []byte("the end")}
	want := bytes.Join(messages, nil)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, client := range []bool{false, true} {
			for at := 1; ; at++ {
				r, far := open(t, shape{version, "ecdsa", client, ""}, "whole")
				r.until("silence", r.idle)
				for _, m := range messages {
					if _, err := far.Write(m); err != nil {
						t.Fatal(err)
					}
				}
				if err := far.CloseWrite(); err != nil {
					t.Fatal(err)
				}
				r.mu.Lock()
				total := len(r.in)
				r.mu.Unlock()
				r.piece = cutAt(at)
				r.until("the end", func() bool { return r.ended != nil })
				if r.ended != io.EOF || !bytes.Equal(r.received.Bytes(), want) {
					t.Fatalf("version %x, client %v, cut at %d: %q, %v", version, client, at, r.received.Bytes(), r.ended)
				}
				r.close()
				if at >= total {
					break
				}
			}
		}
	}
}

func TestPauseHoldsWhatHasArrived(t *testing.T) {
	const rounds = 50
	for _, kind := range []string{"whole", "random", "7 bytes"} {
		r, far := open(t, shape{tls.VersionTLS13, "ecdsa", false, ""}, kind)
		var want []byte
		for i := range rounds {
			m := bytes.Repeat([]byte{byte(i)}, 1+37*i)
			want = append(want, m...)
			if _, err := far.Write(m); err != nil {
				t.Fatal(err)
			}
		}
		pausedNow := false
		r.onData = func([]byte) {
			if pausedNow {
				t.Error("Received while paused")
			}
			pausedNow = true
			r.layer.Pause(id)
		}
		for r.received.Len() < len(want) {
			before := r.received.Len()
			r.until("bytes", func() bool { return r.received.Len() > before })
			for range 3 {
				r.turn() // nothing is to come of it
			}
			pausedNow = false
			r.layer.Resume(id)
			if r.received.Len() > before && pausedNow {
				t.Error("Received from inside Resume")
			}
		}
		if !bytes.Equal(r.received.Bytes(), want) {
			t.Errorf("%s: what arrived is not what was sent", kind)
		}
		r.close()
	}
}

func TestEndWithoutCloseNotifyIsTold(t *testing.T) {
	for _, cut := range []bool{false, true} { // in the middle of a record
		r, far := open(t, shape{tls.VersionTLS13, "ecdsa", false, ""}, "whole")
		if _, err := far.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if cut {
			r.peer.inject([]byte{23, 3, 3, 0, 40, 1, 2, 3})
		}
		r.peer.Close()
		r.until("the end", func() bool { return r.ended != nil })
		if r.ended != ErrTruncated || !errors.Is(r.ended, io.ErrUnexpectedEOF) || r.received.String() != "hello" {
			t.Errorf("cut %v: %q, then %v", cut, r.received.String(), r.ended)
		}
		r.close()
	}
}

func TestBytesThatWereChangedAreNotDelivered(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for at := 0; at < 30; at++ {
			r, far := open(t, shape{version, "ecdsa", false, ""}, "whole")
			r.until("silence", r.idle)
			if _, err := far.Write([]byte("twelve bytes")); err != nil {
				t.Fatal(err)
			}
			if at == 3 || at == 4 {
				r.close() // the length: more than there is, for which it would wait
				continue
			}
			r.mu.Lock()
			r.in[at] ^= 1
			r.mu.Unlock()
			r.until("the error", func() bool { return r.ended != nil })
			if r.ended == io.EOF || r.received.Len() > 0 {
				t.Errorf("version %x, byte %d: %q, %v", version, at, r.received.Bytes(), r.ended)
			}
			// The peer is told: its next read fails, with an alert.
			if _, err := far.Read(make([]byte, 1)); err == nil || err == io.EOF {
				t.Errorf("version %x, byte %d: the peer read %v, want an alert", version, at, err)
			}
			r.close()
		}
	}
}

func TestCloseWriteSaysSo(t *testing.T) {
	for _, slow := range []bool{false, true} {
		r, far := open(t, shape{tls.VersionTLS13, "ecdsa", false, ""}, "7 bytes")
		r.slow = slow
		payload := noise(100_000)
		r.write(payload)
		r.until("everything sent", func() bool { return !r.sending })
		r.layer.CloseWrite(id)
		got := make(chan []byte, 1)
		go func() {
			p, err := io.ReadAll(far) // io.EOF only after a close_notify: see ErrTruncated of the peer
			if err != nil {
				t.Error(err)
			}
			got <- p
			r.wake()
		}()
		var p []byte
		r.until("the peer's end", func() bool {
			select {
			case p = <-got:
			default:
			}
			return p != nil
		})
		if !bytes.Equal(p, payload) {
			t.Errorf("slow %v: %d bytes came", slow, len(p))
		}
		if _, err := far.Write([]byte("still")); err != nil {
			t.Error(err)
		}
		r.until("an answer after that", func() bool { return r.received.String() == "still" })
		r.close()
	}
}

func TestARefusedHandshakeGivesTheReason(t *testing.T) {
	server, client := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
	client.NextProtos = []string{"something else"}
	r := newRig(t, "random")
	far := r.begin(server, client, false)
	told := make(chan error, 1)
	go func() {
		told <- far.Handshake()
		far.Close()
	}()
	r.until("the end", func() bool { return r.closed })
	if r.refused == nil || r.established {
		t.Errorf("refused: %v, established %v", r.refused, r.established)
	}
	var alert tls.AlertError
	if err := <-told; err == nil || !errors.As(err, &alert) && err.Error() != "remote error: tls: no application protocol" {
		t.Errorf("the peer was told %v", err)
	}
	r.close()
}

func TestWhoDoesNotSpeakTLSGetsTheAnswer(t *testing.T) {
	server, _ := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
	r := newRig(t, "1 byte")
	r.answer = []byte("this is a TLS port\n")
	r.layer.Begin(id, 0, server, false)
	r.peer.inject([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	r.until("the refusal", func() bool { return r.refused != nil })
	var header tls.RecordHeaderError
	if !errors.As(r.refused, &header) || string(header.RecordHeader[:]) != "GET /" {
		t.Errorf("refused: %#v", r.refused)
	}
	got, err := io.ReadAll(r.peer)
	if err != nil || !bytes.HasSuffix(got, r.answer) {
		t.Errorf("the peer got %q, %v", got, err)
	}
	r.peer.Close()
	r.until("the end", func() bool { return r.closed })
	r.close()
}

func TestHandshakesWaitForTheirTurn(t *testing.T) {
	gate := NewGate(1)
	release, began := make(chan struct{}), make(chan int, 3)
	for i := range 3 {
		gate.enter(func() {
			began <- i
			<-release
		})
	}
	for i := range 3 {
		if got := <-began; got != i {
			t.Errorf("number %d came as number %d", got, i)
		}
		if n := gate.Waiting(); n != 2-i {
			t.Errorf("%d wait, want %d", n, 2-i)
		}
		select {
		case i := <-began:
			t.Errorf("number %d runs beside another", i)
		default:
		}
		release <- struct{}{}
	}
}

func TestAPanicInACallbackIsAFailedHandshake(t *testing.T) {
	server, client := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { panic("of a test") }
	r := newRig(t, "whole")
	far := r.begin(server, client, false)
	go func() {
		_ = far.Handshake()
		far.Close()
	}()
	r.until("the end", func() bool { return r.closed })
	if r.refused == nil {
		t.Error("it was not refused")
	}
	r.close()
}

func TestWhatComesAheadOfAHandshakeIsBounded(t *testing.T) {
	server, client := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
	r := newRig(t, "random")
	blocked, release := make(chan struct{}), make(chan struct{})
	server.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		close(blocked)
		r.wake()
		<-release
		return nil, nil
	}
	far := r.begin(server, client, false)
	go func() { _ = far.Handshake() }()
	r.until("the callback", func() bool {
		select {
		case <-blocked:
			return true
		default:
			return false
		}
	})
	const flood = 10 * arrivedMax
	r.peer.inject(make([]byte, flood))
	r.until("a pause", func() bool { return r.paused })
	r.mu.Lock()
	taken := flood - len(r.in)
	r.mu.Unlock()
	if taken > 2*arrivedMax {
		t.Errorf("%d bytes were taken", taken)
	}
	close(release)
	r.until("the refusal", func() bool { return r.refused != nil })
	r.peer.Close()
	r.until("the end", func() bool { return r.closed })
	r.close()
}

func TestTheEndWaitsForResume(t *testing.T) {
	for _, kind := range []string{"whole", "1 byte"} {
		for _, notify := range []bool{true, false} {
			r, far := open(t, shape{tls.VersionTLS13, "ecdsa", false, ""}, kind)
			r.until("silence", r.idle)
			paused := false
			r.onData = func([]byte) {
				paused = true
				r.layer.Pause(id)
			}
			r.mu.Lock()
			r.paused = true // so that all of it arrives together
			r.mu.Unlock()
			for range 3 {
				if _, err := far.Write(noise(20_000)); err != nil {
					t.Fatal(err)
				}
			}
			if notify {
				far.Close()
			} else {
				r.peer.Close()
			}
			r.paused = false
			for r.ended == nil {
				r.until("bytes or the end", func() bool { return paused || r.ended != nil })
				for range 5 {
					r.turn()
				}
				if paused && r.ended != nil {
					t.Fatalf("%s, %v: it ended while paused", kind, notify)
				}
				if paused {
					paused = false
					r.layer.Resume(id)
				}
			}
			want := ErrTruncated
			if notify {
				want = io.EOF
			}
			if r.ended != want || r.received.Len() != 60_000 {
				t.Errorf("%s, %v: %d bytes, then %v", kind, notify, r.received.Len(), r.ended)
			}
			r.close()
		}
	}
}

func TestNothingCountsAfterACloseNotify(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		r, far := open(t, shape{version, "ecdsa", false, ""}, "whole")
		if err := far.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		r.until("the end", func() bool { return r.ended != nil })
		r.peer.inject([]byte{23, 3, 3, 0, 1, 0})
		r.peer.Close()
		r.until("silence", r.idle)
		r.turn()
		if r.ended != io.EOF {
			t.Errorf("version %x: it ended with %v", version, r.ended)
		}
		r.close()
	}
}

// panicking is a cache of sessions with a bug.
type panicking struct{ tls.ClientSessionCache }

func (panicking) Put(string, *tls.ClientSessionState) { panic("of a test") }

func TestAPanicWhenATicketComesEndsTheConnection(t *testing.T) {
	server, client := shape{tls.VersionTLS13, "ecdsa", true, ""}.configs(t)
	client.ClientSessionCache = panicking{client.ClientSessionCache}
	r := newRig(t, "whole")
	far := r.begin(server, client, true)
	go func() { _ = far.Handshake() }()
	r.until("the end", func() bool { return r.ended != nil || r.refused != nil })
	if r.ended == io.EOF {
		t.Error("it ended in order")
	}
	r.close()
}
