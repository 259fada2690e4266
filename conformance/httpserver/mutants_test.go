package httpserver

import (
	"math/rand/v2"
	"strings"
	"testing"
)

// framed are messages whose end depends on much.
var framed = []string{
	message("GET /a", "X: y"),
	upload("POST /a", "a body\r\n", "X: y"),
	chunked("POST /a", "a body\r\n", "X: y"),
	message("POST /a", "Transfer-Encoding: chunked", "Trailer: T") + "3;a=b\r\nabc\r\nA\r\n0123456789\r\n0\r\nT: 1\r\n\r\n",
	message("PUT /a", "Connection: keep-alive", "Content-Length: 10", "Expect: 100-continue") + "0123456789",
	"POST /a HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
	message("OPTIONS *", "Transfer-Encoding: chunked") + "1\r\na\r\n00\r\n\r\n",
	message("GET http://example.com/b?c", "Content-Length: 0"),
}

// pieces are what mutants are given: what is, or looks like, a part of framing.
var pieces = []string{
	"\r", "\n", "\r\n", "\r\n\r\n", " ", "\t", "\x00", "\x0b", "\x0c", "\x7f", "\x85", "\xa0", "\xff", ":", ",", ";", "=", "\"", "\\", "+", "-", "_", "0", "1", "9", "a", "x",
	"0x", "chunked", "identity", "gzip", "HTTP/1.0", "HTTP/1.1", "HTTP/1.2", "http/1.1", "0\r\n\r\n", "1\r\n", "ffffffffffffffff", "18446744073709551617",
	"Content-Length: 1\r\n", "content-length:4\r\n", "Content-Length: 1, 1\r\n", "Transfer-Encoding: chunked\r\n", "Transfer-encoding:\tchunked\r\n",
	"Transfer-Encoding: identity\r\n", "Transfer-Encoding: x, chunked\r\n", "Transfer-Encoding : chunked\r\n", " Transfer-Encoding: chunked\r\n", "Transfer_Encoding: chunked\r\n",
	"Host: b\r\n", "Host:\r\n", "Connection: close\r\n", "Connection: Transfer-Encoding\r\n", "Upgrade: h2c\r\n", "X: \r\n y\r\n", "Expect: 100-continue\r\n",
}

// mutate changes a message a little.
func mutate(r *rand.Rand, m string) string {
	for range 1 + r.IntN(2) {
		at := r.IntN(len(m) + 1)
		if r.IntN(2) == 0 { // where a line begins
			if i := strings.Index(m[at:], "\n"); i >= 0 {
				at += i + 1
			}
		}
		piece := pieces[r.IntN(len(pieces))]
		switch r.IntN(4) {
		case 0, 1:
			m = m[:at] + piece + m[at:]
		case 2:
			m = m[:at] + m[min(len(m), at+1+r.IntN(3)):]
		case 3:
			m = m[:at] + piece + m[min(len(m), at+len(piece)):]
		}
		if m == "" {
			return "\r\n"
		}
	}
	return m
}

// TestMutatedMessages: a server may refuse more than net/http, but whatever it
// reads, net/http reads the same.
func TestMutatedMessages(t *testing.T) {
	const mutants = 2000
	var sites []*site
	var readers []*reader
	for _, k := range kinds {
		rd, s := serveReader(t, k)
		readers = append(readers, rd)
		sites = append(sites, s)
	}
	behind := message("GET /next", "X-Next: 1")
	r := rand.New(rand.NewPCG(1, 2))
	for range mutants {
		m := mutate(r, framed[r.IntN(len(framed))])
		want := readers[0].read(t, sites[0], m+behind)
		for i, s := range sites[1:] {
			got := readers[i+1].read(t, s, m+behind)
			_, d, err := compare(m+behind, got, want)
			if err != nil && !d.stricter() && !(len(got.requests) > len(want.requests) && emptyLine(t, sites[0], readers[0], m, behind, got)) {
				t.Errorf("%v: %q\n%s: %v\n%s: %v", err, m+behind, s.kind, got, sites[0].kind, want)
			}
		}
	}
}
