package http1_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/http1"
)

// seedRequests are streams to begin fuzzing with.
func seedRequests() (seeds []string) {
	for _, tt := range accepted {
		seeds = append(seeds, crlf(tt.in))
	}
	for _, tt := range refusals {
		seeds = append(seeds, crlf(tt.in))
	}
	return seeds
}

// tight are limits that a short input can break.
var tight = http1.Limits{Line: 40, Head: 160, Fields: 5, Body: 12, Trailer: 30}

// sameInPieces checks that a stream gives the same outcome whole, byte by byte
// and in pieces of the given sizes, in turn.
func sameInPieces(t *testing.T, s source, sizes []byte) {
	want := s.read(t, s.bytes).outcome()
	if got := s.read(t, strings.Split(s.bytes, "")...).outcome(); got != want {
		t.Fatalf("byte by byte:\n%s\nwhole:\n%s", got, want)
	}
	var pieces []string
	rest := s.bytes
	for i := 0; len(rest) > 0 && len(sizes) > 0; i++ {
		n := min(len(rest), int(sizes[i%len(sizes)])+1)
		pieces, rest = append(pieces, rest[:n]), rest[n:]
	}
	pieces = append(pieces, rest)
	if got := s.read(t, pieces...).outcome(); got != want {
		t.Fatalf("in pieces %q:\n%s\nwhole:\n%s", pieces, got, want)
	}
}

func FuzzRequestsInPieces(f *testing.F) {
	for _, seed := range seedRequests() {
		f.Add(seed, []byte{16, 2}, false)
		f.Add(seed, []byte{3}, true)
	}
	f.Fuzz(func(t *testing.T, in string, sizes []byte, limited bool) {
		s := source{bytes: in}
		if limited {
			s.limits = tight
		}
		sameInPieces(t, s, sizes)
	})
}

func FuzzResponsesInPieces(f *testing.F) {
	for _, tt := range responses {
		f.Add(crlf(tt.in), tt.methods, []byte{16, 2}, false)
		f.Add(crlf(tt.in), tt.methods, []byte{3}, true)
	}
	f.Fuzz(func(t *testing.T, in, methods string, sizes []byte, limited bool) {
		s := source{responses: true, bytes: in, methods: strings.Fields(methods)}
		if limited {
			s.limits = tight
		}
		sameInPieces(t, s, sizes)
	})
}

// encode writes the message as the package would.
func encode(t *testing.T, m message) []byte {
	var out []byte
	if m.status != 0 {
		out = http1.AppendStatusLine(nil, m.minor, m.status, m.reason)
	} else {
		out = http1.AppendRequestLine(nil, m.method, m.target)
		if m.minor == 0 {
			out = []byte(strings.Replace(string(out), " HTTP/1.1\r\n", " HTTP/1.0\r\n", 1))
		}
	}
	for f := range slices.Chunk(m.fields, 2) {
		if !http1.ValidName(f[0]) || !http1.ValidValue(f[1]) {
			t.Fatalf("%q was accepted", f)
		}
		out = http1.AppendField(out, f[0], f[1])
	}
	out = append(out, "\r\n"...)
	var e http1.Encoder
	switch {
	case m.chunked:
		e.Chunked()
	case m.length < 0:
		e.UntilClose()
	case m.length > 0:
		e.Fixed(m.length)
	default:
		e.None()
	}
	var trailer []http1.Field
	for f := range slices.Chunk(m.trailer, 2) {
		trailer = append(trailer, http1.Field{Name: []byte(f[0]), Value: []byte(f[1])})
	}
	for data := range slices.Chunk([]byte(m.body), 7) {
		var err error
		if out, err = e.Data(out, len(data)); err != nil {
			t.Fatal(err)
		}
		out = e.AfterData(append(out, data...))
	}
	out, err := e.End(out, trailer)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// roundTrips checks that every whole message that was read is read the same
// again when this package has written it.
func roundTrips(t *testing.T, s source) {
	read := s.read(t, s.bytes)
	again := source{responses: s.responses, methods: s.methods}
	var want []message
	for _, m := range read.seen {
		if m.whole {
			if m.status != 0 && m.reason == "" {
				m.reason = http1.StatusText(m.status)
				m.head = strings.Replace(m.head, `""`, `"`+m.reason+`"`, 1)
			}
			again.bytes += string(encode(t, m))
			want = append(want, m)
		}
	}
	r := again.read(t, again.bytes)
	if r.err != nil || len(r.seen) != len(want) {
		t.Fatalf("%q:\n%s", again.bytes, r.outcome())
	}
	for i := range want {
		if got := r.seen[i].String(); got != want[i].String() {
			t.Errorf("%q:\n%s\nwas\n%s", again.bytes, got, want[i])
		}
	}
}

func FuzzRequestsRoundTrip(f *testing.F) {
	for _, seed := range seedRequests() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		roundTrips(t, source{bytes: in})
	})
}

func FuzzResponsesRoundTrip(f *testing.F) {
	for _, tt := range responses {
		f.Add(crlf(tt.in), tt.methods)
	}
	f.Fuzz(func(t *testing.T, in, methods string) {
		roundTrips(t, source{responses: true, bytes: in, methods: strings.Fields(methods)})
	})
}
