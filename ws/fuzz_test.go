package ws_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/ws"
)

// seedStreams are what FuzzFrames begins with, with and without what they are
// refused for.
var seedStreams = [][]frame{
	{{first: fin | text, payload: "Hello"}, {first: fin | bin, payload: "\xff"}, {first: fin | ping, payload: "1"}},
	{{first: text, payload: "κόσ"}, {first: fin | pong}, {first: continuation}, {first: fin | continuation, payload: "με"}, {first: fin | closing, payload: "\x03\xe8bye"}},
	{{first: text, payload: "\xf0\x9f"}, {first: fin | ping, payload: "2"}, {first: continuation, payload: "\x98"}, {first: fin | continuation, payload: "\x80"}},
	{{first: fin | rsv1 | text, payload: "\xf2\x48\xcd\xc9\xc9\x07\x00"}, {first: fin | text, payload: "a"}},
	{{first: rsv1 | bin, payload: "\xff"}, {first: fin | continuation, payload: "\xfe"}, {first: fin | bin}},
	{{first: fin | bin, payload: strings.Repeat("x", 126)}, {first: fin | text, payload: strings.Repeat("é", 200)}},
	{{first: fin | text, payload: "a"}, {first: fin | text, payload: "abc\xff"}},
	{{first: text, payload: "\xe2\x82"}, {first: fin | continuation}},
	{{first: fin | text, payload: "\xed\xa0\x80"}},
	{{first: fin | text, payload: "a", form: 2}},
	{{first: fin | text, payload: "a", form: 8}},
	{{first: fin | bin, payload: "a", announced: 1 << 62}},
	{{first: bin, payload: "a"}, {first: continuation, announced: 1<<63 - 1}},
	{{first: fin | bin, payload: "a", announced: 1 << 63}},
	{{first: fin | ping, payload: "a", announced: 126}},
	{{first: ping, payload: "a"}},
	{{first: fin | 3}},
	{{first: fin | rsv3 | text}},
	{{first: fin | continuation}},
	{{first: text}, {first: text}},
	{{first: fin | text, wrongMask: true}},
}

// FuzzFrames compares what a Decoder reads, in pieces of every kind, with the
// model.
func FuzzFrames(f *testing.F) {
	for _, s := range seedStreams {
		for _, r := range roles {
			f.Add(join(r.role, s), []byte{0, 3}, r.role == ws.FromServer, true, uint8(0), uint8(0))
			f.Add(join(r.role, s), []byte{6, 1}, r.role == ws.FromServer, false, uint8(4), uint8(7))
		}
	}
	f.Fuzz(func(t *testing.T, in string, sizes []byte, server, deflate bool, frameLimit, messageLimit uint8) {
		limits := ws.Limits{Frame: int64(frameLimit), Message: int64(messageLimit)}
		s := source{role: ws.Role(server), deflate: deflate, limits: limits, bytes: in}
		m := newModel(s)
		for i, p := range [][]string{singles(in), {in}, pieces(in, sizes)} {
			r := s.read(t, p...)
			got := r.outcome()
			if r.err != nil {
				at := r.taken
				if i > 0 { // not byte by byte: it is within the piece
					at = m.at
				}
				got = strings.Join(append(r.seen, fmt.Sprintf("%d at %d", status(r.err), at)), "; ")
			}
			if want := m.outcome(); got != want {
				t.Fatalf("%.300q in %d pieces:\n%.2000s\nwant\n%.2000s", in, len(p), got, want)
			}
		}
	})
}

