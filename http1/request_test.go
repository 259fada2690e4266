package http1_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/http1"
)

// crlf makes the bytes of a message of lines that are easier to read.
func crlf(s string) string { return strings.ReplaceAll(s, "|", "\r\n") }

// accepted are streams of requests and what is read of them. A vertical bar is
// CR LF.
var accepted = []struct{ in, want string }{
	{"", ""},
	{"|", ""},
	{"||", ""},
	{"GET / HTTP/1.1|Host: a||", `GET / 1.1 ["Host" "a"] host="a" body=""`},
	{"||GET / HTTP/1.1|Host: a|||", `GET / 1.1 ["Host" "a"] host="a" body=""`},
	{"GET / HTTP/1.0||", `GET / 1.0 [] close body=""`},
	{"GET / HTTP/1.9|Host:||", `GET / 1.1 ["Host" ""] host="" body=""`},
	{"M-$ /\xc3\xa9?\\^`{} HTTP/1.1|hOsT:\t a:80 \t||", "M-$ /\xc3\xa9?\\^`{} 1.1 " + `["hOsT" "a:80"] host="a:80" body=""`},
	{"OPTIONS * HTTP/1.1|Host: [::1]||", `OPTIONS * 1.1 ["Host" "[::1]"] host="[::1]" body=""`},
	{"GET http://a.b:8/c HTTP/1.1|Host: A.b:8||", `GET http://a.b:8/c 1.1 ["Host" "A.b:8"] host="A.b:8" body=""`},
	{"GET http://a:80 HTTP/1.1|Host: A||", `GET http://a:80 1.1 ["Host" "A"] host="A" body=""`},
	{"GET HTTPS://a HTTP/1.1|Host: a:443||", `GET HTTPS://a 1.1 ["Host" "a:443"] host="a:443" body=""`},
	{"GET x+1-y.z://[::1]?q HTTP/1.0||", `GET x+1-y.z://[::1]?q 1.0 [] close body=""`},
	{"CONNECT a:443 HTTP/1.1|Host: a|Content-Length: 0||", `CONNECT a:443 1.1 ["Host" "a" "Content-Length" "0"] host="a" body=""`},
	{
		"GET / HTTP/1.1|Host: a|X: \x80\xff \t\"'||",
		`GET / 1.1 ["Host" "a" "X" "\x80\xff \t\"'"] host="a" body=""`,
	},
	{"GET / HTTP/1.1|A:|A: |B:1|Host: a%2Db||", `GET / 1.1 ["A" "" "A" "" "B" "1" "Host" "a%2Db"] host="a%2Db" body=""`},
	{
		"POST / HTTP/1.1|Host: a|Content-Length: 5||helloPUT /b HTTP/1.1|Host: b|content-length: 02||hi",
		`POST / 1.1 ["Host" "a" "Content-Length" "5"] length=5 host="a" body="hello"` + "\n" +
			`PUT /b 1.1 ["Host" "b" "content-length" "02"] length=2 host="b" body="hi"`,
	},
	{
		"POST / HTTP/1.1|Host: a|Content-Length: 9223372036854775807||hello",
		`POST / 1.1 ["Host" "a" "Content-Length" "9223372036854775807"] length=9223372036854775807 host="a" body="hello" cut` +
			"\nunexpected end",
	},
	{
		"POST / HTTP/1.1|Host: a|Transfer-Encoding: CHUNKED \t||5|hello|00a|, chunked!|0||GET /b HTTP/1.0||",
		`POST / 1.1 ["Host" "a" "Transfer-Encoding" "CHUNKED"] length=-1 chunked host="a" body="hello, chunked!"` + "\n" +
			`GET /b 1.0 [] close body=""`,
	},
	{
		"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||0;a;b=c;d=\"e;f\\\"\t\\\\ \x80\";g|X: y|A-b:\t||",
		`POST / 1.1 ["Host" "a" "Transfer-Encoding" "chunked"] length=-1 chunked host="a" body="" trailer=["X" "y" "A-b" ""]`,
	},
	{"GET / HTTP/1.1|Host: a|Connection: x, CLOSE ,||", `GET / 1.1 ["Host" "a" "Connection" "x, CLOSE ,"] close host="a" body=""`},
	{"GET / HTTP/1.1|Host: a|Connection: closed||", `GET / 1.1 ["Host" "a" "Connection" "closed"] host="a" body=""`},
	{"GET / HTTP/1.0|Connection: Keep-Alive||", `GET / 1.0 ["Connection" "Keep-Alive"] body=""`},
	{"GET / HTTP/1.0|Connection: keep-alive|Connection: close||", `GET / 1.0 ["Connection" "keep-alive" "Connection" "close"] close body=""`},
	{
		"GET / HTTP/1.1|Host: a|Connection: keep-alive, Upgrade|Upgrade: websocket||",
		`GET / 1.1 ["Host" "a" "Connection" "keep-alive, Upgrade" "Upgrade" "websocket"] upgrade host="a" body=""`,
	},
	{"GET / HTTP/1.0|Connection: upgrade||", `GET / 1.0 ["Connection" "upgrade"] close body=""`},
	{"GET / HTTP/1.1|Host: a|Expect: 100-Continue||", `GET / 1.1 ["Host" "a" "Expect" "100-Continue"] continue host="a" expect="100-Continue" body=""`},
	{"GET / HTTP/1.0|Expect: 100-continue||", `GET / 1.0 ["Expect" "100-continue"] close body=""`},
	{"GET / HTTP/1.1|Host: a|Expect:||", `GET / 1.1 ["Host" "a" "Expect" ""] host="a" body=""`},
	{
		"GET / HTTP/1.1|Host: a|Expect: 100-continue|Expect: b|Expect: c||",
		`GET / 1.1 ["Host" "a" "Expect" "100-continue" "Expect" "b" "Expect" "c"] host="a" expect="b" body=""`,
	},
	{"GET / HTTP/1.0|Expect: b|Expect: 100-continue||", `GET / 1.0 ["Expect" "b" "Expect" "100-continue"] close expect="b" body=""`},
}

