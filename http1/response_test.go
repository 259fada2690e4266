package http1_test

import (
	"strings"
	"testing"
)

// responses are streams of responses, the methods of the requests that they
// answer, and what is read of them. A vertical bar is CR LF.
var responses = []struct{ methods, in, want string }{
	{"", "", ""},
	{"", "HTTP/1.1 200 OK|Content-Length: 2||hi", `1.1 200 "OK" ["Content-Length" "2"] length=2 body="hi"`},
	{"", "HTTP/1.1 200 OK|Content-Length: 2||h", `1.1 200 "OK" ["Content-Length" "2"] length=2 body="h" cut` + "\nunexpected end"},
	{"", "HTTP/1.1 200 OK|Content-Length: 2||", `1.1 200 "OK" ["Content-Length" "2"] length=2 body="" cut` + "\nunexpected end"},
	{"", "HTTP/1.1 200 OK|Content-Length: 2|", "unexpected end"},
	{"", "H", "unexpected end"},
	{"", "HTTP/1.0 999 \xe9\t a||to the end", `1.0 999 "\xe9\t a" [] length=-1 close body="to the end"`},
	{"", "HTTP/1.0 200 |Connection: keep-alive||", `1.0 200 "" ["Connection" "keep-alive"] length=-1 close body=""`},
	{"", "HTTP/1.0 200 |Connection: keep-alive|Content-Length: 0||", `1.0 200 "" ["Connection" "keep-alive" "Content-Length" "0"] body=""`},
	{"", "HTTP/1.3 200||", `1.1 200 "" [] length=-1 close body=""`},
	{
		"", "HTTP/1.1 200 |Transfer-Encoding: chunked||3|abc|0|X: y||HTTP/1.1 204 ||",
		`1.1 200 "" ["Transfer-Encoding" "chunked"] length=-1 chunked body="abc" trailer=["X" "y"]` + "\n" + `1.1 204 "" [] body=""`,
	},
	{"", "HTTP/1.1 200 |Transfer-Encoding: chunked||3|abc|", `1.1 200 "" ["Transfer-Encoding" "chunked"] length=-1 chunked body="abc" cut` + "\nunexpected end"},
	{
		"HEAD GET", "HTTP/1.1 100 |Content-Length: 5||HTTP/1.1 103 ||HTTP/1.1 200 |Content-Length: 5||HTTP/1.1 200 |Content-Length: 1||a",
		`1.1 100 "" ["Content-Length" "5"] body=""` + "\n" + `1.1 103 "" [] body=""` + "\n" +
			`1.1 200 "" ["Content-Length" "5"] body=""` + "\n" + `1.1 200 "" ["Content-Length" "1"] length=1 body="a"`,
	},
	{"HEAD", "HTTP/1.1 200 |Transfer-Encoding: chunked||", `1.1 200 "" ["Transfer-Encoding" "chunked"] body=""`},
	{"HEAD", "HTTP/1.1 200 ||", `1.1 200 "" [] body=""`},
	{"head", "HTTP/1.1 200 |Content-Length: 1||a", `1.1 200 "" ["Content-Length" "1"] length=1 body="a"`},
	{"", "HTTP/1.1 304 |Content-Length: 5||HTTP/1.1 204 |Content-Length: 5||", `1.1 304 "" ["Content-Length" "5"] body=""` + "\n" +
		`1.1 204 "" ["Content-Length" "5"] body=""`},
	{"", "HTTP/1.1 101 |Connection: upgrade|Upgrade: x||", `1.1 101 "" ["Connection" "upgrade" "Upgrade" "x"] upgrade body=""`},
	{"CONNECT", "HTTP/1.1 200 |Content-Length: 5||", `1.1 200 "" ["Content-Length" "5"] body=""`},
	{"CONNECT", "HTTP/1.1 407 |Content-Length: 1||a", `1.1 407 "" ["Content-Length" "1"] length=1 body="a"`},
	{"", "HTTP/1.1 204 |Host: not a host|Host:|Expect: x||", `1.1 204 "" ["Host" "not a host" "Host" "" "Expect" "x"] body=""`},
	{"", "HTTP/1.1 200 |Content-Length: 1|Content-Length: 1||a", framingWrong},
	{"", "HTTP/1.1 200 |Content-Length: 1|Transfer-Encoding: chunked||0||", framingWrong},
	{"", "HTTP/1.0 200 |Transfer-Encoding: chunked||0||", framingWrong},
	{"HEAD", "HTTP/1.1 200 |Transfer-Encoding: gzip||", codingUnknown},
	{"", "|HTTP/1.1 200 ||", "400 malformed request line"},
	{"", "HTTP/1.1 20||", "400 malformed status line"},
	{"", "HTTP/1.1 2000||", "400 malformed status line"},
	{"", "HTTP/1.1 099 ||", "400 malformed status line"},
	{"", "HTTP/1.1 2a0 ||", "400 malformed status line"},
	{"", "HTTP/1.1  200 ||", "400 malformed status line"},
	{"", "HTTP/1.1 +20 ||", "400 malformed status line"},
	{"", "HTTP/1.1 200 a\x00||", "400 malformed status line"},
	{"", "HTTP/1.1 200 a\r||", "400 malformed status line"},
	{"", "HTTP/1.1 200 OK\n|", "400 line does not end with CR LF"},
	{"", "HTTP/2.0 200 ||", "505 HTTP version is not 1.x"},
	{"", "http/1.1 200 ||", "400 malformed HTTP version"},
	{"", "ICY 200 OK|||||", "400 malformed status line"},
	{"", "HTTP/1.1 200 |X: y| z||", "400 line begins with a space or a tab"},
}

// TestResponses feeds each stream in every way.
func TestResponses(t *testing.T) {
	for _, tt := range responses {
		s := source{bytes: crlf(tt.in), responses: true, methods: strings.Fields(tt.methods)}
		if got := strings.TrimSuffix(s.everyWay(t).outcome(), "\n"); got != tt.want {
			t.Errorf("%q:\n%s\nwant\n%s", s.bytes, got, tt.want)
		}
	}
}
