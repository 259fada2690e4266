package ws_test

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-go/sluice/ws"
)

func TestHeadersAreReadAsTheyAreWritten(t *testing.T) {
	for _, n := range []int64{0, 1, 125, 126, 127, 65535, 65536, 1 << 31, 1 << 32, math.MaxInt64} {
		for flags := range 8 {
			for _, op := range []ws.Opcode{ws.Continuation, ws.Text, ws.Binary, ws.Close, ws.Ping, ws.Pong} {
				h := ws.Header{Opcode: op, Length: n, Fin: flags&1 != 0, Compressed: flags&2 != 0, Masked: flags&4 != 0}
				f := frame{first: byte(op), announced: uint64(n), wrongMask: h.Masked}
				if h.Masked {
					h.Key = binary.LittleEndian.Uint32(testKey[:])
				}
				if h.Fin {
					f.first |= fin
				}
				if h.Compressed {
					f.first |= rsv1
				}
				got := h.Append([]byte("before"))
				if want := "before" + f.bytes(ws.FromServer); string(got) != want || len(got) > 6+ws.MaxHeader {
					t.Errorf("%+v: %q, want %q", h, got, want)
				}
			}
		}
	}
}

func TestMaskIsThatOfTheRFC(t *testing.T) {
	buffer := make([]byte, 300)
	for size := range 150 {
		for pos := range 9 {
			for align := range 9 {
				for i := range buffer {
					buffer[i] = byte(i * 7)
				}
				ws.Mask(binary.LittleEndian.Uint32(testKey[:]), pos, buffer[align:align+size])
				for i, c := range buffer {
					want := byte(i * 7)
					if i >= align && i < align+size {
						want ^= testKey[(pos+i-align)%4]
					}
					if c != want {
						t.Fatalf("%d bytes, offset %d, alignment %d: byte %d is %x, want %x", size, pos, align, i, c, want)
					}
				}
			}
		}
	}
}

func TestOpcodes(t *testing.T) {
	names := map[ws.Opcode]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
	for op := range ws.Opcode(16) {
		want := names[op]
		if want == "" {
			want = "reserved"
		}
		if op.String() != want || op.IsControl() != (op >= 8) {
			t.Errorf("%d is %v, %v", op, op, op.IsControl())
		}
	}
}

// TestCloseFrames reads the payloads of Autobahn's section 7.
func TestCloseFrames(t *testing.T) {
	code := func(s ws.Status) string { return string(binary.BigEndian.AppendUint16(nil, uint16(s))) }
	x := strings.Repeat("*", 123)
	for _, tt := range []struct {
		payload string
		status  ws.Status
		reason  string
		refused ws.Status
	}{
		{"", ws.NoStatus, "", 0},
		{"\x03", 0, "", ws.ProtocolError},
		{"\xff", 0, "", ws.ProtocolError},
		{code(1000), 1000, "", 0},
		{code(1000) + "Hello World!", 1000, "Hello World!", 0},
		{code(1000) + x, 1000, x, 0},
		{code(4999) + "κόσμε", 4999, "κόσμε", 0},
		{code(1000) + "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited", 0, "", ws.InvalidPayload},
		{code(1000) + "\xe2\x82", 0, "", ws.InvalidPayload},
		{code(1005) + "\xff", 0, "", ws.ProtocolError},
	} {
		s, reason, err := ws.ParseClose([]byte(tt.payload))
		if s != tt.status || string(reason) != tt.reason || status(err) != tt.refused {
			t.Errorf("%q: %d, %q, %v", tt.payload, s, reason, err)
		}
		if again := ws.AppendClose([]byte("x"), s, string(reason)); err == nil && string(again) != "x"+tt.payload {
			t.Errorf("%q became %q", tt.payload, again)
		}
	}
}

