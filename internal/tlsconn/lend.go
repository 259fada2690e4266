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
// after a full record. Between reads they are empty, so they are lent to it for the
// time of a read and taken away again. That needs three of its private fields, which
// are looked up by name and type; if crypto/tls has others one day, or does not work
// with lent ones, nothing is lent and connections need more memory. The build tag
// sluice_nolend has the same effect.

// lentSize is room for a record, and for what crypto/tls adds in order to read one.
const lentSize = headerSize + bodyMax + bytes.MinRead + 64

type lent [lentSize]byte

var lentPool = sync.Pool{New: func() any { return new(lent) }}

// fields are where the buffers lie in a tls.Conn.
type fields struct{ rawInput, input, hand uintptr }

// lending returns them, or false if nothing can be lent.
var lending = sync.OnceValues(func() (f fields, ok bool) {
	t := reflect.TypeFor[tls.Conn]()
	find := func(name string, want reflect.Type) uintptr {
		field, found := t.FieldByName(name)
		ok = ok && found && field.Type == want
		return field.Offset
	}
	ok = true
	f = fields{
		rawInput: find("rawInput", reflect.TypeFor[bytes.Buffer]()),
		input:    find("input", reflect.TypeFor[bytes.Reader]()),
		hand:     find("hand", reflect.TypeFor[bytes.Buffer]()),
	}
	return f, ok && works(f)
})

func at[T any](c *tls.Conn, offset uintptr) *T { return (*T)(unsafe.Add(unsafe.Pointer(c), offset)) }

// trim takes from a tls.Conn what its handshake left.
func trim(c *tls.Conn) {
	if f, ok := lending(); ok {
		f.reclaim(c)
	}
}

// lend gives a tls.Conn a buffer for the time of a read.
func lend(c *tls.Conn) {
	if f, ok := lending(); ok {
		f.lend(c)
	}
}

// reclaim takes it back.
func reclaim(c *tls.Conn) {
	if f, ok := lending(); ok {
		f.reclaim(c)
	}
}

func (f fields) lend(c *tls.Conn) {
	if raw := at[bytes.Buffer](c, f.rawInput); raw.Cap() == 0 {
		*raw = *bytes.NewBuffer(lentPool.Get().(*lent)[:0])
	}
}

func (f fields) reclaim(c *tls.Conn) {
	raw, input, hand := at[bytes.Buffer](c, f.rawInput), at[bytes.Reader](c, f.input), at[bytes.Buffer](c, f.hand)
	if hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
	if raw.Len() > 0 || input.Len() > 0 {
		return // the next read needs it
	}
	*input = bytes.Reader{} // it refers to the same memory
	raw.Reset()
	if raw.Cap() == lentSize {
		lentPool.Put((*lent)(raw.Bytes()[:lentSize]))
	}
	*raw = bytes.Buffer{}
}
