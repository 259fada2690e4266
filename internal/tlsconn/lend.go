//go:build !sluice_nolend

package tlsconn

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"sync"
	"unsafe"
)

// A tls.Conn keeps the buffers of the largest record and the largest handshake
// message that it has seen for as long as it lives: 3 KB after a handshake, 19 KB
// after a full record. So it is lent each record where it lies, as if it had read it
// itself, decrypts it there, and has its buffers taken away when it is done. That
// needs three of its private fields, which are looked up by name and type; if
// crypto/tls has others one day, or does not work with lent ones, nothing is lent:
// records are copied, and connections need more memory. The build tag sluice_nolend
// has the same effect.

// fields are where the buffers lie in a tls.Conn.
type fields struct{ rawInput, input, hand uintptr }

// lending returns them, or false if nothing can be lent.
var lending = sync.OnceValues(func() (fields, bool) {
	f, ok := fieldsOf(reflect.TypeFor[tls.Conn]())
	return f, ok && works(f)
})

// lends reports whether all is as it should be.
func lends() bool { _, ok := lending(); return ok }

// fieldsOf looks them up in conn, and reports whether they are as expected.
func fieldsOf(conn reflect.Type) (f fields, ok bool) {
	find := func(name string, want reflect.Type) uintptr {
		field, found := conn.FieldByName(name)
		ok = ok && found && field.Type == want
		return field.Offset
	}
	ok = true
	f = fields{
		rawInput: find("rawInput", reflect.TypeFor[bytes.Buffer]()),
		input:    find("input", reflect.TypeFor[bytes.Reader]()),
		hand:     find("hand", reflect.TypeFor[bytes.Buffer]()),
	}
	return f, ok
}

func at[T any](c *tls.Conn, offset uintptr) *T { return (*T)(unsafe.Add(unsafe.Pointer(c), offset)) }

// trim takes from a tls.Conn what its handshake left.
func trim(c *tls.Conn) {
	if f, ok := lending(); ok {
		f.reclaim(c)
	}
}

// lend gives a tls.Conn the first of whole records to read, and returns those that
// it has to read for itself.
func lend(c *tls.Conn, records []byte) (rest []byte) {
	if f, ok := lending(); ok && len(records) > 0 {
		n := min(recordLen(records), len(records)) // of one that is too long, less is there: see whole
		f.lend(c, records[:n:n])
		return records[n:]
	}
	return records
}

// reclaim takes away what a tls.Conn has read.
func reclaim(c *tls.Conn) {
	if f, ok := lending(); ok {
		f.reclaim(c)
	}
}

func (f fields) lend(c *tls.Conn, record []byte) {
	*at[bytes.Buffer](c, f.rawInput) = *bytes.NewBuffer(record)
}

func (f fields) reclaim(c *tls.Conn) {
	*at[bytes.Buffer](c, f.rawInput) = bytes.Buffer{}
	*at[bytes.Reader](c, f.input) = bytes.Reader{} // it refers to the same memory
	if hand := at[bytes.Buffer](c, f.hand); hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
}
