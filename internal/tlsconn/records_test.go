package tlsconn

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"testing"
)

// tickets counts what a client keeps.
type tickets struct {
	tls.ClientSessionCache
	kept int
}

func (c *tickets) Put(string, *tls.ClientSessionState) { c.kept++ }

// script is what a peer may send besides bytes.
type script struct {
	text    string // what arrives
	answers int    // KeyUpdates that are asked for
	tickets int
}

// write adds the script's records.
func (f *forger) write(client bool) (s script) {
	say := func(text string) {
		f.record(dataType, []byte(text))
		s.text += text
	}
	say("a")
	f.record(dataType, nil)
	f.record(alertType, []byte{warningLevel, userCanceled}) // right behind bytes
	say("hello")
	if f.version == tls.VersionTLS12 {
		f.record(alertType, []byte{warningLevel, noSuchAlert})
		f.record(dataType, nil)
		say("the end")
		return s
	}
	f.keyUpdate(false, 100)
	say("new keys")
	f.keyUpdate(true, 100)
	f.keyUpdate(true, 2) // in three records
	say("two answers")
	f.keyUpdate(true, 4) // its type and its length, then its byte
	s.answers = 3
	if client {
		f.ticket(100)
		f.ticket(30)
		say("tickets")
		f.ticket(7)
		s.tickets = 3
	}
	f.keyUpdate(false, 1)
	f.record(dataType, nil)
	say("the end")
	return s
}

// play has the peer send the script and looks at what comes of it: at the bytes, and
// that both directions go on with their new keys. It returns how long the script was.
func (r *rig) play(far *tls.Conn, f *forger, cache *tickets, client bool) (size int) {
	r.t.Helper()
	const answer = headerSize + 5 + 1 + 16 // a KeyUpdate, its record's type, the tag
	s := f.write(client)
	want := r.received.String() + s.text
	kept := cache.kept
	size = len(f.out)
	r.peer.inject(f.take())
	r.until("all bytes", func() bool { return r.received.Len() >= len(want) && r.idle() })
	if r.received.String() != want || cache.kept != kept+s.tickets {
		r.t.Fatalf("%q came, and %d tickets", r.received.Bytes()[len(want)-len(s.text):], cache.kept-kept)
	}
	if n := r.peer.waiting(); n != answer*s.answers { // they do not wait for bytes
		r.t.Fatalf("%d bytes came back, with %d new keys", n, s.answers)
	}
	r.write([]byte("reply"))
	r.until("the reply to leave", func() bool { return !r.sending })
	got := make([]byte, len("reply"))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != "reply" {
		r.t.Fatalf("the peer read %q, %v", got, err)
	}
	return size
}

// eachRole calls f for both versions, on both sides.
func eachRole(f func(version uint16, client bool)) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, client := range []bool{false, true} {
			f(version, client)
		}
	}
}

func TestEverySplitOfKeyUpdatesTicketsAndWarnings(t *testing.T) {
	played := 0
	eachRole(func(version uint16, client bool) {
		cache := &tickets{ClientSessionCache: tls.NewLRUClientSessionCache(1)}
		r, far, f := forge(t, version, client, cache)
		size := 0
		for _, kind := range []string{"whole", "1 byte", "7 bytes", "random"} {
			r.piece = pieces(kind)
			size = r.play(far, f, cache, client)
			played++
		}
		for at := 1; at < size; at++ {
			r.piece = cutAt(at)
			r.play(far, f, cache, client)
			played++
		}
		r.layer.CloseWrite(id)
		if n, err := far.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("version %x, client %v: after CloseWrite the peer read %d, %v", version, client, n, err)
		}
		r.close()
	})
	t.Logf("played %d times", played)
}

func TestACloseNotifyInAnyPiecesLeavesTheOtherDirection(t *testing.T) {
	eachRole(func(version uint16, client bool) {
		size := 2
		for at := 0; at < size; at++ { // 0 is byte by byte
			r, far, f := forge(t, version, client, nil)
			f.record(dataType, []byte("x"))
			if version == tls.VersionTLS13 {
				f.keyUpdate(true, 3)
			}
			f.record(alertType, []byte{warningLevel, closeNotify})
			if size = len(f.out); at == 0 {
				r.piece = pieces("1 byte")
			} else {
				r.piece = cutAt(at)
			}
			r.peer.inject(f.take())
			r.until("the end", func() bool { return r.ended != nil })
			if r.ended != io.EOF || r.received.String() != "x" {
				t.Fatalf("version %x, client %v, cut at %d: %q, %v", version, client, at, r.received.Bytes(), r.ended)
			}
			r.write([]byte("reply"))
			r.layer.CloseWrite(id)
			if got, err := io.ReadAll(far); err != nil || string(got) != "reply" {
				t.Fatalf("version %x, client %v, cut at %d: the peer read %q, %v", version, client, at, got, err)
			}
			if _, err := r.layer.sessions[id].tc.Write([]byte("x")); err == nil {
				t.Fatal("a write after CloseWrite succeeded")
			}
			r.close()
		}
	})
}

