package ws_test

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/ws"
)

// TestExamplesOfRFC7692 inflates the payloads of RFC 7692 7.2.3.
func TestExamplesOfRFC7692(t *testing.T) {
	for _, tt := range []struct {
		name     string
		payloads []string
		takeover bool
		want     string // of each, "!" if it is refused
	}{
		{"one block", []string{"\xf2\x48\xcd\xc9\xc9\x07\x00"}, false, "Hello"},
		{"sharing the window", []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00"}, true, "Hello Hello"},
		{"the window is not shared", []string{"\xf2\x48\xcd\xc9\xc9\x07\x00", "\xf2\x00\x11\x00\x00"}, false, "Hello !"},
		{"no compression", []string{"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"}, false, "Hello"},
		{"BFINAL", []string{"\xf3\x48\xcd\xc9\xc9\x07\x00\x00"}, false, "Hello"},
		{"BFINAL, sharing the window", []string{"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", "\xf2\x00\x11\x00\x00"}, true, "Hello Hello"},
		{"two blocks", []string{"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"}, false, "Hello"},
		{"empty", []string{"\x00", "\x02\x00"}, false, " "},
	} {
		i := ws.Inflater{Side: ws.Side{Takeover: tt.takeover}}
		var got []string
		for _, p := range tt.payloads {
			out, err := i.Append(nil, []byte(p), 5)
			if err == ws.ErrCompressed {
				out = []byte("!")
			}
			got = append(got, string(out))
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, s, tt.want)
		}
	}
}

func TestDeflatedHello(t *testing.T) {
	for level := range 10 {
		d := ws.Deflater{Level: level}
		if got := d.Append([]byte("x"), nil); string(got) != "x\x00" {
			t.Errorf("level %d: an empty message is %q", level, got)
		}
	}
	d := ws.Deflater{Side: ws.Side{Takeover: true}, Level: 9}
	d.Append(nil, []byte("Hello, World"))
	if got := d.Append(nil, []byte("Hello, World")); len(got) > 6 {
		t.Errorf("a message that was sent before takes %d bytes", len(got))
	}
}

// corpus returns messages for a window of some bits: short ones, such as repeat
// themselves at about the window's size, and some that are longer than it.
func corpus(bits int) (messages []string) {
	random := rand.New(rand.NewPCG(1, uint64(bits)))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	window := 1 << bits
	phrase := noise(64)
	messages = []string{
		"", "a", "Hello", "Hello", noise(32), noise(33), strings.Repeat("ab", 63), strings.Repeat("ab", 64),
		strings.Repeat("x", 3*window), phrase,
	}
	for _, over := range []int{-1, 0, 1} { // a phrase again as far back as the window goes, within a message and not
		gap := noise(window - len(phrase) + over)
		messages = append(messages, phrase+gap+phrase+"end", noise(window-len(phrase)-3+over), phrase+phrase+phrase)
	}
	var english strings.Builder
	for english.Len() < window+window/2 {
		fmt.Fprintf(&english, "the %d of %d words, ", random.IntN(50), random.IntN(1000))
	}
	return append(messages, english.String(), noise(2*window+7), english.String(), "", "Hello")
}

// sides calls f with every kind of Deflater.
func sides(f func(side ws.Side, level int)) {
	for bits := 8; bits <= 15; bits++ {
		for _, takeover := range []bool{false, true} {
			f(ws.Side{Takeover: takeover, Bits: bits}, 0)
			for level := 2; level <= 9 && bits == 15; level++ {
				f(ws.Side{Takeover: takeover}, level)
			}
		}
	}
}

// peer is one that inflates what a Deflater made in three ways: with an Inflater,
// with the standard library, and naively.
type peer struct {
	t        testing.TB
	side     ws.Side
	i        ws.Inflater
	window   []byte // what may be referred to
	farthest int
}

func newPeer(t testing.TB, side ws.Side) *peer {
	return &peer{t: t, side: side, i: ws.Inflater{Side: side}}
}

func (p *peer) size() int {
	if p.side.Bits == 0 {
		return 1 << 15
	}
	return 1 << p.side.Bits
}

