package ws_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/sluice-go/sluice/ws"
)

// mendable reports whether text can be continued so that it is UTF-8. A second
// byte is always one of 80 to 8F, 90 to 9F or A0 to BF, a later one any of them.
func mendable(s string, more int) bool {
	if utf8.ValidString(s) {
		return true
	}
	for _, c := range []string{"\x80", "\x90", "\xa0"} {
		if more > 0 && mendable(s+c, more-1) {
			return true
		}
	}
	return false
}

// refusedAt returns after how many bytes a text is refused: at the first that
// nothing behind it can mend, at the end if that is within a rune, when cut is
// true, or -1.
func refusedAt(s string) (at int, cut bool) {
	whole := 0 // bytes of whole runes
	for i := range len(s) {
		if !mendable(s[whole:i+1], 3) {
			return i + 1, false
		}
		if utf8.ValidString(s[whole : i+1]) {
			whole = i + 1
		}
	}
	if whole < len(s) {
		return len(s), true
	}
	return -1, false
}

// textStream returns a text in frames that end before the given places, with a
// ping after each, and where in the stream the bytes of the text lie.
func textStream(s string, cuts ...int) (stream string, at []int) {
	op, from := byte(text), 0
	for i, to := range append(cuts, len(s)) {
		f := frame{first: op, payload: s[from:to]}
		if i == len(cuts) {
			f.first |= fin
		}
		stream += f.bytes(ws.FromServer)
		for i := to - from; i > 0; i-- {
			at = append(at, len(stream)-i+1)
		}
		if f.first&fin == 0 {
			stream += frame{first: fin | ping}.bytes(ws.FromServer)
		}
		op, from = continuation, to
	}
	return stream, at
}

// checkText reads a text byte by byte, in frames of all kinds, and compares where it is
// refused, if at all.
func checkText(t *testing.T, s string, cuts ...int) {
	t.Helper()
	stream, at := textStream(s, cuts...)
	want, cut := refusedAt(s)
	src := source{role: ws.FromServer, bytes: stream}
	for _, r := range []*reading{src.read(t, singles(stream)...), src.read(t, stream)} {
		if (r.err != nil) != (want >= 0) || r.err != nil && r.err != ws.ErrNotUTF8 {
			t.Fatalf("%q, cut at %v: %v, but it is refused at %d", s, cuts, r.err, want)
		}
	}
	if want < 0 {
		return
	}
	r := src.read(t, singles(stream)...)
	wantTaken := at[want-1]
	if cut && len(cuts) > 0 && cuts[len(cuts)-1] == len(s) {
		wantTaken = len(stream) // its last frame is empty, and tells of the end
	}
	if r.taken != wantTaken {
		t.Fatalf("%q, cut at %v: refused after %d bytes of %q, want %d", s, cuts, r.taken, stream, wantTaken)
	}
}

// interesting are texts in the spirit of Autobahn's section 6, and where their
// ranges begin and end.
var interesting = []string{
	"", "Hello-µ@ßöäüàá-UTF-8!!", "κόσμε", "\u0000\u007f\u0080\u07ff\u0800\uffff\U00010000\U0010ffff",
	"\ud7ff\ue000\ufffd\ufffe\uffff", "\ufeffa", "\U0001ffff\U0002fffe", "a\x00b",
	"κόσμε\xed\xa0\x80edited", "κόσμε\xf4\x90\x80\x80edited", // surrogate, more than U+10FFFF
	"\xc0\xaf", "\xe0\x80\xaf", "\xe0\x9f\xbf", "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf", "\xc1\xbf", // overlong
	"\xf8\x88\x80\x80\x80", "\xfc\x84\x80\x80\x80\x80", "\xfe", "\xff", "\xfe\xfe\xff\xff", "\xf5\x80\x80\x80",
	"\xed\xa0\x80", "\xed\xbf\xbf", "\xed\xa0\x80\xed\xb0\x80", "\xed\x9f\xbf",
	"\x80", "\xbf", "\x80\xbf\x80", "a\x80", "\xc3\xa9\xa9", "\xe2\x82\xac\x80", "\xf0\x9f\x98\x80\x80",
	"\xc3", "\xe2", "\xe2\x82", "\xf0", "\xf0\x9f", "\xf0\x9f\x98", "abcdefgh\xf0\x9f\x98", // truncated
	"\xc3a", "\xe2a", "\xe2\x82a", "\xf0\x9f\x98a", "\xe2\xe2\x82\xac", "\xe2\x82\xe2\x82\xac", "\xf0\x9f\xf0\x9f\x98\x80",
}

func TestTextIsRefusedWhereNothingCanMendIt(t *testing.T) {
	for _, s := range interesting {
		checkText(t, s)
		for i := range len(s) + 1 {
			checkText(t, s, i)
			for j := i; j <= len(s); j++ {
				checkText(t, s, i, j)
			}
		}
	}
}

// TestEveryKindOfRune reads all pairs of bytes, and longer sequences of those that
// lie at the ends of ranges.
func TestEveryKindOfRune(t *testing.T) {
	for i := range 1 << 16 {
		checkText(t, string([]byte{byte(i >> 8), byte(i)}))
	}
	const leads = "\x7f\x80\xc2\xdf\xe0\xe1\xec\xed\xee\xef\xf0\xf1\xf3\xf4\xf5"
	const rest = "\x7f\x80\x8f\x90\x9f\xa0\xbf\xc0"
	for _, a := range []byte(leads) {
		for _, b := range []byte(rest) {
			for _, c := range []byte(rest) {
				checkText(t, string([]byte{a, b, c}), 1)
				for _, d := range []byte(rest) {
					checkText(t, string([]byte{a, b, c, d}))
					checkText(t, string([]byte{'a', a, b, c, d, 'b'}), 3)
				}
			}
		}
	}
}

// TestTextInPieces reads texts in three pieces of every size: what is wrong is
// refused within the piece that has its first wrong byte.
func TestTextInPieces(t *testing.T) {
	for _, s := range interesting {
		src := source{role: ws.FromServer, bytes: frame{first: fin | text, payload: s}.bytes(ws.FromServer)}
		if n, cut := refusedAt(s); n > 0 && !cut {
			r := src.read(t, src.bytes[:2+n])
			if r.err != ws.ErrNotUTF8 {
				t.Errorf("%q: %v after %d bytes", s, r.err, n)
			}
			if r = src.read(t, src.bytes[:2+n-1]); r.err != nil {
				t.Errorf("%q: %v before the wrong byte", s, r.err)
			}
		}
		want := "1007 text is not UTF-8"
		if utf8.ValidString(s) {
			want = ""
		}
		if got, _ := src.everyWay(t); (want != "" || strings.HasPrefix(got, "1")) && got != want {
			t.Errorf("%q: %s", s, got)
		}
	}
}
