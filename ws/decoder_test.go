package ws_test

import (
	"math"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/ws"
)

// row is a stream of frames and what is read of it.
type row struct {
	frames []frame
	want   string
}

// run reads the rows in every way.
func run(t *testing.T, rows []row, deflate bool, limits ws.Limits) {
	eachRole(t, func(t *testing.T, role ws.Role) {
		for _, tt := range rows {
			s := source{role: role, deflate: deflate, limits: limits, bytes: join(role, tt.frames)}
			if got, _ := s.everyWay(t); got != tt.want {
				t.Errorf("%.300v:\n%.500s\nwant\n%.500s", tt.frames, got, tt.want)
			}
		}
	})
}

func TestAnAppendToAPartChangesNothingBehindIt(t *testing.T) {
	var d ws.Decoder
	d.Reset(ws.FromServer, false, ws.Limits{})
	p := []byte("\x82\x01a\x89\x01b\x82\x01c")
	for _, want := range []string{"a", "b", "c"} {
		part, n, err := d.Next(p)
		if string(part.Data) != want || err != nil {
			t.Fatalf("%q, %v, want %q", part.Data, err, want)
		}
		_ = append(part.Data, "xyz"...)
		p = p[n:]
	}
}

func TestFraming(t *testing.T) {
	var rows []row
	for _, n := range []int{0, 1, 3, 4, 5, 125, 126, 127, 128, 65535, 65536} {
		x := strings.Repeat("*", n)
		rows = append(rows, row{[]frame{{first: fin | text, payload: x}}, `text "` + x + `"`},
			row{[]frame{{first: fin | bin, payload: x}, {first: fin | ping}}, `binary "` + x + `"; ping ""`})
	}
	run(t, append(rows,
		row{nil, ""},
		row{[]frame{{first: fin | text, payload: "Hello"}, {first: fin | bin, payload: "\xff\x00"}}, `text "Hello"; binary "\xff\x00"`},
		row{[]frame{{first: fin | text, payload: "Hello", announced: 6}}, `text "Hello"...`},
		row{[]frame{{first: fin | text, payload: "", announced: 6}}, `...`},
		row{[]frame{{first: fin | ping, payload: "Hello", announced: 6}}, `...`},
		row{[]frame{{first: fin | bin, payload: "Hello", announced: math.MaxInt64}}, `binary "Hello"...`},
	), false, ws.Limits{})
}

// TestExamplesOfRFC6455 reads the frames of RFC 6455 5.7.
func TestExamplesOfRFC6455(t *testing.T) {
	for _, tt := range []struct {
		role     ws.Role
		in, want string
	}{
		{ws.FromServer, "\x81\x05\x48\x65\x6c\x6c\x6f", `text "Hello"`},
		{ws.FromClient, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", `text "Hello"`},
		{ws.FromServer, "\x01\x03\x48\x65\x6c\x80\x02\x6c\x6f", `text "Hello"`},
		{ws.FromServer, "\x89\x05\x48\x65\x6c\x6c\x6f", `ping "Hello"`},
		{ws.FromClient, "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", `pong "Hello"`},
		{ws.FromServer, "\x82\x7e\x01\x00" + strings.Repeat("x", 256), `binary "` + strings.Repeat("x", 256) + `"`},
	} {
		s := source{role: tt.role, bytes: tt.in}
		if got, _ := s.everyWay(t); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.in, got, tt.want)
		}
	}
}

func TestLengthsMustBeTheShortest(t *testing.T) {
	const refused = "1002 length not in its shortest form"
	long := strings.Repeat("*", 126)
	run(t, []row{
		{[]frame{{first: fin | text, payload: "Hello", form: 2}}, refused},
		{[]frame{{first: fin | text, form: 2}}, refused},
		{[]frame{{first: fin | text, payload: long[:125], form: 2}}, refused},
		{[]frame{{first: fin | text, payload: long, form: 2}}, `text "` + long + `"`},
		{[]frame{{first: fin | text, payload: long, form: 8}}, refused},
		{[]frame{{first: fin | bin, announced: 65535, form: 8}}, refused},
		{[]frame{{first: fin | bin, announced: 65536, form: 8, payload: "a"}}, `binary "a"...`},
		{[]frame{{first: fin | bin, announced: 1 << 63, form: 8}}, refused},
		{[]frame{{first: fin | bin, announced: math.MaxUint64, form: 8}}, refused},
	}, false, ws.Limits{})
}

