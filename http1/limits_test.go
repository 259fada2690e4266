package http1_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/http1"
)

// TestLimits feeds streams that just keep a limit and streams that break it by
// one, in every way.
func TestLimits(t *testing.T) {
	const chunked = "POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||"
	for _, tt := range []struct {
		limits http1.Limits
		in     string
		want   *http1.Error
	}{
		{http1.Limits{Line: 15}, "GET /a HTTP/1.1|Host: a||", nil},
		{http1.Limits{Line: 14}, "GET /a HTTP/1.1|Host: a||", http1.ErrLineTooLong},
		{http1.Limits{Line: 15}, "||GET /a HTTP/1.1|Host: a||", nil},
		{http1.Limits{Line: 14}, "||GET /a HTTP/1.1|Host: a||", http1.ErrLineTooLong},
		{http1.Limits{Line: 14}, "GET /a HTTP/1.12", http1.ErrLineTooLong},
		{http1.Limits{Line: 14}, strings.Repeat("X", 30) + "|", http1.ErrLineTooLong},
		{http1.Limits{Line: 15}, "GET /a HTTP/1.1|Long: " + strings.Repeat("a", 99) + "|Host: a||", nil},
		{http1.Limits{Head: 28}, "GET /a HTTP/1.1|Host: a||", nil},
		{http1.Limits{Head: 28}, "||GET /a HTTP/1.1|Host: a||GET /b HTTP/1.1|Host: b||", nil},
		{http1.Limits{Head: 27}, "GET /a HTTP/1.1|Host: a||", http1.ErrHeadTooLarge},
		{http1.Limits{Head: 27}, "||GET /a HTTP/1.1|Host: a||", http1.ErrHeadTooLarge},
		{http1.Limits{Head: 20}, "GET /a HTTP/1.1|Host: a", http1.ErrHeadTooLarge},
		{http1.Limits{Head: 22}, "GET /a HTTP/1.1|A:\x00|Host: a", &http1.Error{Status: 400, Reason: "control character in a field value"}},
		{http1.Limits{Head: 35}, "GET /a HTTP/1.1|Content-Length: x|", http1.ErrHeadTooLarge},
		{http1.Limits{Head: 14}, "GET /a HTTP/1.1|Host: a||", http1.ErrLineTooLong},
		{http1.Limits{Fields: 2}, "GET / HTTP/1.1|Host: a|B:||", nil},
		{http1.Limits{Fields: 1}, "GET / HTTP/1.1|Host: a|B:||", http1.ErrTooManyFields},
		{http1.Limits{Fields: 2}, chunked + "0|A:|B:||", nil},
		{http1.Limits{Fields: 2}, chunked + "0|A:|B:|C:||", http1.ErrTooManyFields},
		{http1.Limits{Body: 5}, "POST / HTTP/1.1|Host: a|Content-Length: 5||hello", nil},
		{http1.Limits{Body: 4}, "POST / HTTP/1.1|Host: a|Content-Length: 5||", http1.ErrBodyTooLarge},
		{http1.Limits{Body: 5}, chunked + "2|he|3|llo|0||", nil},
		{http1.Limits{Body: 4}, chunked + "2|he|3|", http1.ErrBodyTooLarge},
		{http1.Limits{Body: 4}, chunked + "7fffffffffffffff|", http1.ErrBodyTooLarge},
		{http1.Limits{Trailer: 9}, chunked + "0|X: y|A:||", http1.ErrTrailerTooLarge},
		{http1.Limits{Trailer: 10}, chunked + "0|X: y|A:||", nil},
		{http1.Limits{Trailer: 9}, chunked + "0|X: " + strings.Repeat("y", 20), http1.ErrTrailerTooLarge},
		{http1.Limits{}, chunked + "0;" + strings.Repeat("a", 100) + "||", nil},
	} {
		s := source{limits: tt.limits, bytes: crlf(tt.in)}
		r := s.everyWay(t)
		if tt.want == nil {
			if r.err != nil {
				t.Errorf("%+v, %q: %v", tt.limits, tt.in, r.err)
			}
			continue
		}
		var e *http1.Error
		if !errors.As(r.err, &e) || *e != *tt.want {
			t.Errorf("%+v, %q: %v, want %v", tt.limits, tt.in, r.err, tt.want)
		}
	}
}

func TestBodyLimitOfABodyThatEndsWithTheConnection(t *testing.T) {
	s := source{responses: true, limits: http1.Limits{Body: 5}, bytes: crlf("HTTP/1.1 200 ||hello")}
	if r := s.everyWay(t); r.err != nil || r.seen[0].body != "hello" {
		t.Errorf("%v", r.outcome())
	}
	s.bytes += "!"
	if r := s.everyWay(t); r.err != http1.ErrBodyTooLarge || r.seen[0].body != "hello" {
		t.Errorf("%v", r.outcome())
	}
	s = source{responses: true, methods: []string{"HEAD"}, limits: http1.Limits{Body: 5}, bytes: crlf("HTTP/1.1 200 |Content-Length: 6||")}
	if r := s.everyWay(t); r.err != nil {
		t.Errorf("an answer to HEAD: %v", r.outcome())
	}
}

func TestDefaultLimits(t *testing.T) {
	const chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, tt := range []struct {
		name, before, unit string
		fits               int // units
		behind             string
		want               *http1.Error
	}{
		{"line", "GET /", "a", 64<<10 - 14, " HTTP/1.1\r\nHost: a\r\n\r\n", http1.ErrLineTooLong},
		{"head", "GET / HTTP/1.1\r\nHost: a\r\nX:", "a", 1<<20 - 31, "\r\n\r\n", http1.ErrHeadTooLarge},
		{"fields", "GET / HTTP/1.1\r\nHost: a\r\n", "X:\r\n", 999, "\r\n", http1.ErrTooManyFields},
		{"trailer", chunked + "0\r\nX:", "a", 64<<10 - 4, "\r\n\r\n", http1.ErrTrailerTooLarge},
		{"trailer fields", chunked + "0\r\n", "X:\r\n", 1000, "\r\n", http1.ErrTooManyFields},
		{"chunk extensions", chunked, "1;\"a\"\r\nx\r\n", 0, "0\r\n\r\n", nil},
		{"chunk extensions", chunked, "1;a=\"\"\r\nx\r\n", 16 << 10 / 5, "0\r\n\r\n", http1.ErrChunkExtensions},
		{"chunk digits", chunked, "0", 15, "\r\n\r\n", nil},
		{"size of a chunk", chunked + "1", "0", 14, "\r\n", nil},
	} {
		s := source{bytes: tt.before + strings.Repeat(tt.unit, tt.fits) + tt.behind}
		if r := s.read(t, s.bytes); r.err != nil && !strings.Contains(r.err.Error(), "ended in the middle") {
			t.Errorf("%s: %v for what fits", tt.name, r.err)
		}
		s.bytes = tt.before + strings.Repeat(tt.unit, tt.fits+1) + tt.behind
		if r := s.read(t, s.bytes); tt.want != nil && r.err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, r.err, tt.want)
		}
	}
}