// receive checks that a payload is the message.
func (p *peer) receive(payload []byte, message string) {
	p.t.Helper()
	sent := string(payload)
	out, err := p.i.Append([]byte("before"), payload, int64(max(1, len(message))))
	if string(out) != "before"+message || err != nil || string(payload) != sent {
		p.t.Fatalf("%+v: %d bytes came out as %d, %v", p.side, len(message), len(out), err)
	}
	r := flate.NewReaderDict(strings.NewReader(sent+"\x00\x00\xff\xff\x01\x00\x00\xff\xff"), p.window)
	if std, err := io.ReadAll(r); string(std) != message || err != nil {
		p.t.Fatalf("%+v: the standard library has %d bytes of %d, %v", p.side, len(std), len(message), err)
	}
	n, slow, err := naively(sent, p.window)
	if string(slow) != message || err != nil || n.farthest > p.size() {
		p.t.Fatalf("%+v: %d bytes of %d, a distance of %d, %v", p.side, len(slow), len(message), n.farthest, err)
	}
	p.farthest = max(p.farthest, n.farthest)
	if p.side.Takeover {
		p.window = append(p.window, message...)
		p.window = p.window[max(0, len(p.window)-p.size()):]
	}
}

func TestWhatIsDeflatedKeepsToTheWindow(t *testing.T) {
	sides(func(side ws.Side, level int) {
		if testing.Short() && level > 1 && level < 9 {
			return
		}
		d, p := ws.Deflater{Side: side, Level: level}, newPeer(t, side)
		for _, m := range corpus(max(side.Bits, 8)) {
			p.receive(d.Append(nil, []byte(m)), m)
		}
		if p.farthest < p.size()/2 && side.Bits != 0 {
			t.Errorf("%+v: no distance is greater than %d", side, p.farthest)
		}
	})
}

// TestCompressedOnceForMany mixes messages that a connection's Deflater has
// compressed with those that another has, without context takeover.
func TestCompressedOnceForMany(t *testing.T) {
	sides(func(side ws.Side, level int) {
		if testing.Short() && level > 1 && level < 9 {
			return
		}
		d, p := ws.Deflater{Side: side, Level: level}, newPeer(t, side)
		shared := ws.Deflater{Side: ws.Side{Bits: 8}}
		for i, m := range corpus(8) {
			if i%3 == 1 {
				d.Sent([]byte(m))
				p.receive(shared.Append(nil, []byte(m)), m)
			} else {
				p.receive(d.Append(nil, []byte(m)), m)
			}
		}
	})
}

func TestTakeoverMakesMessagesShorter(t *testing.T) {
	message := []byte(strings.Repeat(`{"symbol":"ABC","price":12.5,"time":1234567890},`, 1)[:40] + corpus(8)[4] + corpus(8)[5] + corpus(8)[9])
	sides(func(side ws.Side, level int) {
		d := ws.Deflater{Side: side, Level: level}
		first := len(d.Append(nil, message))
		second := len(d.Append(nil, message))
		if shorter := second < first/2; shorter != side.Takeover {
			t.Errorf("%+v, level %d: %d bytes, then %d", side, level, first, second)
		}
	})
}

