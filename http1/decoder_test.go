package http1_test

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/sluice-go/sluice/http1"
)

func TestDecoderIsSmallBetweenMessages(t *testing.T) {
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