func TestControlFrames(t *testing.T) {
	x := strings.Repeat("\xfe", 125)
	esc := strings.Repeat(`\xfe`, 125)
	const long, fragment = "1002 control frame longer than 125 bytes", "1002 fragmented control frame"
	rows := []row{{
		[]frame{
			{first: fin | ping, payload: "1"}, {first: fin | ping, payload: "22"}, {first: fin | pong}, {first: fin | ping},
			{first: fin | text, payload: "a"}, {first: fin | ping, payload: "333"},
		},
		`ping "1"; ping "22"; pong ""; ping ""; text "a"; ping "333"`,
	}}
	for op, name := range map[byte]string{ping: "ping", pong: "pong", closing: "close"} {
		rows = append(rows,
			row{[]frame{{first: fin | op}}, name + ` ""`},
			row{[]frame{{first: fin | op, payload: "Hello"}}, name + ` "Hello"`},
			row{[]frame{{first: fin | op, payload: x}}, name + ` "` + esc + `"`},
			row{[]frame{{first: fin | op, payload: x + "x"}}, long},
			row{[]frame{{first: fin | op, payload: "a", form: 2}}, long}, // and not in the shortest form
			row{[]frame{{first: fin | op, announced: 1 << 40}}, long},
			row{[]frame{{first: op}}, fragment},
			row{[]frame{{first: op, payload: "a"}, {first: fin | continuation, payload: "b"}}, fragment},
			row{[]frame{{first: fin | rsv1 | op, payload: "a"}}, "1002 a reserved bit is set"},
		)
	}
	run(t, rows, false, ws.Limits{})
	run(t, rows, true, ws.Limits{Frame: 1, Message: 1}) // the limits are of data
}

func TestReservedBits(t *testing.T) {
	const refused = "1002 a reserved bit is set"
	var rows []row
	for bits := byte(rsv3); bits <= rsv1|rsv2|rsv3; bits += rsv3 {
		for _, op := range []byte{text, bin, ping, pong, closing} {
			rows = append(rows,
				row{[]frame{{first: fin | bits | op, payload: "Hello"}}, refused},
				row{[]frame{{first: fin | text, payload: "a"}, {first: fin | bits | op}, {first: fin | ping}}, `text "a"; ` + refused},
			)
		}
		rows = append(rows,
			row{[]frame{{first: text, payload: "a"}, {first: fin | bits | continuation}}, refused},
			row{[]frame{{first: fin | bits | 3}}, map[bool]string{true: refused, false: "1002 reserved opcode"}[bits != rsv1]},
		)
	}
	run(t, rows, false, ws.Limits{})
}

func TestReservedOpcodes(t *testing.T) {
	var rows []row
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		rows = append(rows,
			row{[]frame{{first: fin | op}}, "1002 reserved opcode"},
			row{[]frame{{first: op, payload: "a"}}, "1002 reserved opcode"},
			row{[]frame{{first: fin | text, payload: "a"}, {first: fin | op, payload: "x"}, {first: fin | ping}}, `text "a"; 1002 reserved opcode`},
			row{[]frame{{first: text, payload: "a"}, {first: fin | op, payload: "x"}}, "1002 reserved opcode"},
		)
	}
	run(t, rows, false, ws.Limits{})
}

func TestFragmentation(t *testing.T) {
	const stray, within = "1002 continuation of no message", "1002 message within another"
	run(t, []row{
		{[]frame{{first: text, payload: "a"}, {first: fin | continuation, payload: "b"}}, `text "ab"`},
		{[]frame{{first: bin}, {first: continuation}, {first: fin | continuation}}, `binary ""`},
		{[]frame{{first: text, payload: "a"}, {first: continuation}, {first: fin | continuation, payload: "b"}}, `text "ab"`},
		{[]frame{{first: text, payload: "a"}}, `text "a"...`},
		{[]frame{{first: text}}, `text ""...`},
		{
			[]frame{
				{first: text, payload: "a"}, {first: fin | ping, payload: "1"}, {first: continuation, payload: "b"}, {first: fin | pong},
				{first: fin | ping, payload: "2"}, {first: fin | continuation, payload: "c"}, {first: fin | ping},
			},
			`ping "1"; pong ""; ping "2"; text "abc"; ping ""`,
		},
		{[]frame{{first: text, payload: "a"}, {first: fin | closing, payload: "\x03\xe8"}}, `close "\x03\xe8"; text "a"...`},
		{[]frame{{first: fin | continuation}}, stray},
		{[]frame{{first: continuation, payload: "a"}, {first: fin | text, payload: "b"}}, stray},
		{[]frame{{first: fin | text, payload: "a"}, {first: fin | continuation, payload: "b"}}, `text "a"; ` + stray},
		{[]frame{{first: fin | ping, payload: "a"}, {first: fin | continuation, payload: "b"}}, `ping "a"; ` + stray},
		{
			[]frame{{first: text, payload: "a"}, {first: fin | continuation, payload: "b"}, {first: continuation, payload: "c"}},
			`text "ab"; ` + stray,
		},
		{[]frame{{first: text, payload: "a"}, {first: fin | text, payload: "b"}}, within},
		{[]frame{{first: text, payload: "a"}, {first: bin, payload: "b"}}, within},
		{[]frame{{first: bin}, {first: fin | ping}, {first: fin | bin}}, `ping ""; ` + within},
	}, false, ws.Limits{})
}

