package http1_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/http1"
)

func TestEncoderFramesBodies(t *testing.T) {
	type call struct {
		data    string
		trailer []http1.Field // with data "": the end
		err     error
	}
	x := []http1.Field{{Name: []byte("X"), Value: []byte("y z")}, {Name: []byte("A"), Value: nil}}
	field := func(name, value string) []http1.Field {
		return []http1.Field{{Name: []byte(name), Value: []byte(value)}}
	}
	for _, tt := range []struct {
		name  string
		begin func(e *http1.Encoder)
		calls []call
		want  string
	}{
		{"nothing said", func(e *http1.Encoder) {}, []call{{data: "a", err: http1.ErrBodyNotAllowed}, {}}, ""},
		{"none", (*http1.Encoder).None, []call{{data: "a", err: http1.ErrBodyNotAllowed}, {}}, ""},
		{"fixed", func(e *http1.Encoder) { e.Fixed(5) }, []call{
			{err: http1.ErrBodyShort},
			{data: "hell"},
			{data: "o!", err: http1.ErrBodyLong},
			{err: http1.ErrBodyShort},
			{data: "o"},
			{data: "!", err: http1.ErrBodyLong},
			{trailer: x, err: http1.ErrTrailerNotAllowed},
			{},
			{data: "!", err: http1.ErrBodyNotAllowed},
			{},
		}, "hello"},
		{"fixed 0", func(e *http1.Encoder) { e.Fixed(0) }, []call{{data: "a", err: http1.ErrBodyLong}, {}}, ""},
		{"until close", (*http1.Encoder).UntilClose, []call{
			{data: "hello"},
			{trailer: x, err: http1.ErrTrailerNotAllowed},
			{data: ", world"},
			{},
			{data: "!", err: http1.ErrBodyNotAllowed},
		}, "hello, world"},
		{"chunked", (*http1.Encoder).Chunked, []call{
			{data: "hello"},
			{data: strings.Repeat("x", 26)},
			{trailer: field("", "a"), err: http1.ErrTrailerNotAllowed},
			{trailer: field("a b", "a"), err: http1.ErrTrailerNotAllowed},
			{trailer: field("a", "b\nc"), err: http1.ErrTrailerNotAllowed},
			{trailer: field("content-Length", "5"), err: http1.ErrTrailerNotAllowed},
			{trailer: x},
			{data: "!", err: http1.ErrBodyNotAllowed},
			{trailer: x, err: http1.ErrTrailerNotAllowed},
			{},
		}, "5\r\nhello\r\n1a\r\n" + strings.Repeat("x", 26) + "\r\n0\r\nX: y z\r\nA: \r\n\r\n"},
		{"chunked without a byte", (*http1.Encoder).Chunked, []call{{}, {}}, "0\r\n\r\n"},
	} {
		var e http1.Encoder
		tt.begin(&e)
		var dst []byte
		for i, c := range tt.calls {
			before, err := string(dst), error(nil)
			if c.data == "" {
				dst, err = e.End(dst, c.trailer)
			} else if dst, err = e.Data(dst, len(c.data)); err == nil {
				dst = e.AfterData(append(dst, c.data...))
			}
			if err != c.err || err != nil && string(dst) != before {
				t.Errorf("%s, call %d: %v, want %v; %q became %q", tt.name, i, err, c.err, before, dst)
			}
			if dst, err = e.Data(dst, 0); err != nil {
				t.Errorf("%s, call %d: nothing to send: %v", tt.name, i, err)
			}
		}
		if string(dst) != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, dst, tt.want)
		}
	}
}

func TestEncoderBeginsAnew(t *testing.T) {
	var e http1.Encoder
	e.Fixed(5)
	e.Chunked()
	if dst, err := e.End(nil, nil); string(dst) != "0\r\n\r\n" || err != nil {
		t.Errorf("%q, %v", dst, err)
	}
	e.Fixed(1)
	e.None()
	if dst, err := e.End(nil, nil); len(dst) != 0 || err != nil {
		t.Errorf("%q, %v", dst, err)
	}
}

func TestAppendLines(t *testing.T) {
	for _, tt := range []struct {
		got  []byte
		want string
	}{
		{http1.AppendRequestLine([]byte("|"), "GET", "/a"), "|GET /a HTTP/1.1\r\n"},
		{http1.AppendStatusLine([]byte("|"), 1, 404, ""), "|HTTP/1.1 404 Not Found\r\n"},
		{http1.AppendStatusLine(nil, 0, 200, "Fine"), "HTTP/1.0 200 Fine\r\n"},
		{http1.AppendStatusLine(nil, 1, 799, ""), "HTTP/1.1 799 \r\n"},
		{http1.AppendField([]byte("|"), "A", "b c"), "|A: b c\r\n"},
		{http1.AppendFieldBytes([]byte("|"), []byte("A"), nil), "|A: \r\n"},
	} {
		if string(tt.got) != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}

func TestStatusTextIsThatOfNetHTTP(t *testing.T) {
	for code := -1; code < 1100; code++ {
		if got, want := http1.StatusText(code), http.StatusText(code); got != want {
			t.Errorf("%d: %q, net/http %q", code, got, want)
		}
	}
}

func TestValidNamesValuesAndMethods(t *testing.T) {
	for c := range 256 {
		s := "a" + string([]byte{byte(c)})
		token := strings.IndexByte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", byte(c)) >= 0
		if http1.ValidName(s) != token || http1.ValidMethod(s) != token {
			t.Errorf("%q as a name: %v, as a method: %v", s, http1.ValidName(s), http1.ValidMethod(s))
		}
		if want := c == '\t' || c >= ' ' && c != 0x7f; http1.ValidValue(s) != want {
			t.Errorf("%q as a value: %v", s, !want)
		}
	}
	if http1.ValidName("") || http1.ValidMethod("") || !http1.ValidValue("") {
		t.Error("the empty string")
	}
}
