//go:build !sluice_nolend

package tlsconn

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"testing"
)

// It fails with a Go release whose crypto/tls is another: then lend.go is to be
// adapted, and until then TLS connections need more memory.
func TestBuffersAreLentWithThisGo(t *testing.T) {
	if !lends() {
		t.Error("nothing is lent")
	}
}

func TestNothingIsLentToAnotherLayout(t *testing.T) {
	type missing struct {
		rawInput bytes.Buffer
		input    bytes.Reader
	}
	type other struct {
		rawInput, hand bytes.Buffer
		input          *bytes.Reader
	}
	type moved struct {
		more           [3]int
		hand, rawInput bytes.Buffer
		input          bytes.Reader
	}
	for _, conn := range []reflect.Type{reflect.TypeFor[missing](), reflect.TypeFor[other]()} {
		if f, ok := fieldsOf(conn); ok {
			t.Errorf("%v: found %+v", conn, f)
		}
	}
	if f, ok := fieldsOf(reflect.TypeFor[moved]()); !ok || f.hand != 24 || f.rawInput <= f.hand || f.input <= f.rawInput {
		t.Errorf("fields that lie elsewhere: %+v, %v", f, ok)
	}
}

// Offsets that are right by name and type, of fields that crypto/tls does something
// else with one day, are found out by trying.
func TestLendingIsTriedOut(t *testing.T) {
	f, ok := fieldsOf(reflect.TypeFor[tls.Conn]())
	if !ok {
		t.Fatal("not found")
	}
	f.rawInput, f.hand = f.hand, f.rawInput
	if works(f) {
		t.Error("records that are lent to the wrong field arrive")
	}
}

func TestNothingButKeysStaysWithAConnection(t *testing.T) {
	f, _ := lending()
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, client := range []bool{false, true} {
			r, far := open(t, shape{version, "ecdsa", client, ""}, "random")
			want := noise(5*plainMax + 100)
			if _, err := far.Write(want); err != nil {
				t.Fatal(err)
			}
			r.until("all bytes", func() bool { return r.received.Len() == len(want) && r.idle() })
			s := r.layer.sessions[id]
			raw, input, hand := at[bytes.Buffer](s.tc, f.rawInput), at[bytes.Reader](s.tc, f.input), at[bytes.Buffer](s.tc, f.hand)
			if raw.Cap() > 0 || input.Size() > 0 || hand.Cap() > 0 || s.pend != nil || s.out != nil {
				t.Errorf("version %x, client %v: %d, %d and %d bytes, and blocks %v, %v stay", version, client, raw.Cap(), input.Size(), hand.Cap(), s.pend, s.out)
			}
			r.close()
		}
	}
}