func TestMasking(t *testing.T) {
	for _, tt := range []struct {
		frames []frame
		before string
	}{
		{[]frame{{first: fin | text, payload: "a"}, {first: fin | text, payload: "b", wrongMask: true}}, `text "a"; `},
		{[]frame{{first: fin | ping, wrongMask: true}}, ""},
		{[]frame{{first: text, payload: "a"}, {first: fin | continuation, payload: "b", wrongMask: true}}, ""},
	} {
		for role, why := range map[ws.Role]string{
			ws.FromClient: "1002 frame from a client without a mask",
			ws.FromServer: "1002 masked frame from a server",
		} {
			s := source{role: role, bytes: join(role, tt.frames)}
			if got, _ := s.everyWay(t); got != tt.before+why {
				t.Errorf("%v: %s", tt.frames, got)
			}
		}
	}
}

func TestCompressedMessages(t *testing.T) {
	const refused = "1002 a reserved bit is set"
	run(t, []row{
		{[]frame{{first: fin | rsv1 | text, payload: "\xff"}}, `text* "\xff"`}, // it is not looked at
		{[]frame{{first: fin | text, payload: "\xff"}}, "1007 text is not UTF-8"},
		{[]frame{{first: fin | text, payload: "a"}, {first: fin | rsv1 | bin}, {first: fin | text, payload: "b"}}, `text "a"; binary* ""; text "b"`},
		{
			[]frame{{first: rsv1 | text, payload: "\xff"}, {first: fin | ping}, {first: fin | continuation, payload: "\xfe"}, {first: fin | text, payload: "a"}},
			`ping ""; text* "\xff\xfe"; text "a"`,
		},
		{[]frame{{first: rsv1 | text, payload: "a"}, {first: fin | rsv1 | continuation, payload: "b"}}, refused},
		{[]frame{{first: text, payload: "a"}, {first: fin | rsv1 | continuation, payload: "b"}}, refused},
		{[]frame{{first: rsv1 | text, payload: "a"}, {first: fin | rsv1 | ping}}, refused},
		{[]frame{{first: fin | rsv1 | rsv2 | text}}, refused},
		{[]frame{{first: fin | rsv1 | continuation}}, "1002 continuation of no message"},
		{[]frame{{first: rsv1 | text}, {first: rsv1 | text}}, "1002 message within another"},
		{[]frame{{first: fin | rsv1 | 3}}, "1002 reserved opcode"},
	}, true, ws.Limits{})
}

func TestLimits(t *testing.T) {
	const frameLimit, messageLimit = "1009 frame too big", "1009 message too big"
	run(t, []row{
		{[]frame{{first: fin | text, payload: "Hello"}}, `text "Hello"`},
		{[]frame{{first: fin | text, payload: "Hello!"}}, frameLimit},
		{[]frame{{first: fin | text, announced: 6}}, frameLimit},
		{[]frame{{first: fin | bin, announced: math.MaxInt64}}, frameLimit},
		{[]frame{{first: text, payload: "Hello"}, {first: fin | continuation, payload: "Hello!"}}, frameLimit},
	}, false, ws.Limits{Frame: 5})
	run(t, []row{
		{[]frame{{first: fin | text, payload: "Hello"}, {first: fin | text, payload: "hello"}}, `text "Hello"; text "hello"`},
		{[]frame{{first: fin | text, payload: "Hello!"}}, messageLimit},
		{[]frame{{first: fin | rsv1 | text, announced: 5 + 128}}, `...`}, // what cannot be compressed becomes longer
		{[]frame{{first: fin | rsv1 | text, announced: 5 + 128 + 1}}, messageLimit},
		{[]frame{{first: text, payload: "Hel"}, {first: fin | ping, payload: "long enough"}, {first: fin | continuation, payload: "lo"}}, `ping "long enough"; text "Hello"`},
		{[]frame{{first: text, payload: "Hel"}, {first: fin | continuation, payload: "lo!"}}, messageLimit},
		{[]frame{{first: text, payload: "Hello"}, {first: continuation}, {first: fin | continuation, announced: 1}}, messageLimit},
		{[]frame{{first: text, payload: "Hello"}, {first: fin | continuation, announced: math.MaxInt64}}, messageLimit},
		{[]frame{{first: fin | text, announced: math.MaxInt64}}, messageLimit},
	}, true, ws.Limits{Message: 5})
	run(t, []row{
		{[]frame{{first: fin | text, payload: "Hello!"}}, frameLimit},
		{[]frame{{first: text, payload: "Hello"}, {first: continuation, payload: "Hel"}, {first: fin | continuation, payload: "l"}}, messageLimit},
	}, false, ws.Limits{Frame: 5, Message: 8})
	// Without limits the sum of lengths cannot wrap around.
	run(t, []row{{[]frame{{first: bin, payload: "a"}, {first: fin | continuation, announced: math.MaxInt64}}, messageLimit}}, false, ws.Limits{})
	run(t, []row{{[]frame{{first: fin | text, payload: "a"}}, `text "a"`}}, false, ws.Limits{Frame: math.MaxInt64, Message: math.MaxInt64})
}