// FuzzInflate compares what an Inflater makes of arbitrary bytes with what they
// are naively.
func FuzzInflate(f *testing.F) {
	for _, p := range []string{
		"", "\x00", "\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00", "\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
		"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", "\x01\x09\x00\xf6\xff",
		"\x00\x04\x00\xfb\xff", "\x03\x00\x03\x00\x00", "\xaa\x06\x00",
	} {
		f.Add(p, "", uint16(0), uint8(0))
		f.Add(p, "Hello", uint16(4), uint8(8))
	}
	for level := 1; level <= 9; level += 4 {
		d := ws.Deflater{Side: ws.Side{Takeover: true}, Level: level}
		for _, m := range corpus(8)[6:] {
			f.Add(string(d.Append(nil, []byte(m))), "Hello, world", uint16(300), uint8(15))
		}
	}
	f.Fuzz(func(t *testing.T, payload, before string, limit uint16, bits uint8) {
		if len(payload) > 1<<12 || len(before) > 1<<15 {
			return
		}
		i := ws.Inflater{Side: ws.Side{Takeover: true, Bits: int(bits%8) + 8}}
		if before != "" { // stored
			n := len(before)
			stored := append([]byte{0, byte(n), byte(n >> 8), ^byte(n), ^byte(n >> 8)}, before...)
			if out, err := i.Append(nil, append(stored, 0), 0); string(out) != before || err != nil {
				t.Fatalf("%q, %v", out, err)
			}
		}
		out, err := i.Append([]byte("x"), []byte(payload), int64(limit))
		if out = out[1:]; limit > 0 && len(out) > int(limit)+1 {
			t.Fatalf("%d bytes, the limit is %d", len(out), limit)
		}
		n, want, naiveErr := naively(payload, []byte(before[max(0, len(before)-1<<i.Side.Bits):]))
		same := string(out) == string(want)
		switch {
		case naiveErr == errEmptyCode || n.streams > 7: // the one reads more, the other less
		case err == nil && !same, naiveErr == nil && err != nil && err != ws.ErrMessageLimit:
			t.Fatalf("%d bytes, %v, want %d, %v", len(out), err, len(want), naiveErr)
		case naiveErr == nil && (err == ws.ErrMessageLimit) != (limit > 0 && len(want) > int(limit)):
			t.Fatalf("%d bytes, %v; the limit is %d", len(want), err, limit)
		case err != nil && err != ws.ErrMessageLimit && err != ws.ErrCompressed:
			t.Fatal(err)
		}
	})
}

// FuzzDeflate inflates what Deflaters of all kinds make, in every way there is,
// with messages among it that another Deflater has compressed.
func FuzzDeflate(f *testing.F) {
	for _, m := range corpus(8) {
		f.Add([]byte(m), []byte{7, 0, 40, 3}, uint8(0), uint8(1), true)
		f.Add([]byte(m), []byte{16}, uint8(7), uint8(9), true)
		f.Add([]byte(m), []byte{2, 9}, uint8(7), uint8(5), false)
	}
	f.Fuzz(func(t *testing.T, data, sizes []byte, bits, level uint8, takeover bool) {
		if len(data) > 1<<13 {
			return
		}
		side := ws.Side{Takeover: takeover, Bits: int(bits%8) + 8}
		d, p := ws.Deflater{Side: side, Level: int(level)}, newPeer(t, side)
		shared := ws.Deflater{Side: ws.Side{Bits: 8}}
		for i := 0; len(data) > 0 && i < 40; i++ {
			n := len(data)
			if i < len(sizes) {
				n = min(n, int(sizes[i])*8)
			}
			if i < len(sizes) && sizes[i]%4 == 1 {
				d.Sent(data[:n])
				p.receive(shared.Append(nil, data[:n]), string(data[:n]))
			} else {
				p.receive(d.Append(nil, data[:n]), string(data[:n]))
			}
			if n < len(data) || i >= len(sizes) {
				data = data[n:]
			}
		}
	})
}

// FuzzNegotiate reads arbitrary offers and answers, and what both ends make of
// what the other says.
func FuzzNegotiate(f *testing.F) {
	for i, n := range negotiations {
		f.Add(n.offers, n.answer, uint8(i), uint8(i*7))
	}
	f.Add("permessage-deflate", "permessage-deflate; server_max_window_bits=9; client_max_window_bits=9", uint8(1), uint8(17))
	var every []ws.Params
	allParams(func(p ws.Params) { every = append(every, p) })
	f.Fuzz(func(t *testing.T, offers, answer string, server, client uint8) {
		want, offered := every[server], every[client]
		agreed, own, ok := ws.Negotiate(offers, want)
		checkAnswer(t, offers, want, agreed, own, ok)

		agreed, ok, err := offered.Accepted(answer)
		list, wellFormed := parse(answer)
		if !ok {
			if agreed != (ws.Params{}) || err == nil && strings.Trim(answer, " \t") != "" {
				t.Fatalf("%q: %+v, %v", answer, agreed, err)
			}
			return
		}
		if err != nil || !wellFormed || len(list) != 1 {
			t.Fatalf("%q: %+v, %v", answer, agreed, err)
		}
		values, valid := list[0].deflateParams(true)
		server2, client2 := answered(values, "server"), answered(values, "client")
		if !valid || agreed.Server != server2 || server2.Takeover && !offered.Server.Takeover || !atMost(server2.Bits, offered.Server.Bits) ||
			agreed.Client.Takeover != (client2.Takeover && offered.Client.Takeover) || agreed.Client.Bits > client2.Bits ||
			!slices.Contains([]int{client2.Bits, offered.Client.Bits}, agreed.Client.Bits) || !atMost(agreed.Client.Bits, offered.Client.Bits) {
			t.Fatalf("%q, answered %q: %+v", offered.Offer(), answer, agreed)
		}
	})
}
