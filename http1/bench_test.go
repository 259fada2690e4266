package http1_test

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/http1"
)

// benchRequests are what the benchmarks read: what a load generator sends, and
// what a browser does.
var benchRequests = []struct{ name, request string }{
	{"plain", "GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: bench/1.0\r\nConnection: keep-alive\r\n\r\n"},
	{"browser", "GET /search?q=event+loop&page=2 HTTP/1.1\r\nHost: www.example.com\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n" +
		"Accept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n" +
		"Referer: https://www.example.com/search?q=loop\r\nConnection: keep-alive\r\n" +
		"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; consent=1\r\n" +
		"Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n\r\n"},
}

func BenchmarkHead(b *testing.B) {
	for _, r := range benchRequests {
		b.Run(r.name, func(b *testing.B) {
			p := []byte(r.request)
			var d http1.Decoder
			var h http1.Head
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				if n, err := d.Head(p, &h); n != len(p) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

// BenchmarkNetHTTP is what BenchmarkHead is to be compared with.
func BenchmarkNetHTTP(b *testing.B) {
	for _, r := range benchRequests {
		b.Run(r.name, func(b *testing.B) {
			src := strings.NewReader(r.request)
			br := bufio.NewReader(src)
			b.SetBytes(int64(len(r.request)))
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(r.request)
				br.Reset(src)
				if _, err := http.ReadRequest(br); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkChunked(b *testing.B) {
	head := []byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	body := bytes.Repeat([]byte("1000\r\n"+strings.Repeat("x", 4096)+"\r\n"), 16)
	body = append(body, "0\r\n\r\n"...)
	var d http1.Decoder
	var h http1.Head
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.Head(head, &h); err != nil {
			b.Fatal(err)
		}
		for p := body; !d.Done(); {
			_, n, err := d.Body(p)
			if err != nil {
				b.Fatal(err)
			}
			p = p[n:]
		}
	}
}