// TestRefusedAtTheFirstWrongByte reads byte by byte.
func TestRefusedAtTheFirstWrongByte(t *testing.T) {
	eachRole(t, func(t *testing.T, role ws.Role) {
		head := 2
		if role == ws.FromClient {
			head = 6
		}
		for _, tt := range []struct {
			frames []frame
			at     int
		}{
			{[]frame{{first: fin | rsv2 | text}}, 1},
			{[]frame{{first: fin | rsv1 | text}}, 1},
			{[]frame{{first: fin | 3}}, 1},
			{[]frame{{first: fin | continuation}}, 1},
			{[]frame{{first: text}, {first: text}}, head + 1},
			{[]frame{{first: ping}}, 1},
			{[]frame{{first: fin | ping, announced: 126}}, 2},
			{[]frame{{first: fin | text, wrongMask: true}}, 2},
			{[]frame{{first: fin | text, announced: 11}}, head},
			{[]frame{{first: fin | text, form: 2}}, head + 2},
			{[]frame{{first: fin | text, form: 8}}, head + 8},
			{[]frame{{first: fin | text, payload: "abc\xffdef"}}, head + 4},
			{[]frame{{first: fin | text, payload: "abc\xc3"}}, head + 4},
			{[]frame{{first: text, payload: "\xe2\x82"}, {first: fin | continuation}}, 2*head + 2},
			{[]frame{{first: text, payload: "\xe2\x82"}, {first: fin | continuation, payload: "ab"}}, 2*head + 3},
		} {
			s := source{role: role, limits: ws.Limits{Frame: 10}, bytes: join(role, tt.frames)}
			if _, r := s.everyWay(t); r.err == nil || r.taken != tt.at {
				t.Errorf("%v: %v after %d bytes, want %d", tt.frames, r.err, r.taken, tt.at)
			}
		}
	})
}

func TestRestingBetweenMessages(t *testing.T) {
	eachRole(t, func(t *testing.T, role ws.Role) {
		frames := []frame{
			{first: fin | text, payload: "a"}, {first: fin | ping, payload: "b"}, {first: bin}, {first: fin | ping},
			{first: fin | continuation, payload: "c"}, {first: fin | bin},
		}
		ends := map[int]bool{}
		for _, n := range []int{0, 1, 2, 5, 6} {
			ends[len(join(role, frames[:n]))] = true
		}
		var d ws.Decoder
		d.Reset(role, false, ws.Limits{})
		for i, c := range []byte(join(role, frames)) {
			if d.Resting() != ends[i] {
				t.Errorf("after %d bytes, Resting is %v", i, d.Resting())
			}
			if d.Resting() {
				d.Reset(role, false, ws.Limits{}) // nothing is lost
			}
			if _, _, err := d.Next([]byte{c}); err != nil {
				t.Fatal(err)
			}
		}
		if !d.Resting() {
			t.Error("it is not resting after the end")
		}
	})
}

// TestAPingInPiecesOutlivesThePieces looks at a control frame after the pieces it
// came in were used again.
func TestAPingInPiecesOutlivesThePieces(t *testing.T) {
	var d ws.Decoder
	d.Reset(ws.FromServer, false, ws.Limits{})
	p := []byte("\x89\x05He")
	if part, n, err := d.Next(p); part.Opcode != 0 || n != 4 || err != nil {
		t.Fatal(part, n, err)
	}
	copy(p, "llo\x81")
	part, n, err := d.Next(p)
	if string(part.Data) != "Hello" || n != 3 || err != nil {
		t.Fatal(part, n, err)
	}
	copy(p, "xxxx")
	if string(part.Data) != "Hello" {
		t.Errorf("it became %q", part.Data)
	}
}

func TestLeftIsWhatIsToCome(t *testing.T) {
	var d ws.Decoder
	d.Reset(ws.FromServer, false, ws.Limits{})
	for _, tt := range []struct {
		p    string
		want int64
	}{{"\x02\x0a\x00", 9}, {"123", 6}, {"123456", 0}, {"\x80\x02a", 1}, {"b", 0}} {
		part, n, err := d.Next([]byte(tt.p))
		if part.Left != tt.want || n != len(tt.p) || err != nil {
			t.Errorf("after %q: %+v, %d, %v", tt.p, part, n, err)
		}
	}
}
