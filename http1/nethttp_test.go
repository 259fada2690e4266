package http1_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// Whatever this package accepts net/http accepts, too, and reads the same. The
// exceptions are what net/http refuses with one of these errors: none of them is
// a message that it takes for another.
var refusedByNetHTTP = []string{
	// What stands in a target beyond its form is not read here; who reads
	// it refuses what is no URL.
	"parse ", "invalid URI for request",
	// Nor is the Trailer field, which announces trailer fields.
	"bad trailer key",
}

// removed are the fields that net/http takes out of the header section.
var removed = []string{"Host", "Transfer-Encoding", "Content-Length", "Trailer"}

// theirs is a message as net/http has read it.
type theirs struct {
	header  http.Header
	trailer *http.Header // filled in with the end of the body
	body    io.Reader
	close   bool
	length  int64
}

// inWords returns fields as net/http keeps them, without those removed.
func inWords(fields []string) string {
	h := make(http.Header)
	for f := range slices.Chunk(fields, 2) {
		h.Add(f[0], f[1])
	}
	for _, name := range removed {
		h.Del(name)
	}
	return fmt.Sprintf("%q", h)
}

// netHTTPRefuses skips the test if err is an exception, and fails it otherwise.
func netHTTPRefuses(t *testing.T, m message, err error) {
	for _, part := range refusedByNetHTTP {
		if strings.Contains(err.Error(), part) {
			t.Skip(err)
		}
	}
	t.Fatalf("%s\nnet/http: %v", m, err)
}

// agree compares a message with what net/http has read.
func agree(t *testing.T, m message, other theirs) {
	header := other.header.Clone()
	for _, name := range removed {
		header.Del(name)
	}
	if got, want := fmt.Sprintf("%q", header), inWords(m.fields); got != want {
		t.Errorf("%s\nnet/http has the fields %s, not %s", m, got, want)
	}
	if other.close != m.close || other.length != m.length {
		t.Errorf("%s\nnet/http has length %d, close %v", m, other.length, other.close)
	}
	body, err := io.ReadAll(other.body)
	if string(body) != m.body || (err == nil) != m.whole {
		t.Errorf("%s\nnet/http has the body %q, %v", m, body, err)
	}
	trailer := make(http.Header)
	for name, values := range *other.trailer {
		if values != nil { // otherwise it was announced and did not come
			trailer[name] = values
		}
	}
	if got, want := fmt.Sprintf("%q", trailer), inWords(m.trailer); err == nil && got != want {
		t.Errorf("%s\nnet/http has the trailer fields %s, not %s", m, got, want)
	}
}

// badBody reports whether m is a message that this package refused in its body.
func badBody(r *reading, m message) bool {
	return !m.whole && !errors.Is(r.err, io.ErrUnexpectedEOF)
}

func FuzzRequestsAgreeWithNetHTTP(f *testing.F) {
	for _, seed := range seedRequests() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		read := (&source{bytes: in}).read(t, in)
		br := bufio.NewReaderSize(strings.NewReader(in), 1<<20)
		for _, m := range read.seen {
			for c, err := br.Peek(2); err == nil && string(c) == "\r\n"; c, err = br.Peek(2) {
				br.Discard(2) // net/http takes no empty line in front of a request
			}
			req, err := http.ReadRequest(br)
			if err != nil {
				netHTTPRefuses(t, m, err)
			}
			host := ""
			for f := range slices.Chunk(m.fields, 2) {
				if strings.EqualFold(f[0], "Host") {
					host = f[1]
				}
			}
			if req.URL.Host != "" {
				host = req.URL.Host // in absolute-form; its case may differ
			}
			if req.Method != m.method || req.RequestURI != m.target || req.Host != host || req.ProtoAtLeast(1, 1) != (m.minor == 1) {
				t.Errorf("%s\nnet/http: %s %s %s, host %q", m, req.Method, req.RequestURI, req.Proto, req.Host)
			}
			if badBody(read, m) {
				return
			}
			agree(t, m, theirs{req.Header, &req.Trailer, req.Body, req.Close, req.ContentLength})
		}
	})
}

func FuzzResponsesAgreeWithNetHTTP(f *testing.F) {
	for _, tt := range responses {
		// net/http leaves it to its client that CONNECT may begin a tunnel.
		if tt.methods != "CONNECT" {
			f.Add(crlf(tt.in), tt.methods == "HEAD")
		}
	}
	f.Fuzz(func(t *testing.T, in string, head bool) {
		s := source{responses: true, bytes: in}
		req := &http.Request{Method: "GET"}
		if head {
			req.Method = "HEAD"
			s.methods = slices.Repeat([]string{"HEAD"}, len(in))
		}
		read := s.read(t, in)
		br := bufio.NewReaderSize(strings.NewReader(in), 1<<20)
		for _, m := range read.seen {
			res, err := http.ReadResponse(br, req)
			if err != nil {
				netHTTPRefuses(t, m, err)
			}
			status := strings.TrimSpace(fmt.Sprintf("%03d %s", m.status, m.reason))
			if res.StatusCode != m.status || strings.TrimSpace(res.Status) != status || res.ProtoAtLeast(1, 1) != (m.minor == 1) {
				t.Errorf("%s\nnet/http: %s %s", m, res.Proto, res.Status)
			}
			if badBody(read, m) {
				return
			}
			other := theirs{res.Header, &res.Trailer, res.Body, res.Close, res.ContentLength}
			if m.length == 0 {
				other.length = 0 // of a body that does not come, net/http tells the length
			}
			agree(t, m, other)
		}
	})
}