func TestAnAnswerToAKeyUpdateWaitsBehindASend(t *testing.T) {
	for _, client := range []bool{false, true} {
		r, far, f := forge(t, tls.VersionTLS13, client, nil)
		r.stuck = true
		payload := noise(100_000)
		r.write(payload) // part of which is encrypted with the next keys
		for range 3 {
			f.keyUpdate(true, 100)
			f.record(dataType, []byte("x"))
		}
		r.peer.inject(f.take())
		r.until("the new keys", func() bool { return r.received.String() == "xxx" })
		if !r.sending {
			t.Error("the send was answered")
		}
		r.stuck = false
		r.until("all to leave", func() bool { return !r.sending })
		got := make([]byte, len(payload))
		if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, payload) {
			t.Errorf("client %v: the peer read something else, %v", client, err)
		}
		r.close()
	}
}

func TestTooManyKeyUpdatesAreRefused(t *testing.T) {
	for _, client := range []bool{false, true} {
		r, far, f := forge(t, tls.VersionTLS13, client, nil)
		for range 100 {
			f.keyUpdate(true, 100)
		}
		r.peer.inject(f.take())
		r.until("the refusal", func() bool { return r.ended != nil })
		if n, err := far.Read(make([]byte, 1)); r.ended == io.EOF || err == nil || err == io.EOF {
			t.Errorf("client %v: it ended with %v; the peer read %d, %v", client, r.ended, n, err)
		}
		r.close()
	}
}

func TestAPeerThatAsksForKeysAndDoesNotReadIsEnded(t *testing.T) {
	r, _, f := forge(t, tls.VersionTLS13, false, nil)
	r.stuck = true
	most := int64(0)
	for rounds := 0; r.ended == nil && rounds < 200; rounds++ {
		for range 100 {
			f.keyUpdate(true, 100)
			f.record(dataType, []byte("x"))
		}
		r.peer.inject(f.take())
		r.until("the end of it", func() bool { return r.idle() || r.ended != nil })
		most = max(most, r.pool.LiveBytes())
	}
	if r.ended != errDeaf || most > 2*outMax {
		t.Errorf("it ended with %v, after %d bytes", r.ended, most)
	}
	r.close()
}

func TestARecordThatIsTooLongIsRefused(t *testing.T) {
	eachRole(func(version uint16, client bool) {
		for _, kind := range []string{"whole", "1 byte"} {
			for _, behind := range []int{0, 100, 1 << 16} {
				r, far, f := forge(t, version, client, nil)
				f.record(dataType, []byte("x"))
				r.piece = pieces(kind)
				r.peer.inject(append(append(f.take(), dataType, 3, 3, 0xFF, 0xFF), make([]byte, behind)...))
				r.until("the end", func() bool { return r.ended != nil })
				if _, ok := errors.AsType[tls.RecordHeaderError](r.ended); !ok || r.received.String() != "x" {
					t.Errorf("version %x, client %v: %q, %v", version, client, r.received.Bytes(), r.ended)
				}
				if _, err := io.ReadAll(far); err == nil || err.Error() != "remote error: tls: record overflow" {
					t.Errorf("version %x, client %v: the peer read %v", version, client, err)
				}
				r.close()
			}
		}
	})
}

func TestAnAlertOfThePeerEndsItWithoutAnAnswer(t *testing.T) {
	eachRole(func(version uint16, client bool) {
		r, far, f := forge(t, version, client, nil)
		f.record(dataType, []byte("x"))
		f.record(alertType, []byte{2, 80}) // fatal: internal_error
		f.record(dataType, []byte("ignored"))
		r.peer.inject(f.take())
		r.until("the end", func() bool { return r.ended != nil })
		var alert tls.AlertError
		if r.received.String() != "x" || !errors.As(r.ended, &alert) && r.ended.Error() != "remote error: tls: internal error" {
			t.Errorf("version %x, client %v: %q, %v", version, client, r.received.Bytes(), r.ended)
		}
		if rest, err := io.ReadAll(far.NetConn()); len(rest) > 0 || err != nil {
			t.Errorf("version %x, client %v: %d bytes came back, %v", version, client, len(rest), err)
		}
		r.close()
	})
}

func TestAnAlertWaitsBehindASend(t *testing.T) {
	eachRole(func(version uint16, client bool) {
		r, far, f := forge(t, version, client, nil)
		r.stuck = true
		payload := noise(100_000)
		r.write(payload)
		f.record(dataType, []byte("changed"))
		f.out[len(f.out)-1] ^= 1
		r.peer.inject(f.take())
		r.until("the end", func() bool { return r.ended != nil })
		r.stuck = false
		got := make(chan error, 1)
		go func() {
			n, err := io.Copy(io.Discard, far)
			if n == 0 || n >= int64(len(payload)) {
				t.Errorf("version %x, client %v: the peer read %d bytes", version, client, n)
			}
			got <- err
			r.wake()
		}()
		r.until("the peer's end", func() bool { return len(got) > 0 })
		if err := <-got; err == nil || err.Error() != "remote error: tls: bad record MAC" {
			t.Errorf("version %x, client %v: the peer read %v", version, client, err)
		}
		r.close()
	})
}
