package tlsconn

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
)

// noise returns n bytes that do not repeat.
func noise(n int) []byte {
	p := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(p)
	return p
}

// echo has the peer write payload, the layer's end send back what it gets, and the
// peer compare it; then both end in order. It returns what both think was agreed.
func (r *rig) echo(far *tls.Conn, payload []byte) (near, farState tls.ConnectionState, err error) {
	r.t.Helper()
	r.onData = r.write
	done := make(chan error, 1)
	go func() {
		defer r.wake()
		if err := far.Handshake(); err != nil {
			done <- err
			return
		}
		wrote := make(chan error, 1)
		go func() {
			_, err := far.Write(payload)
			wrote <- err
		}()
		got := make([]byte, len(payload))
		if _, err := io.ReadFull(far, got); err != nil {
			done <- fmt.Errorf("reading: %w", err)
			return
		}
		if !bytes.Equal(got, payload) {
			done <- fmt.Errorf("%d bytes came back changed", len(payload))
			return
		}
		done <- <-wrote
	}()
	over := false
	r.until("the echo", func() bool {
		select {
		case err = <-done:
			over = true
		default:
		}
		return over || r.refused != nil
	})
	if err != nil || r.refused != nil {
		return near, farState, fmt.Errorf("peer: %w, here: %v", err, r.refused)
	}
	near, farState = *r.layer.ConnectionState(id), far.ConnectionState()
	go far.Close() // close_notify, and the end
	r.until("the end", func() bool { return r.ended != nil })
	if r.ended != io.EOF {
		return near, farState, fmt.Errorf("it ended with %w", r.ended)
	}
	if r.sent != len(payload) {
		return near, farState, fmt.Errorf("%d bytes were said to have been sent, want %d", r.sent, len(payload))
	}
	return near, farState, nil
}

// eachShape calls f with every combination that makes sense.
func eachShape(f func(sh shape)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, certificate := range []string{"ecdsa", "rsa", "chain"} {
			for _, client := range []bool{false, true} {
				for _, extra := range []string{"", "mtls", "retry"} {
					if extra != "retry" || version == tls.VersionTLS13 {
						f(shape{version, certificate, client, extra})
					}
				}
			}
		}
	}
}

func TestMatrix(t *testing.T) {
	whole := noise(60_000)
	sessions := 0
	for _, kind := range []string{"1 byte", "7 bytes", "random", "whole"} {
		for _, slow := range []bool{false, true} {
			eachShape(func(sh shape) {
				payload := whole
				if kind == "1 byte" {
					payload = whole[:3000]
				}
				server, client := sh.configs(t)
				for round := range 2 { // the second resumes the first
					name := fmt.Sprintf("%+v, %s, slow %v, round %d", sh, kind, slow, round)
					r := newRig(t, kind)
					r.slow = slow
					near, far, err := r.echo(r.begin(server, client, sh.client), payload)
					if err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					resumed := round == 1
					if near.Version != sh.version || near.DidResume != resumed || far.DidResume != resumed ||
						near.NegotiatedProtocol != "test/1" || far.NegotiatedProtocol != "test/1" {
						t.Fatalf("%s: version %x, resumed %v and %v, protocols %q and %q", name, near.Version,
							near.DidResume, far.DidResume, near.NegotiatedProtocol, far.NegotiatedProtocol)
					}
					a, errA := near.ExportKeyingMaterial("test", nil, 16)
					b, errB := far.ExportKeyingMaterial("test", nil, 16)
					if errA != nil || errB != nil || !bytes.Equal(a, b) {
						t.Fatalf("%s: the keys differ: %v, %v", name, errA, errB)
					}
					if sh.extra == "mtls" && !sh.client && len(near.PeerCertificates) == 0 {
						t.Fatalf("%s: no client certificate", name)
					}
					if sh.extra == "retry" && !near.HelloRetryRequest {
						t.Fatalf("%s: no HelloRetryRequest", name)
					}
					if sh.certificate == "chain" && sh.client && !resumed &&
						(len(near.PeerCertificates) != chainExtra+2 || len(near.OCSPResponse) != 3000) {
						t.Fatalf("%s: %d certificates, %d bytes of OCSP", name, len(near.PeerCertificates), len(near.OCSPResponse))
					}
					r.close()
					sessions++
				}
			})
		}
	}
	t.Logf("%d sessions", sessions)
}

// open returns a rig whose handshake is over, and its peer.
func open(t *testing.T, sh shape, kind string) (*rig, *tls.Conn) {
	t.Helper()
	server, client := sh.configs(t)
	r := newRig(t, kind)
	far := r.begin(server, client, sh.client)
	r.handshake(far)
	return r, far
}

// handshake goes on until both ends have done it.
func (r *rig) handshake(far *tls.Conn) {
	r.t.Helper()
	done := make(chan error, 1)
	go func() {
		done <- far.Handshake()
		r.wake()
	}()
	over := false
	r.until("the handshake", func() bool {
		select {
		case err := <-done:
			if over = true; err != nil {
				r.t.Fatal(err)
			}
		default:
		}
		return over && r.established
	})
}

// goroutinesEnd waits until there are no more goroutines than before.
func goroutinesEnd(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(bound); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// recordHandshake returns how many bytes the peer sends for a handshake.
func recordHandshake(t *testing.T, sh shape) int {
	t.Helper()
	r, _ := open(t, sh, "whole")
	defer r.close()
	return r.peer.wrote
}

func TestHandshakeCutOffAnywhereLeavesNothing(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, client := range []bool{false, true} {
			sh := shape{version, "ecdsa", client, "no tickets"}
			total := recordHandshake(t, sh) - 8 // signatures differ in length
			for _, how := range []string{"abort", "end", "garbage"} {
				for at := 0; at < total; at += 13 {
					server, client := sh.configs(t)
					r := newRig(t, "whole")
					r.peer.limit = at + 1
					far := r.begin(server, client, sh.client)
					gone := make(chan struct{})
					go func() {
						_ = far.Handshake()
						close(gone)
					}()
					r.until("the cut", func() bool { return r.peer.cut() && r.idle() })
					switch how {
					case "end":
						r.peer.Close()
						r.until("the refusal", func() bool { return r.refused != nil || r.established })
					case "garbage":
						r.peer.inject(bytes.Repeat([]byte{0xFF}, 20_000))
						r.until("the refusal", func() bool { return r.refused != nil || r.ended != nil })
					}
					r.close()
					r.peer.end()
					<-gone
				}
			}
		}
	}
	goroutinesEnd(t, before)
}
