package ws_test

import (
	"fmt"
	"runtime/debug"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-go/sluice/ws"
)

// raceEnabled tells whether the race detector watches this test binary. With it
// pools forget at random.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}

// kilobyte is a message of 1 KB of JSON.
var kilobyte = []byte(strings.Repeat(`{"symbol":"ABC","price":12.50,"volume":100,"time":1234567890123},`, 16)[:1024])

// decode reads all of p and returns how many messages and control frames that
// were.
func decode(tb testing.TB, d *ws.Decoder, p []byte) (n int) {
	for len(p) > 0 {
		part, used, err := d.Next(p)
		if err != nil {
			tb.Fatal(err)
		}
		if part.Last {
			n++
		}
		p = p[used:]
	}
	return n
}

// TestWhatIsCommonAllocatesNothing counts allocations.
func TestWhatIsCommonAllocatesNothing(t *testing.T) {
	if raceEnabled() {
		t.Skip("the race detector makes pools forget")
	}
	side := ws.Side{Takeover: true}
	var d ws.Decoder
	d.Reset(ws.FromServer, false, ws.Limits{})
	frames := []byte(join(ws.FromServer, []frame{
		{first: fin | text, payload: string(kilobyte)}, {first: fin | ping, payload: "1"}, {first: bin, payload: "a"},
		{first: fin | continuation, payload: strings.Repeat("b", 70000)}, {first: fin | text, payload: "κόσμε"},
	}))
	deflater, inflater := ws.Deflater{Side: side}, ws.Inflater{Side: side}
	var payload, message, header []byte
	for _, tt := range []struct {
		name string
		f    func()
	}{
		{"Decoder", func() { decode(t, &d, frames) }},
		{"Decoder, in pieces", func() {
			for i := 0; i < len(frames); i += 3 {
				decode(t, &d, frames[i:min(i+3, len(frames))])
			}
		}},
		{"Header", func() {
			h := ws.Header{Fin: true, Opcode: ws.Text, Masked: true, Length: 70000}
			header = h.Append(header[:0])
		}},
		{"Close", func() {
			header = ws.AppendClose(header[:0], ws.GoingAway, "bye")
			if _, _, err := ws.ParseClose(header); err != nil {
				t.Fatal(err)
			}
		}},
		{"Deflater and Inflater", func() {
			payload = deflater.Append(payload[:0], kilobyte)
			var err error
			if message, err = inflater.Append(message[:0], payload, 4096); len(message) != 1024 || err != nil {
				t.Fatal(len(message), err)
			}
		}},
		{"Sent", func() { deflater.Sent(kilobyte) }},
	} {
		for range 100 { // windows and buffers grow to their size
			tt.f()
		}
		if n := testing.AllocsPerRun(100, tt.f); n != 0 {
			t.Errorf("%s: %v allocations", tt.name, n)
		}
	}
}

// TestWhatIsAnnouncedAllocatesNothing begins frames and messages as large as they
// may be.
func TestWhatIsAnnouncedAllocatesNothing(t *testing.T) {
	for _, role := range []ws.Role{ws.FromClient, ws.FromServer} {
		for _, f := range []frame{
			{first: fin | bin, announced: 1<<63 - 1}, {first: fin | text, announced: 1 << 40, payload: "a"},
			{first: fin | ping, announced: 125}, {first: fin | rsv1 | text, announced: 1 << 40, payload: "a"},
		} {
			whole := f.bytes(role)
			b := []byte(whole)
			if n := testing.AllocsPerRun(10, func() {
				copy(b, whole)
				var d ws.Decoder
				d.Reset(role, true, ws.Limits{})
				decode(t, &d, b[:1])
				decode(t, &d, b[1:])
			}); n != 0 {
				t.Errorf("%+v: %v allocations", f, n)
			}
		}
	}
}

func BenchmarkMask(b *testing.B) {
	for _, size := range []int{16, 125, 1024, 65536} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			p := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				ws.Mask(0x3d21fa37, 1, p)
			}
		})
	}
}

func BenchmarkDecoder(b *testing.B) {
	for _, r := range roles {
		for name, first := range map[string]byte{"text": fin | text, "binary": fin | bin} {
			b.Run("1 KB of "+name+" "+r.name, func(b *testing.B) {
				var d ws.Decoder
				d.Reset(r.role, false, ws.Limits{Message: 1 << 20})
				p := []byte(frame{first: first, payload: string(kilobyte)}.bytes(r.role))
				scratch := make([]byte, len(p))
				b.SetBytes(int64(len(p)))
				b.ReportAllocs()
				for b.Loop() {
					copy(scratch, p)
					if decode(b, &d, scratch) != 1 {
						b.Fatal("no message")
					}
				}
			})
		}
	}
}

// BenchmarkText reads long texts, in one frame and in pieces, beside what checks
// them if they come whole.
func BenchmarkText(b *testing.B) {
	for name, s := range map[string]string{"ASCII": strings.Repeat("a", 1<<16), "Greek": strings.Repeat("κόσμε", 1<<16/11)} {
		p := []byte(frame{first: fin | text, payload: s}.bytes(ws.FromServer))
		for _, size := range []int{len(p), 1447} {
			b.Run(fmt.Sprintf("%s in pieces of %d", name, size), func(b *testing.B) {
				var d ws.Decoder
				d.Reset(ws.FromServer, false, ws.Limits{})
				b.SetBytes(int64(len(p)))
				for b.Loop() {
					for i := 0; i < len(p); i += size {
						decode(b, &d, p[i:min(i+size, len(p))])
					}
				}
			})
		}
		b.Run(name+", utf8.Valid", func(b *testing.B) {
			b.SetBytes(int64(len(p)))
			for b.Loop() {
				utf8.Valid(p[10:])
			}
		})
	}
}

func BenchmarkDeflater(b *testing.B) {
	for _, takeover := range []bool{false, true} {
		for _, size := range []int{64, 1024} {
			for _, bits := range []int{9, 15} {
				b.Run(fmt.Sprintf("%d bytes, %d bits, takeover %v", size, bits, takeover), func(b *testing.B) {
					d := ws.Deflater{Side: ws.Side{Takeover: takeover, Bits: bits}}
					for range 40 { // the window is full
						d.Sent(kilobyte)
					}
					var out []byte
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						out = d.Append(out[:0], kilobyte[:size])
					}
				})
			}
		}
	}
}

func BenchmarkInflater(b *testing.B) {
	for _, takeover := range []bool{false, true} {
		for _, size := range []int{64, 1024} {
			b.Run(fmt.Sprintf("%d bytes, takeover %v", size, takeover), func(b *testing.B) {
				side := ws.Side{Takeover: takeover}
				i := ws.Inflater{Side: side}
				var d ws.Deflater
				p := d.Append(nil, kilobyte[:size])
				var out []byte
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					var err error
					if out, err = i.Append(out[:0], p, 1<<20); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
