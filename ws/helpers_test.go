package ws_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/ws"
)

// The first bytes of frames.
const (
	fin  = 0x80
	rsv1 = 0x40
	rsv2 = 0x20
	rsv3 = 0x10

	continuation = 0x0
	text         = 0x1
	bin          = 0x2
	closing      = 0x8
	ping         = 0x9
	pong         = 0xa
)

// frame is a frame as a test writes it: naively, and wrong if it is to be.
type frame struct {
	first     byte
	payload   string
	form      int    // bytes of the long length: 2 or 8; 0 is as few as there may be
	announced uint64 // if not 0, the length that is said instead of the payload's
	wrongMask bool
}

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d} // that of RFC 6455 5.7

// bytes returns the frame as it is sent to one who reads in a role.
func (f frame) bytes(role ws.Role) string {
	length, form := uint64(len(f.payload)), f.form
	if f.announced != 0 {
		length = f.announced
	}
	switch {
	case form != 0:
	case length > 65535:
		form = 8
	case length > 125:
		form = 2
	}
	masked := (role == ws.FromClient) != f.wrongMask
	b := []byte{f.first, 0}
	switch form {
	case 0:
		b[1] = byte(length)
	case 2:
		b[1] = 126
		b = binary.BigEndian.AppendUint16(b, uint16(length))
	case 8:
		b[1] = 127
		b = binary.BigEndian.AppendUint64(b, length)
	}
	if !masked {
		return string(append(b, f.payload...))
	}
	b[1] |= 0x80
	b = append(b, testKey[:]...)
	for i := range len(f.payload) {
		b = append(b, f.payload[i]^testKey[i%4])
	}
	return string(b)
}

// join returns the bytes of frames.
func join(role ws.Role, frames []frame) (s string) {
	for _, f := range frames {
		s += f.bytes(role)
	}
	return s
}

// reading is one direction of a connection as a test reads it. Every call of
// the Decoder gets bytes of its own, which are spoilt after it.
type reading struct {
	t     testing.TB
	d     ws.Decoder
	seen  []string // messages and control frames, in words
	open  string   // the message under way, "" between messages
	body  []byte
	taken int // bytes until there was an error
	err   error
}

// name says what a part belongs to.
func name(p ws.Part) string {
	if p.Compressed {
		return p.Opcode.String() + "*"
	}
	return p.Opcode.String()
}

// more gives the reading the next piece.
func (r *reading) more(piece string) {
	p := append([]byte(piece), "\x81\x81\xff\xff\xff"...)[:len(piece):len(piece)]
	for rest := p; r.err == nil; {
		part, n, err := r.d.Next(rest)
		if n < 0 || n > len(rest) || n == 0 && err == nil && len(rest) > 0 {
			r.t.Fatalf("Next took %d of %d bytes, %v", n, len(rest), err)
		}
		r.taken += n
		if r.err = err; err != nil {
			r.refused(part)
			break
		}
		r.take(part, rest[:n])
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
		if part.Opcode == ws.Continuation {
			r.t.Fatalf("Next found nothing and left %d bytes", len(rest))
		}
	}
	for i := range p {
		p[i] = 0xff
	}
}

// take notes a part that was found in bytes.
func (r *reading) take(part ws.Part, in []byte) {
	switch {
	case part.Opcode == ws.Continuation:
		if len(part.Data) > 0 || part.First || part.Last || part.Compressed || part.Left != 0 {
			r.t.Fatalf("of nothing, there is %+v", part)
		}
	case part.Opcode.IsControl():
		if !part.First || !part.Last || part.Compressed || part.Left != 0 {
			r.t.Fatalf("a control frame is %+v", part)
		}
		r.seen = append(r.seen, fmt.Sprintf("%s %q", name(part), part.Data))
	default:
		if n := len(part.Data); n > 0 && &part.Data[n-1] != &in[len(in)-1] {
			r.t.Fatalf("data that is not in what Next was given")
		}
		if part.First != (r.open == "") || !part.First && name(part) != r.open || part.Last && part.Left != 0 {
			r.t.Fatalf("in %q there is %+v", r.open, part)
		}
		if part.First {
			r.open, r.body = name(part), nil
		}
		r.body = append(r.body, part.Data...)
		if part.Last {
			r.seen = append(r.seen, fmt.Sprintf("%s %q", r.open, r.body))
			r.open = ""
		}
	}
}

