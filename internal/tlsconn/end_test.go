package tlsconn

import (
	"crypto/tls"
	"errors"
	"io"
	"syscall"
	"testing"
)

// All of it comes while the handshake still has something to do, and the loop pauses
// the connection when it hears of it.
func TestAnEndAheadOfTheHandshakesIsReportedOnce(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server, client := shape{version, "ecdsa", false, ""}.configs(t)
		release := make(chan struct{})
		server.VerifyConnection = func(tls.ConnectionState) error {
			<-release
			return nil
		}
		r := newRig(t, "whole")
		r.onOpen = func() { r.layer.Pause(id) }
		far := r.begin(server, client, false)
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			if version == tls.VersionTLS12 { // whose client waits for the server's last word
				close(release)
			}
			if far.Handshake() == nil {
				_, _ = far.Write([]byte("hello"))
				_ = far.Close()
			}
			r.wake()
		}()
		r.until("the peer to have said all", func() bool {
			select {
			case <-sent:
				return true
			default:
				return false
			}
		})
		for r.turn() {
		}
		if version == tls.VersionTLS13 {
			if r.established || !r.finished {
				t.Fatalf("established %v, the end came %v", r.established, r.finished)
			}
			close(release)
		}
		r.until("the handshake", func() bool { return r.established })
		for range 10 {
			r.turn()
		}
		r.layer.Resume(id)
		r.until("the end", func() bool { return r.ended != nil })
		for range 10 {
			r.turn() // the rig notices if there is another
		}
		if r.received.String() != "hello" || r.ended != io.EOF {
			t.Errorf("version %x: %q, then %v", version, r.received.String(), r.ended)
		}
		r.close()
	}
}

// The kernel says once why nothing can be sent.
func TestTheFirstErrorOfASendIsTheOneThatIsReported(t *testing.T) {
	for _, size := range []int{1, plainMax, 3 * plainMax} { // collected, and written at once
		server, client := shape{tls.VersionTLS13, "ecdsa", false, ""}.configs(t)
		server.DynamicRecordSizingDisabled = true
		r := newRig(t, "whole")
		far := r.begin(server, client, false)
		go func() { _ = far.Handshake() }()
		r.until("the handshake", func() bool { return r.established && r.idle() })
		r.failure = syscall.ECONNRESET
		if _, err := r.layer.Send(id, [][]byte{noise(size)}); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%d bytes: %v", size, err)
		}
		r.layer.CloseWrite(id) // cannot say anything, and does not wait for it
		r.until("CloseWrite to be over", func() bool { return r.said })
		r.close()
	}
}

// Nor does it wait where it finds out itself that nothing can be sent.
func TestACloseNotifyThatCannotBeSentIsNotWaitedFor(t *testing.T) {
	r, _ := open(t, shape{tls.VersionTLS13, "ecdsa", false, ""}, "whole")
	r.until("silence", r.idle)
	r.failure = syscall.ECONNRESET
	r.layer.CloseWrite(id)
	r.until("CloseWrite to be over", func() bool { return r.said })
	r.close()
}