// TestRequestsAccepted feeds each stream in every way.
func TestRequestsAccepted(t *testing.T) {
	for _, tt := range accepted {
		s := source{bytes: crlf(tt.in)}
		if got := strings.TrimSuffix(s.everyWay(t).outcome(), "\n"); got != tt.want {
			t.Errorf("%q:\n%s\nwant\n%s", s.bytes, got, tt.want)
		}
	}
}

// refusals are requests that must be refused, and why. A vertical bar is CR LF.
var refusals = []struct{ in, want string }{
	// Lines.
	{"GET / HTTP/1.1\nHost: a||", "400 line does not end with CR LF"},
	{"GET / HTTP/1.1|Host: a\n|", "400 line does not end with CR LF"},
	{"GET / HTTP/1.1|Host: a\n\n|", "400 line does not end with CR LF"},
	{"GET / HTTP/1.1|Host: a\x00\n|", "400 line does not end with CR LF"},
	{"GET / HTTP/1.1|Host: a|\n", "400 line does not end with CR LF"},
	{"\nGET / HTTP/1.1|Host: a||", "400 line does not end with CR LF"},
	{"GET / HTTP/1.1\r\r\nHost: a||", "400 malformed HTTP version"},
	{"GET / HTTP/1.1|Host: a\r\r\n|", "400 control character in a field value"},
	{"GET / HTTP/1.1|Host: a|\r\r\n", "400 malformed field name"},
	{"GET / HTTP/1.1|Host: a|X: b\rY: c||", "400 control character in a field value"},
	{"|||GET / HTTP/1.1|Host: a||", "400 malformed request line"},
	{" |GET / HTTP/1.1|Host: a||", "400 malformed method"},
	// The request line.
	{"GET /|Host: a||", "400 malformed request line"},
	{"GET|Host: a||", "400 malformed method"},
	{"GET |Host: a||", "400 malformed request line"},
	{"GET  / HTTP/1.1|Host: a||", "400 malformed HTTP version"},
	{"GET /  HTTP/1.1|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTP/1.1 |Host: a||", "400 malformed HTTP version"},
	{" GET / HTTP/1.1|Host: a||", "400 malformed method"},
	{"GET\t/ HTTP/1.1|Host: a||", "400 malformed method"},
	{"GET /\tHTTP/1.1|Host: a||", "400 malformed request target"},
	{"G@T / HTTP/1.1|Host: a||", "400 malformed method"},
	{"G\x00T / HTTP/1.1|Host: a||", "400 malformed method"},
	{"G\xc3T / HTTP/1.1|Host: a||", "400 malformed method"},
	{"\x16\x03\x01\x02\x00\x01|", "400 malformed method"},
	// The version.
	{"GET / http/1.1|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTP/1|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTP/11|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTP/1.10|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTP/01.1|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTP/1,1|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTPS/1.1|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTP/1.a|Host: a||", "400 malformed HTTP version"},
	{"GET / HTTP/2.0|Host: a||", "505 HTTP version is not 1.x"},
	{"GET / HTTP/0.9|Host: a||", "505 HTTP version is not 1.x"},
	{"PRI * HTTP/2.0||SM||", "505 HTTP version is not 1.x"},
	// The target.
	{"GET * HTTP/1.1|Host: a||", "400 malformed request target"},
	{"OPTIONS ** HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET a HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET a:80 HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET ?a HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET /a#b HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET /a\x00 HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET /a\x7f HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET /a\r HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET ://a/ HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET 1http://a/ HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET +://a/ HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET h_p://a/ HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET http:/// HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET http:/a HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET http:a HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET http://:80/ HTTP/1.1|Host: :80||", "400 malformed request target"},
	{"GET http://u@a/ HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET http://a\\@b/ HTTP/1.1|Host: a||", "400 malformed request target"},
	{"GET http://a:b/ HTTP/1.1|Host: a:b||", "400 malformed request target"},
	{"CONNECT / HTTP/1.1|Host: a||", "400 malformed request target"},
	{"CONNECT a HTTP/1.1|Host: a||", "400 malformed request target"},
	{"CONNECT a: HTTP/1.1|Host: a||", "400 malformed request target"},
	{"CONNECT :443 HTTP/1.1|Host: a||", "400 malformed request target"},
	{"CONNECT a:b:1 HTTP/1.1|Host: a||", "400 malformed request target"},
	{"CONNECT [::1] HTTP/1.1|Host: a||", "400 malformed request target"},
	{"CONNECT http://a:1 HTTP/1.1|Host: a||", "400 malformed request target"},
	// Field lines.
	{"GET / HTTP/1.1|Host: a|X : b||", "400 malformed field name"},
	{"GET / HTTP/1.1|Host: a|X\t: b||", "400 malformed field name"},
	{"GET / HTTP/1.1|Host: a|: b||", "400 malformed field name"},
	{"GET / HTTP/1.1|Host: a|X||", "400 field name not followed by a colon"},
	{"GET / HTTP/1.1|Host: a|X@: b||", "400 malformed field name"},
	{"GET / HTTP/1.1|Host: a|X\x00: b||", "400 malformed field name"},
	{"GET / HTTP/1.1|Host: a|X\xff: b||", "400 malformed field name"},
	{"GET / HTTP/1.1|Host: a|X: b\x00c||", "400 control character in a field value"},
	{"GET / HTTP/1.1|Host: a|X: b\x7f||", "400 control character in a field value"},
	{"GET / HTTP/1.1|Host: a|X: 0123456789\x0b01234567||", "400 control character in a field value"},
	{"GET / HTTP/1.1|Host: a|X: 0123456789\x7f01234567||", "400 control character in a field value"},
	{"GET / HTTP/1.1|Host: a|X: b| c||", "400 line begins with a space or a tab"},
	{"GET / HTTP/1.1|Host: a|X: b|\tc: d||", "400 line begins with a space or a tab"},
	{"GET / HTTP/1.1|Host: a|X: b| |", "400 line begins with a space or a tab"},
	{"GET / HTTP/1.1| Host: a||", "400 line begins with a space or a tab"},
	{"GET / HTTP/1.1|Host: a|GET / HTTP/1.1|Host: b||", "400 malformed field name"},
	// Host.
	{"GET / HTTP/1.1||", hostWrong},
	{"GET / HTTP/1.2||", hostWrong},
	{"GET / HTTP/1.1|Host: a|Host: a||", hostWrong},
	{"GET / HTTP/1.0|Host: a|hOST:||", hostWrong},
	{"GET / HTTP/1.1|Host: a b||", hostWrong},
	{"GET / HTTP/1.1|Host: a/b||", hostWrong},
	{"GET / HTTP/1.1|Host: u@a||", hostWrong},
	{"GET / HTTP/1.1|Host: http://a||", hostWrong},
	{"GET / HTTP/1.1|Host: a:x||", hostWrong},
	{"GET / HTTP/1.1|Host: a:1:2||", hostWrong},
	{"GET / HTTP/1.1|Host: a:-1||", hostWrong},
	{"GET / HTTP/1.1|Host: ::1||", hostWrong},
	{"GET / HTTP/1.1|Host: [::1||", hostWrong},
	{"GET / HTTP/1.1|Host: []||", hostWrong},
	{"GET / HTTP/1.1|Host: [::1]a||", hostWrong},
	{"GET / HTTP/1.1|Host: [a/b]||", hostWrong},
	{"GET / HTTP/1.1|Host: a%||", hostWrong},
	{"GET / HTTP/1.1|Host: a%4||", hostWrong},
	{"GET / HTTP/1.1|Host: a%4g||", hostWrong},
	{"GET / HTTP/1.1|Host: \xc3\xa9||", hostWrong},
	{"GET / HTTP/1.1|Host: \"a\"||", hostWrong},
	{"GET / HTTP/1.0|Host: a\\b||", hostWrong},
	{"GET http://a/ HTTP/1.1||", hostWrong},
	{"GET http://a/ HTTP/1.1|Host: b||", hostWrong},
	{"GET http://a/ HTTP/1.1|Host:||", hostWrong},
	{"GET http://a/ HTTP/1.0|Host: a:81||", hostWrong},
	{"GET http://a/ HTTP/1.1|Host: a:443||", hostWrong},
	{"GET ws://a/ HTTP/1.1|Host: a:80||", hostWrong},
	{"GET http://a:8080/ HTTP/1.1|Host: a:80||", hostWrong},
	// Content-Length.
	{"POST / HTTP/1.1|Host: a|Content-Length:||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: +1||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: -1||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 0x1||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 1a||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 1 1||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 1_0||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 1.0||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: \"1\"||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: \xb2||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 1, 1||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 1,2||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 1|Content-Length: 1||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 1|CONTENT-LENGTH: 2||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 9223372036854775808||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 18446744073709551617||a", framingWrong},
	{"POST / HTTP/1.1|Host: a|Content-Length: 99999999999999999999999||a", framingWrong},
	// Transfer-Encoding.
	{"POST / HTTP/1.1|Host: a|Content-Length: 1|Transfer-Encoding: chunked||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Content-Length: 0||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|Transfer-Encoding: chunked||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked|transfer-encoding: x||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding:||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: ,chunked||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked,||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, chunked||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked, gzip||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked;a=b||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked ;||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: \"chunked\"||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked chunked||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: x|Transfer-Encoding: chunked||0||", codingUnknown},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: \x0bchunked||0||", "400 control character in a field value"},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: \xa0chunked||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: chun\u212aed||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip, chunked||0||", codingUnknown},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: gzip;q=\"a,b\", chunked||0||", framingWrong},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: identity||", codingUnknown},
	{"POST / HTTP/1.1|Host: a|Transfer-Encoding: xchunked||0||", codingUnknown},
	{"POST / HTTP/1.0|Transfer-Encoding: chunked||0||", framingWrong},
	{"POST / HTTP/1.0|Transfer-Encoding: chunked|Connection: keep-alive||0||", framingWrong},
	{"CONNECT a:1 HTTP/1.1|Host: a:1|Content-Length: 1||a", "400 CONNECT with a body"},
	{"CONNECT a:1 HTTP/1.1|Host: a:1|Transfer-Encoding: chunked||0||", "400 CONNECT with a body"},
}

