package http1_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/http1"
)

// reading is one direction of a connection as a test reads it. Every call of
// the Decoder gets bytes of its own, which are spoilt after it.
type reading struct {
	t       testing.TB
	d       http1.Decoder
	heads   [2]http1.Head // alternate: a head may be completed with another Head
	calls   int
	pending []byte
	body    []byte
	inBody  bool
	methods []string // of the requests that responses answer
	seen    []message
	err     error
}

// message is what was read of one message.
type message struct {
	head    string // all of http1.Head in one line
	method  string
	target  string
	status  int
	reason  string
	minor   int
	fields  []string // name and value in turn
	chunked bool
	close   bool
	length  int64
	body    string
	trailer []string // name and value in turn
	whole   bool
}

func (m message) String() string {
	s := m.head + fmt.Sprintf(" body=%q", m.body)
	if len(m.trailer) > 0 {
		s += fmt.Sprintf(" trailer=%q", m.trailer)
	}
	if !m.whole {
		s += " cut"
	}
	return s
}

func flat(fields []http1.Field) (list []string) {
	for _, f := range fields {
		list = append(list, string(f.Name), string(f.Value))
	}
	return list
}

func describe(h *http1.Head) message {
	m := message{
		method: string(h.Method), target: string(h.Target), status: h.Status, reason: string(h.Reason),
		minor: h.Minor, fields: flat(h.Fields), chunked: h.Chunked, close: h.Close, length: h.Length,
	}
	var b strings.Builder
	if h.Status != 0 {
		fmt.Fprintf(&b, "1.%d %d %q", h.Minor, h.Status, h.Reason)
	} else {
		fmt.Fprintf(&b, "%s %s 1.%d", h.Method, h.Target, h.Minor)
	}
	fmt.Fprintf(&b, " %q", m.fields)
	if h.HostSet != (h.Host != nil) {
		b.WriteString(" HOST?")
	}
	if h.Length != 0 {
		fmt.Fprintf(&b, " length=%d", h.Length)
	}
	for _, flag := range []struct {
		name string
		set  bool
	}{{"chunked", h.Chunked}, {"close", h.Close}, {"upgrade", h.Upgrade}, {"continue", h.Continue}} {
		if flag.set {
			b.WriteString(" " + flag.name)
		}
	}
	if h.HostSet {
		fmt.Fprintf(&b, " host=%q", h.Host)
	}
	if h.Expectation != nil {
		fmt.Fprintf(&b, " expect=%q", h.Expectation)
	}
	m.head = b.String()
	return m
}

// spoilable returns a copy of p with no capacity beyond it; what lies there
// looks like the rest of a head.
func spoilable(p []byte) []byte {
	c := append(append(make([]byte, 0, len(p)+64), p...), "\r\n\r\n0\r\n\r\n: x\r\n\r\n"...)
	return c[:len(p):len(p)]
}

func spoil(p []byte) {
	for i := range p {
		p[i] = '\x00'
	}
}

// more gives the reading the next piece.
func (r *reading) more(piece []byte) {
	r.pending = append(r.pending, piece...)
	for r.err == nil && r.step() {
	}
}

// step makes one call and reports whether there is another to be made.
func (r *reading) step() bool {
	p := spoilable(r.pending)
	defer spoil(p)
	if r.inBody {
		return r.stepBody(p)
	}
	r.calls++
	h := &r.heads[r.calls%2]
	if len(r.methods) > 0 {
		r.d.Answering(r.methods[0])
	}
	n, err := r.d.Head(p, h)
	r.err = err
	if n < 0 || n > len(p) || n > 0 && err != nil {
		r.t.Fatalf("Head returned %d, %v for %d bytes", n, err, len(p))
	}
	if n == 0 {
		start := strings.TrimPrefix(strings.TrimPrefix(string(p), "\r\n"), "\r\n") // after the empty lines
		if started := start != "" && start != "\r"; err == nil && r.d.Started() != started {
			r.t.Fatalf("Started is %v after %q", r.d.Started(), p)
		}
		return false
	}
	r.pending = r.pending[n:]
	r.seen = append(r.seen, describe(h))
	if h.Status >= 200 && len(r.methods) > 0 {
		r.methods = r.methods[1:]
	}
	if r.d.Remaining() != h.Length || r.d.Started() == r.d.Done() || r.d.Done() != (h.Length == 0) {
		r.t.Fatalf("after a head with length %d: Remaining %d, Started %v, Done %v",
			h.Length, r.d.Remaining(), r.d.Started(), r.d.Done())
	}
	r.inBody, r.body = true, nil
	r.finish()
	return true
}