// final returns a stream of its own that ends with BFINAL, from the standard
// library.
func final(t *testing.T, s string, dict []byte) string {
	var b bytes.Buffer
	w, err := flate.NewWriterDict(&b, 9, dict)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

// TestStreamsInAMessage inflates messages whose streams, each with a BFINAL,
// refer to those before and to the messages before.
func TestStreamsInAMessage(t *testing.T) {
	words := corpus(8)[4:10]
	var window []byte
	i := ws.Inflater{Side: ws.Side{Takeover: true}}
	for range 3 {
		var payload, message string
		for _, w := range words {
			payload += final(t, w+words[0], window)
			message += w + words[0]
			window = append(window, w+words[0]...)
		}
		out, err := i.Append(nil, []byte(payload+"\x00"), 0)
		if string(out) != message || err != nil {
			t.Fatalf("%q, %v, want %q", out, err, message)
		}
	}
	// Each begins with a copy of what the window has, so that not many may come.
	one := final(t, "a", nil)
	if out, err := i.Append(nil, []byte(strings.Repeat(one, 7)+"\x00"), 0); len(out) != 7 || err != nil {
		t.Errorf("7 streams: %q, %v", out, err)
	}
	if out, err := i.Append(nil, []byte(strings.Repeat(one, 8)+"\x00"), 0); err != ws.ErrCompressed {
		t.Errorf("8 streams: %q, %v", out, err)
	}
}

func TestMalformedCompressedData(t *testing.T) {
	for _, payload := range []string{
		"",             // there must be an empty block's first byte
		"\x07", "\xff", // a block of no kind
		"\xf2\x48\xcd\xc9\xc9\x07",         // the block before is not whole
		"\xf2\x48\xcd",                     // cut
		"\x00\x05\x00\xfa\xfe\x48\x65",     // LEN is not NLEN's inverse
		"\x00\x05\x00\xfa\xff\x48\x65",     // fewer bytes than announced
		"\x00\x09\x00\xf6\xff",             // a block that reaches beyond the message
		"\x01\x09\x00\xf6\xff",             // and is the last
		"\x00\x04\x00\xfb\xff",             // a block that the tail's bytes end
		"\x01\x0a\x00\xf5\xffa",            // likewise
		"\xf3\x48\xcd\xc9\xc9\x07\x00",     // BFINAL, and no empty block
		"\xf2\x00\x11\x00\x00",             // refers to what was never sent
		"\x04\xfe\xff\xff\xff\xff\xff\xff", // lengths of codes that make no code
	} {
		i := ws.Inflater{Side: ws.Side{Takeover: true}}
		if out, err := i.Append(nil, []byte(payload), 0); err != ws.ErrCompressed || len(out) > 10 {
			t.Errorf("%q: %q, %v", payload, out, err)
		}
	}
}

func TestInflatedMessagesAreLimited(t *testing.T) {
	const size = 1 << 20
	var d ws.Deflater
	bomb := d.Append(nil, make([]byte, size))
	for _, limit := range []int64{1, 511, 512, 513, 1 << 15, 1<<15 + 1, size - 1, size, size + 1, math.MaxInt64, 0, -1} {
		for _, spare := range []int{0, 1, 600, 2 * size} {
			var i ws.Inflater
			out, err := i.Append(make([]byte, 3, 3+spare), bomb, limit)
			n := int64(len(out) - 3)
			if limit < 1 || limit >= size {
				if n != size || err != nil {
					t.Errorf("limit %d, %d spare bytes: %d bytes, %v", limit, spare, n, err)
				}
				continue
			}
			if n > limit+1 || err != ws.ErrMessageLimit {
				t.Errorf("limit %d, %d spare bytes: %d bytes, %v", limit, spare, n, err)
			}
			if most := max(3+spare, int(3*limit)+1024); cap(out) > most {
				t.Errorf("limit %d, %d spare bytes: memory for %d", limit, spare, cap(out))
			}
		}
	}
	// What is sent does not grow the memory beyond the limit either.
	var i ws.Inflater
	stored := strings.Repeat("\x00\x00\x10\xff\xef"+strings.Repeat("a", 4096), 256) + "\x00"
	if out, err := i.Append(nil, []byte(stored), 100); len(out) > 101 || cap(out) > 512 || err != ws.ErrMessageLimit {
		t.Errorf("%d bytes, memory for %d, %v", len(out), cap(out), err)
	}
}

// TestAFailedMessageIsNotSeen inflates after an error.
func TestAFailedMessageIsNotSeen(t *testing.T) {
	i := ws.Inflater{Side: ws.Side{Takeover: true}}
	hello, again := []byte("\xf2\x48\xcd\xc9\xc9\x07\x00"), []byte("\xf2\x00\x11\x00\x00")
	if out, err := i.Append(nil, hello, 0); string(out) != "Hello" || err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	if _, err := i.Append(nil, []byte("\x00\x01\x00\xfe\xffa\x07"), 0); err != ws.ErrCompressed {
		t.Fatal(err)
	}
	if out, err := i.Append(nil, again, 0); string(out) != "Hello" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
}

// back returns the payload that copies the 3 bytes at a distance, of 256 or 257.
func back(distance int) (p []byte) {
	bits := "0" + "10" + "0000001" // not the last block, of fixed codes, and a length of 3 (RFC 1951 3.2.6)
	if bits += "01111" + "111111"; distance == 257 {
		bits = bits[:10] + "10000" + "0000000"
	}
	bits += "0000000" + "0" + "00" // the block's end, and the beginning of an empty one
	p = make([]byte, (len(bits)+7)/8)
	for i, b := range bits {
		p[i/8] |= byte(b-'0') << (i % 8)
	}
	return p
}

func TestAnInflaterKeepsTheWindow(t *testing.T) {
	for _, pieces := range []int{1, 3, 303} {
		i := ws.Inflater{Side: ws.Side{Takeover: true, Bits: 8}}
		var d ws.Deflater
		message := corpus(8)[len(corpus(8))-4][:303]
		for n := 0; n < 303; n += 303 / pieces {
			if _, err := i.Append(nil, d.Append(nil, []byte(message[n:n+303/pieces])), 0); err != nil {
				t.Fatal(err)
			}
		}
		if out, err := i.Append(nil, back(257), 0); err != ws.ErrCompressed {
			t.Errorf("in %d messages: %q, %v from beyond the window", pieces, out, err)
		}
		if out, err := i.Append(nil, back(256), 0); string(out) != message[47:50] || err != nil {
			t.Errorf("in %d messages: %q, %v, want %q", pieces, out, err, message[47:50])
		}
	}
}