const (
	hostWrong     = "400 Host missing, repeated, malformed or different from the target's"
	framingWrong  = "400 Content-Length or Transfer-Encoding malformed, repeated or contradictory"
	codingUnknown = "501 transfer coding other than chunked"
)

// TestRequestsRefused feeds each stream in every way.
func TestRequestsRefused(t *testing.T) {
	for _, tt := range refusals {
		s := source{bytes: crlf(tt.in)}
		if got := strings.TrimSuffix(s.everyWay(t).outcome(), "\n"); got != tt.want {
			t.Errorf("%q:\n%s\nwant\n%s", s.bytes, got, tt.want)
		}
	}
}

// TestChunksRefused feeds bodies that begin with "hello" in a chunk.
func TestChunksRefused(t *testing.T) {
	const bad, lineEnd, notThere = "400 malformed chunk", "400 line does not end with CR LF", "400 field not allowed in a trailer section"
	for _, tt := range []struct{ in, want string }{
		{"|", bad}, {"\n0||", bad}, {" 0||", bad}, {"0 ||", bad}, {"0\t||", bad}, {"+1|a|0||", bad}, {"-1|a|0||", bad}, {"0x1|a|0||", bad},
		{"g|", bad}, {"1\na|0||", bad}, {"1\ra|0||", bad}, {"1\r\ra|0||", bad}, {"1||a|0||", bad}, {"1|ab|0||", bad}, {"1|a\n0||", bad},
		{"1|a\r0||", bad}, {"1|a0||", bad}, {"0\n\n", bad}, {"0|\n", bad}, {"0|\r\r\n", bad}, {"0| X: y||", bad},
		{"8000000000000000|", bad}, {"ffffffffffffffff|", bad}, {"10000000000000000|", bad}, {"00000000000000000||", bad},
		{"0;||", bad}, {"0;a=||", bad}, {"0;=a||", bad}, {"0; a||", bad}, {"0 ;a||", bad}, {"0;a =b||", bad}, {"0;a= b||", bad}, {"0;a=b ||", bad},
		{"0;a=\"b||", bad}, {"0;a=\"b\"c||", bad}, {"0;a=\"\n\"||", bad}, {"0;a=\"\\\r\n\"||", bad}, {"0;a=b\"||", bad}, {"0;a\n||", bad},
		{"0;a\r\r\n|", bad}, {"0;\x00||", bad}, {"0;a=\x80||", bad}, {"0;a,b||", bad}, {"0,a||", bad}, {"0a:||", bad},
		{"0|X: y\n|", lineEnd}, {"0|X: y|\n", bad}, {"0|X: y| z||", bad}, {"0|:||", bad}, {"0|X||", "400 field name not followed by a colon"},
		{"0|X : y||", "400 malformed field name"}, {"0|X: \x00||", "400 control character in a field value"},
		{"0|Content-Length: 0||", notThere}, {"0|transfer-encoding: chunked||", notThere}, {"0|X: y|HOST: a||", notThere},
		{"0|Trailer: a||", notThere}, {"0|If-Whatever: a||", notThere}, {"0|authorization: a||", notThere}, {"0|connection: close||", notThere},
	} {
		s := source{bytes: crlf("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||5|hello|" + tt.in)}
		want := `POST / 1.1 ["Host" "a" "Transfer-Encoding" "chunked"] length=-1 chunked host="a" body="hello"`
		if data, ok := strings.CutPrefix(crlf(tt.in), "1\r\n"); ok { // its first byte is read
			want = strings.TrimSuffix(want, `"`) + strings.Trim(strconv.Quote(data[:1]), `"`) + `"`
		}
		want += " cut\n" + tt.want + "\n"
		if got := s.everyWay(t).outcome(); got != want {
			t.Errorf("%q:\n%swant\n%s", tt.in, got, want)
		}
	}
}