func (r *reading) stepBody(p []byte) bool {
	data, n, err := r.d.Body(p)
	r.err = err
	if err == nil && len(data) == 0 && n != len(p) && !r.d.Done() {
		r.t.Fatalf("Body took %d of %d bytes and gave none", n, len(p))
	}
	if n > len(p) || len(data) > n || err != nil && n > 0 {
		r.t.Fatalf("Body returned %d bytes, %d, %v for %d bytes", len(data), n, err, len(p))
	}
	r.body = append(r.body, data...)
	r.pending = r.pending[n:]
	r.finish()
	return n > 0 && err == nil || !r.inBody
}

// finish notes the end of a message.
func (r *reading) finish() {
	m := &r.seen[len(r.seen)-1]
	m.body = string(r.body)
	if r.d.Done() {
		m.trailer = flat(r.d.Trailer())
		m.whole = true
		r.inBody = false
	}
}

// end tells of the end of the stream.
func (r *reading) end() {
	err := r.d.EOF()
	switch {
	case r.err == nil:
		r.err = err
	case !errors.Is(err, r.err):
		r.t.Fatalf("EOF returned %v after %v", err, r.err)
	}
	if r.inBody {
		r.finish()
	}
	if err != nil {
		r.sticks(err)
	}
}

// sticks checks that an error ends a stream.
func (r *reading) sticks(want error) {
	if n, err := r.d.Head([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), &r.heads[0]); n != 0 || err != want {
		r.t.Fatalf("Head returned %d, %v after %v", n, err, want)
	}
	if data, n, err := r.d.Body([]byte("5")); len(data) != 0 || n != 0 || err != want {
		r.t.Fatalf("Body returned %q, %d, %v after %v", data, n, err, want)
	}
}

// outcome is all that was read, in words.
func (r *reading) outcome() string {
	var b strings.Builder
	for _, m := range r.seen {
		fmt.Fprintln(&b, m)
	}
	var e *http1.Error
	switch {
	case errors.As(r.err, &e):
		fmt.Fprintf(&b, "%d %s\n", e.Status, e.Reason)
	case errors.Is(r.err, io.ErrUnexpectedEOF):
		fmt.Fprintln(&b, "unexpected end")
	case r.err != nil:
		r.t.Fatalf("an error of another kind: %v", r.err)
	}
	return b.String()
}

// source is a stream to be read.
type source struct {
	limits    http1.Limits
	responses bool
	methods   []string
	bytes     string
}

// read reads the stream in the given pieces.
func (s *source) read(t testing.TB, pieces ...string) *reading {
	t.Helper()
	r := &reading{t: t, methods: slices.Clone(s.methods)}
	if s.responses {
		r.d.ResetResponses(&s.limits)
	} else if s.limits != (http1.Limits{}) {
		r.d.Reset(&s.limits)
	}
	for _, p := range pieces {
		r.more([]byte(p))
	}
	r.end()
	return r
}

// everyWay reads the stream whole, byte by byte and in two pieces at every
// split, fails if these differ, and returns what they agree on.
func (s *source) everyWay(t testing.TB) *reading {
	t.Helper()
	whole := s.read(t, s.bytes)
	want := whole.outcome()
	if got := s.read(t, strings.Split(s.bytes, "")...).outcome(); got != want {
		t.Errorf("%.300q\nbyte by byte:\n%.2000s\nwhole:\n%.2000s", s.bytes, got, want)
	}
	for i := range len(s.bytes) {
		if got := s.read(t, s.bytes[:i], s.bytes[i:]).outcome(); got != want {
			t.Errorf("%.300q\nsplit at %d:\n%.2000s\nwhole:\n%.2000s", s.bytes, i, got, want)
			break
		}
	}
	return whole
}
