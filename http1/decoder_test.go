package http1_test

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/http1"
)

func TestAWholeMessageCostsNoAllocation(t *testing.T) {
	request := []byte(crlf("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|0||"))
	var d http1.Decoder
	var h http1.Head
	read := func() {
		n, err := d.Head(request, &h)
		for p := request[n:]; err == nil && !d.Done(); p = p[n:] {
			_, n, err = d.Body(p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n != 0 {
		t.Errorf("%v allocations for a message that comes whole", n)
	}
}

func TestAHeadInTwoPiecesCostsOneAllocation(t *testing.T) {
	request := []byte(crlf("GET / HTTP/1.1|Host: a|X: b|Y: c||"))
	var d http1.Decoder
	var h http1.Head
	read := func() {
		if n, err := d.Head(request[:len(request)-5], &h); n != 0 || err != nil {
			t.Fatal(n, err)
		}
		if n, err := d.Head(request, &h); n != len(request) || err != nil {
			t.Fatal(n, err)
		}
	}
	read()
	if n := testing.AllocsPerRun(100, read); n != 1 {
		t.Errorf("%v allocations", n)
	}
}

func TestConnectionsShareAHead(t *testing.T) {
	requests := [2]string{
		crlf("GET /first HTTP/1.1|Host: first|X: 1||"),
		crlf("POST /second HTTP/1.0|Longer-Name: longer value|Other: field|Host: second|Content-Length: 0||"),
	}
	var want [2]string
	for c, r := range requests {
		want[c] = (&source{bytes: r}).read(t, r).seen[0].head
	}
	var h http1.Head
	for i := range len(requests[0]) {
		for j := range len(requests[1]) {
			var d [2]http1.Decoder
			d[0].Head([]byte(requests[0][:i]), &h)
			d[1].Head([]byte(requests[1][:j]), &h)
			for c, r := range requests {
				if n, err := d[c].Head([]byte(r), &h); n != len(r) || err != nil || describe(&h).head != want[c] {
					t.Fatalf("split at %d and %d: %d, %v, %s, want %s", i, j, n, err, describe(&h).head, want[c])
				}
			}
		}
	}
}

func TestFieldsThatMayNotComeAfterTheBody(t *testing.T) {
	for _, name := range strings.Fields("Authorization Cache-Control CONNECTION Content-Encoding Content-Length Content-Range Content-Type " +
		"Cookie Expect Host If-Match if-none-match Keep-Alive Max-Forwards Pragma Proxy-Authenticate Proxy-Authorization " +
		"Proxy-Connection Range Set-Cookie TE Trailer Transfer-Encoding Upgrade WWW-Authenticate") {
		s := source{bytes: crlf("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0|X: y|" + name + ": z||")}
		if r := s.read(t, s.bytes); r.err != http1.ErrTrailerField {
			t.Errorf("%s: read: %v", name, r.err)
		}
		var e http1.Encoder
		e.Chunked()
		if dst, err := e.End(nil, []http1.Field{{Name: []byte(name)}}); len(dst) != 0 || err != http1.ErrTrailerNotAllowed {
			t.Errorf("%s: written: %q, %v", name, dst, err)
		}
	}
}

func TestFieldsCannotBeAppendedToByMistake(t *testing.T) {
	var d http1.Decoder
	var h http1.Head
	request := crlf("GET / HTTP/1.1|Host: a|X: b||")
	p := []byte(request)
	if _, err := d.Head(p, &h); err != nil {
		t.Fatal(err)
	}
	lent := [][]byte{h.Method, h.Target, h.Host}
	for _, f := range h.Fields {
		lent = append(lent, f.Name, f.Value)
	}
	for _, b := range lent {
		_ = append(b, '!')
	}
	if string(p) != request {
		t.Errorf("%q", p)
	}
}

func TestAnsweringIsForOneFinalResponse(t *testing.T) {
	for _, status := range []string{"101", "200", "304"} {
		var d http1.Decoder
		var h http1.Head
		d.ResetResponses(nil)
		d.Answering("HEAD")
		for _, in := range []string{"HTTP/1.1 100 ||", "HTTP/1.1 " + status + " |Content-Length: 1||"} {
			if _, err := d.Head([]byte(crlf(in)), &h); err != nil || !d.Done() {
				t.Fatalf("%q: %v, Done %v", in, err, d.Done())
			}
		}
		if _, err := d.Head([]byte(crlf("HTTP/1.1 200 |Content-Length: 1||")), &h); err != nil || h.Length != 1 {
			t.Errorf("after %s: %v, length %d", status, err, h.Length)
		}
	}
}

func TestChunkExtensionsAreCountedPerBody(t *testing.T) {
	one := crlf("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0;") + strings.Repeat("a", 10<<10) + "\r\n\r\n"
	s := source{bytes: one + one}
	if r := s.read(t, s.bytes); r.err != nil || len(r.seen) != 2 {
		t.Errorf("%d messages, %v", len(r.seen), r.err)
	}
}

func TestEncoderDoesNotAllocate(t *testing.T) {
	buf := make([]byte, 0, 1024)
	x := []http1.Field{{Name: []byte("Grpc-Status"), Value: []byte("0")}}
	if n := testing.AllocsPerRun(100, func() {
		var e http1.Encoder
		b := http1.AppendStatusLine(buf, 1, 200, "")
		b = http1.AppendField(b, "Transfer-Encoding", "chunked")
		e.Chunked()
		b, _ = e.Data(b, 100)
		b, err := e.End(e.AfterData(b), x)
		if err != nil || len(b) == 0 {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestResetForgetsEverything(t *testing.T) {
	var d http1.Decoder
	var h http1.Head
	for _, before := range []string{
		"GET / HT", "GET / HTTP/1.1|Host: b|X: y", "POST / HTTP/1.1|Host: b|Content-Length: 7||",
		"POST / HTTP/1.1|Host: b|Transfer-Encoding: chunked||", "bad|",
	} {
		d.Head([]byte(crlf(before)), &h)
		d.Reset(nil)
		if d.Started() || d.Done() || d.Remaining() != 0 || d.EOF() != nil {
			t.Errorf("after %q: Started %v, Done %v, Remaining %d", before, d.Started(), d.Done(), d.Remaining())
		}
		request := []byte(crlf("GET /a HTTP/1.1|Host: a||"))
		if n, err := d.Head(request, &h); n != len(request) || err != nil || string(h.Target) != "/a" || len(h.Fields) != 1 || !d.Done() {
			t.Errorf("after %q: %d, %v, %q", before, n, err, h.Fields)
		}
	}
}

func TestHeadIsForTheNextMessageOnly(t *testing.T) {
	var d http1.Decoder
	var h http1.Head
	if _, err := d.Head([]byte(crlf("POST / HTTP/1.1|Host: a|Content-Length: 1||")), &h); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if recover() == nil {
			t.Error("Head in a body did not panic")
		}
	}()
	d.Head([]byte("a"), &h)
}

func TestBodyTakesNothingOutsideABody(t *testing.T) {
	var d http1.Decoder
	var h http1.Head
	for range 2 {
		if data, n, err := d.Body([]byte("a")); len(data) != 0 || n != 0 || err != nil {
			t.Errorf("%q, %d, %v", data, n, err)
		}
		if _, err := d.Head([]byte(crlf("GET / HTTP/1.1|Host: a||")), &h); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRemainingCountsDown(t *testing.T) {
	var d http1.Decoder
	var h http1.Head
	if _, err := d.Head([]byte(crlf("POST / HTTP/1.1|Host: a|Content-Length: 3||")), &h); err != nil {
		t.Fatal(err)
	}
	var got []int64
	for range 3 {
		got = append(got, d.Remaining())
		d.Body([]byte("x"))
	}
	if got = append(got, d.Remaining()); !slices.Equal(got, []int64{3, 2, 1, 0}) || !d.Done() {
		t.Errorf("%v, Done %v", got, d.Done())
	}
}

func TestTrailerIsThereFromTheEndToTheNextHead(t *testing.T) {
	var d http1.Decoder
	var h http1.Head
	if _, err := d.Head([]byte(crlf("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||")), &h); err != nil {
		t.Fatal(err)
	}
	if _, _, err := d.Body([]byte(crlf("0|X: y|"))); err != nil || d.Trailer() != nil {
		t.Fatalf("before the end: %v, %v", d.Trailer(), err)
	}
	if _, _, err := d.Body([]byte(crlf("|"))); err != nil || len(d.Trailer()) != 1 {
		t.Fatalf("at the end: %v, %v", d.Trailer(), err)
	}
	if d.EOF() != nil || len(d.Trailer()) != 1 {
		t.Error("the peer's end took it away")
	}
	if d.Head([]byte("G"), &h); d.Trailer() != nil {
		t.Error("it is there in the next message")
	}
}

func TestErrorsAreErrors(t *testing.T) {
	var d http1.Decoder
	var h http1.Head
	_, err := d.Head([]byte("GET / HTTP/3.0\r\n"), &h)
	var e *http1.Error
	if !errors.Is(err, http1.ErrVersion) || !errors.As(err, &e) || e.Status != 505 || err.Error() != "http1: HTTP version is not 1.x" {
		t.Errorf("%v", err)
	}
	d.Reset(nil)
	d.Head([]byte("G"), &h)
	if err := d.EOF(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
}