// refused checks what there is with an error, and that it is the end.
func (r *reading) refused(part ws.Part) {
	var e *ws.Error
	if !errors.As(r.err, &e) {
		r.t.Fatalf("an error of another kind: %v", r.err)
	}
	if len(part.Data) > 0 || part.Opcode != 0 {
		r.t.Fatalf("with an error there is %+v", part)
	}
	for _, p := range []string{"", "\x81\x00", "\x81\x80abcd"} {
		if part, n, err := r.d.Next([]byte(p)); n != 0 || err != r.err || part.Opcode != 0 {
			r.t.Fatalf("Next returned %+v, %d, %v after %v", part, n, err, r.err)
		}
	}
	if r.d.Resting() {
		r.t.Fatalf("it is resting after %v", r.err)
	}
}

// outcome is all that was read, in words. It leaves out what was read of a
// message before its refusal, which depends on the pieces.
func (r *reading) outcome() string {
	s := strings.Join(r.seen, "; ")
	add := func(more string) {
		if s != "" {
			s += "; "
		}
		s += more
	}
	var e *ws.Error
	switch {
	case errors.As(r.err, &e):
		add(fmt.Sprintf("%d %s", e.Status, e.Reason))
	case r.open != "":
		add(fmt.Sprintf("%s %q...", r.open, r.body))
	case !r.d.Resting():
		add("...")
	}
	return s
}

// source is a stream to be read.
type source struct {
	role    ws.Role
	deflate bool
	limits  ws.Limits
	bytes   string
}

// read reads the stream in the given pieces.
func (s *source) read(t testing.TB, pieces ...string) *reading {
	t.Helper()
	r := &reading{t: t}
	r.d.Reset(s.role, s.deflate, s.limits)
	for _, p := range pieces {
		r.more(p)
	}
	return r
}

// splits returns where a stream of n bytes is cut into two: everywhere, or near
// its ends and at some places between.
func splits(n int) (at []int) {
	for i := range n {
		if n <= 2000 || i < 20 || n-i < 20 || i%(n/20) == 0 {
			at = append(at, i)
		}
	}
	return at
}

// everyWay reads the stream whole, byte by byte, in two pieces at every split
// and, if it is short, in three, fails if these differ, and returns what they
// agree on, with what was read byte by byte.
func (s *source) everyWay(t testing.TB) (outcome string, bytewise *reading) {
	t.Helper()
	want := s.read(t, s.bytes).outcome()
	bytewise = s.read(t, singles(s.bytes)...)
	if got := bytewise.outcome(); got != want {
		t.Errorf("%.300q\nbyte by byte: %.2000s\nwhole: %.2000s", s.bytes, got, want)
	}
	at := splits(len(s.bytes))
	for i, a := range at {
		if got := s.read(t, s.bytes[:a], s.bytes[a:]).outcome(); got != want {
			t.Errorf("%.300q\nsplit at %d: %.2000s\nwhole: %.2000s", s.bytes, a, got, want)
			break
		}
		if len(s.bytes) > 60 {
			continue
		}
		for _, b := range at[i:] {
			if got := s.read(t, s.bytes[:a], s.bytes[a:b], s.bytes[b:]).outcome(); got != want {
				t.Errorf("%.300q\nsplit at %d and %d: %.2000s\nwhole: %.2000s", s.bytes, a, b, got, want)
				return want, bytewise
			}
		}
	}
	return want, bytewise
}

// roles are both, with a name.
var roles = []struct {
	name string
	role ws.Role
}{{"from a client", ws.FromClient}, {"from a server", ws.FromServer}}

// eachRole runs a test for both roles.
func eachRole(t *testing.T, test func(t *testing.T, role ws.Role)) {
	for _, r := range roles {
		t.Run(r.name, func(t *testing.T) { test(t, r.role) })
	}
}

// status returns the code of an error of this package, 0 for none.
func status(err error) ws.Status {
	var e *ws.Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

// pieces cuts a stream into pieces of the given sizes plus one, in turn.
func pieces(s string, sizes []byte) (list []string) {
	for i := 0; len(s) > 0 && len(sizes) > 0; i++ {
		n := min(len(s), int(sizes[i%len(sizes)])+1)
		list, s = append(list, s[:n]), s[n:]
	}
	return slices.Concat(list, []string{s})
}

// singles cuts a stream into its bytes.
func singles(s string) []string { return pieces(s, []byte{0}) }