// TestEveryByteInEveryPlaceOfChunkedFraming tries each byte behind each of the
// beginnings of a chunked body.
func TestEveryByteInEveryPlaceOfChunkedFraming(t *testing.T) {
	const (
		hex   = "0123456789abcdefABCDEF"
		token = hex + "ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ!#$%&'*+-.^_`|~"
	)
	var text string // of a quoted string
	for c := range 256 {
		if c == '\t' || c >= ' ' && c != 0x7f {
			text += string([]byte{byte(c)})
		}
	}
	for _, tt := range []struct{ in, next string }{
		{"", hex}, {"1", hex + ";\r"}, {"1;", token}, {"1;a", token + ";=\r"}, {"1;a=", token + "\""}, {"1;a=b", token + ";\r"},
		{"1;a=\"", text}, {"1;a=\"b", text}, {"1;a=\"\\", text}, {"1;a=\"\\\"", text}, {"1;a=\"b\"", ";\r"}, {"1\r", "\n"},
		{"1\r\na", "\r"}, {"1\r\na\r", "\n"}, {"1\r\na\r\n", hex}, {"0\r\n", token + "\r"}, {"0\r\n\r", "\n"},
		{"0\r\nA:\r\n", token + "\r"}, {"0\r\nA:\r\n\r", "\n"},
	} {
		for c := range 256 {
			b := string([]byte{byte(c)})
			s := source{bytes: crlf("POST / HTTP/1.1|Host: a|Transfer-Encoding: chunked||") + tt.in + b}
			r := s.read(t, s.bytes)
			if got, want := r.err != http1.ErrChunk, strings.Contains(tt.next, b); got != want {
				t.Errorf("%q behind %q: %v", b, tt.in, r.err)
			}
		}
	}
}

func TestGetFindsTheFirstFieldOfAName(t *testing.T) {
	var d http1.Decoder
	var h http1.Head
	if _, err := d.Head([]byte(crlf("GET / HTTP/1.1|Host: a|X-Y: 1|x-y: 2|Z:||")), &h); err != nil {
		t.Fatal(err)
	}
	if got := h.Get("x-Y"); string(got) != "1" {
		t.Errorf("%q", got)
	}
	if got := h.Get("z"); got == nil || len(got) != 0 {
		t.Errorf("an empty field: %v", got)
	}
	if got := h.Get("x"); got != nil {
		t.Errorf("no such field: %q", got)
	}
}