func TestStatusesThatMayBeSent(t *testing.T) {
	may := func(s int) bool {
		return s >= 1000 && s <= 1003 || s >= 1007 && s <= 1014 || s >= 3000 && s <= 4999
	}
	for s := range 1 << 16 {
		if got := ws.Status(s).Sendable(); got != may(s) {
			t.Errorf("Sendable of %d is %v", s, got)
		}
		_, _, err := ws.ParseClose([]byte{byte(s >> 8), byte(s)})
		if want := map[bool]ws.Status{false: ws.ProtocolError}[may(s)]; status(err) != want {
			t.Errorf("ParseClose of %d returns %v", s, err)
		}
	}
}

func TestReasonsAreMadeToFit(t *testing.T) {
	for _, tt := range []struct{ reason, want string }{
		{strings.Repeat("a", 123), strings.Repeat("a", 123)},
		{strings.Repeat("a", 124), strings.Repeat("a", 123)},
		{strings.Repeat("a", 122) + "é", strings.Repeat("a", 122)},
		{strings.Repeat("a", 121) + "é!", strings.Repeat("a", 121) + "é"},
		{strings.Repeat("€", 50), strings.Repeat("€", 41)},
		{"a\xffb\xe2\x82", "a\ufffdb\ufffd\ufffd"},
		{strings.Repeat("\xff", 200), strings.Repeat("\ufffd", 41)},
	} {
		p := ws.AppendClose(nil, ws.GoingAway, tt.reason)
		s, reason, err := ws.ParseClose(p)
		if s != ws.GoingAway || string(reason) != tt.want || err != nil || len(p) > 125 {
			t.Errorf("%q: %d, %q, %v", tt.reason, s, reason, err)
		}
	}
	if p := ws.AppendClose(nil, ws.NoStatus, "why"); len(p) > 0 {
		t.Errorf("without a status there is %q", p)
	}
}

func TestErrorsFitIntoACloseFrame(t *testing.T) {
	for _, e := range ws.Errors {
		if !e.Status.Sendable() || len(e.Reason) > ws.MaxReason || !utf8.ValidString(e.Reason) || e.Reason == "" {
			t.Errorf("%v does not", e)
		}
	}
	if got := ws.ErrMessageLimit.Error(); got != "ws: message too big (1009)" {
		t.Error(got)
	}
}

func TestHandshake(t *testing.T) {
	const key, accept = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" // those of RFC 6455 1.3
	if got := ws.AcceptKey(key); got != accept {
		t.Errorf("AcceptKey returns %q", got)
	}
	seen := map[string]bool{}
	for range 100 {
		k := ws.NewKey()
		if raw, err := base64.StdEncoding.DecodeString(k); len(raw) != 16 || err != nil || !ws.ValidKey(k) || seen[k] {
			t.Fatalf("NewKey returns %q", k)
		}
		seen[k] = true
	}
	for key, want := range map[string]bool{
		key: true, "AQIDBAUGBwgJCgsMDQ4PEC==": true, "": false, "AQIDBAUGBwgJCgsMDQ4P": false, key + "=": false, key[:23]: false,
		"AQIDBAUGBwgJCgsMDQ4PEBE=": false, "AQIDBAUGBwgJCgsMDQ4PEBES": false, "AQIDBAUGBwgJCgsMDQ4P-A==": false,
		"AQIDBAUGBwgJCgsMDQ4\n\nA==": false, " QIDBAUGBwgJCgsMDQ4PEC==": false,
	} {
		if ws.ValidKey(key) != want {
			t.Errorf("ValidKey of %q is %v", key, !want)
		}
	}
}

func TestTokensInLists(t *testing.T) {
	for _, tt := range []struct {
		list, token string
		want        bool
	}{
		{"Upgrade", "upgrade", true},
		{"keep-alive, Upgrade", "upgrade", true},
		{",\t upGRADE\t,x", "upgrade", true},
		{"", "upgrade", false},
		{"upgrades, xupgrade, up grade", "upgrade", false},
		{"WebSocket", "websocket", true},
		{"webSoc\u212aet", "websocket", false}, // the Kelvin sign folds into a K
		{"web\u017focket", "websocket", false},
	} {
		if got := ws.HasToken(tt.list, tt.token); got != tt.want {
			t.Errorf("%q has %q: %v", tt.list, tt.token, got)
		}
	}
}
