package httpserver

import "strings"

// get is the exchange of one GET that wants 200 on a connection that is kept.
func get(name, target string, fields ...string) exchange {
	return exchange{name: name, want: "200 kept", send: []string{message("GET "+target, fields...)}}
}

// one is the exchange of one request.
func one(name, want, request string) exchange {
	return exchange{name: name, want: want, send: []string{request}}
}

// refused is the exchange of one request that the server itself refuses.
func refused(name, want, request string) exchange {
	return exchange{name: name, want: want, send: []string{request}, refusal: true}
}

// answerExchanges are about what handlers answer.
var answerExchanges = []exchange{
	get("hello", "/hello"),
	one("hello to HEAD", "200 kept", message("HEAD /hello")),
	get("empty", "/empty"),
	one("empty to HEAD", "200 kept", message("HEAD /empty")),
	get("sniffed HTML", "/sniff?text=%3Chtml%3E"),
	get("sniffed PNG", "/sniff?text=%89PNG%0D%0A%1A%0A"),
	get("sniffed XML", "/sniff?text=%3C%3Fxml"),
	get("sniffed binary", "/sniff?text=%00%01"),
	get("long", "/long"),
	one("long to HEAD", "200 kept", message("HEAD /long")),
	get("2047 bytes", "/exactly?n=2047"),
	get("2048 bytes", "/exactly?n=2048"),
	get("2049 bytes", "/exactly?n=2049"),
	get("4096 bytes", "/exactly?n=4096"),
	one("4096 bytes to HEAD", "200 kept", message("HEAD /exactly?n=4096")),
	get("flush", "/flush"),
	one("flush to HEAD", "200 kept", message("HEAD /flush")),
	get("flush first", "/flush-first"),
	get("length exact", "/length?n=5"),
	one("length too large", "200 broken closed", message("GET /length?n=10")),
	one("length too small", "200 closed", message("GET /length?n=3")),
	one("length to HEAD", "200 kept", message("HEAD /length?n=5")),
	one("length invalid", "200 kept", message("GET /length?n=x")),
	one("status 204", "204 kept", message("GET /status?code=204")),
	one("status 205", "205 kept", message("GET /status?code=205")),
	one("status 304", "304 kept", message("GET /status?code=304")),
	one("status 404", "404 kept", message("GET /status?code=404")),
	one("status 599", "599 kept", message("GET /status?code=599")),
	one("status 999", "999 kept", message("GET /status?code=999")),
	{name: "status 99", want: "closed", send: []string{message("GET /status?code=99")}, logged: "99"},
	one("early hints", "103 102 200 kept", message("GET /early")),
	one("trailer", "200 kept", message("GET /trailer")),
	one("trailer asked for", "200 kept", message("GET /trailer", "TE: trailers")),
	one("trailer to HEAD", "200 kept", message("HEAD /trailer")),
	one("trailer on 1.0", "200 closed", "GET /trailer HTTP/1.0\r\n\r\n"),
	get("trailer flushed", "/trailer-flushed"),
	get("fields", "/fields"),
	one("fields late", "202 kept", message("GET /write-twice")),
	get("no Date", "/no-date"),
	get("own Date", "/own-date"),
	get("no Content-Type", "/no-type"),
	get("Content-Encoding", "/encoded"),
	one("Connection close", "200 closed", message("GET /close")),
	one("coding identity", "200 closed", message("GET /identity")),
	get("coding chunked", "/te-chunked"),
	get("big head", "/big-head"),
	{name: "panic", want: "closed", send: []string{message("GET /panic")}, logged: "boom"},
	{name: "panic late", want: "closed", send: []string{message("GET /panic-late")}, logged: "boom"},
	one("abort", "closed", message("GET /abort")),
	one("abort late", "200 broken closed", message("GET /abort-late")),
	get("controller", "/controller"),
	one("hijack", "299 closed", message("GET /hijack")),
	one("hijack late", "200 closed", message("GET /hijack-late")),
	{name: "hijack echo", want: "101 299 closed", send: []string{
		message("GET /hijack-echo", "Connection: upgrade", "Upgrade: echo"), "a line\n",
		"quit\n",
	}},
	{name: "hijack echo at once", want: "101 299 closed", pipelined: true, send: []string{
		message("GET /hijack-echo", "Connection: upgrade", "Upgrade: echo"), "a line\n",
		"quit\n",
	}},
	{name: "hijack echo megabyte", want: "101 299 closed", pipelined: true, send: []string{
		message("GET /hijack-echo", "Connection: upgrade", "Upgrade: echo"), megabyte + "\n",
		"quit\n",
	}},
	// Byte by byte what is sent behind its end may meet a reset, and net/http's answer be lost.
	{name: "hijack with a body unread", want: "101 299 closed", whole: true, send: []string{
		upload("POST /hijack-echo", "the body\nquit\n", "Connection: upgrade", "Upgrade: echo"), "quit\n",
	}},
	one("redirect", "302 kept", message("GET /redirect")),
	one("redirect HEAD", "302 kept", message("HEAD /redirect")),
	one("redirect POST", "302 kept", upload("POST /redirect", "body")),
	one("error", "418 kept", message("GET /error")),
	get("cookie", "/cookie", "Cookie: a=1; in=\"q\"; b=2"),
	one("not found", "404 kept", message("GET /nowhere")),
	get("100 bytes twice", "/exactly?n=100"),
}

// requestExchanges are about what handlers see of requests.
var requestExchanges = []exchange{
	get("seen", "/seen"),
	get("seen fields", "/seen?a=b;c&d=%20", "x-odd-case: 1", "X-Odd-Case:2", "Empty:", "Spaces: \t around \t", "Accept: a, b",
		"Latin: caf\xe9", "Cookie: a=1", "Cookie: b=2", "!#$%&'*+-.^_`|~09: 1", "Connection: keep-alive, X-Odd-Case"),
	one("seen dots", "307 kept", message("GET /seen/../seen?x")),
	get("seen absolute", "http://example.com/seen?q"),
	get("seen absolute of another host", "http://other.example:8080/seen?q"),
	one("seen fragment", "404 kept", message("GET /seen#fragment")),
	one("seen star", "200 kept", message("OPTIONS *")),
	one("seen odd method", "200 kept", message("M-SEARCH /seen")),
	one("seen lower-case method", "200 kept", message("get /seen")),
	one("seen authority", "403 kept", "CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"),
	get("seen UTF-8 target", "/seen?\u00e4"),
	get("seen host IPv6", "/seen", "X: 1"),
	one("seen Host IPv6", "200 kept", "GET /seen HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"),
	one("seen Host empty", "200 kept", "GET /seen HTTP/1.1\r\nHost:\r\n\r\n"),
	one("seen 1.0", "200 closed", "GET /seen HTTP/1.0\r\n\r\n"),
	one("seen 1.0 keep-alive", "200 kept", "GET /seen HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
	one("long 1.0 keep-alive", "200 closed", "GET /long HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
	one("flush 1.0 keep-alive", "200 closed", "GET /flush HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"),
	one("early hints 1.0", "103 102 200 closed", "GET /early HTTP/1.0\r\n\r\n"),
	one("seen Connection close", "200 closed", message("GET /seen", "Connection: x, CLOSE")),
	one("seen upload", "200 kept", upload("POST /seen", "the body", "Content-Type: text/plain")),
	one("seen empty upload", "200 kept", upload("POST /seen", "")),
	one("seen upload to GET", "200 kept", upload("GET /seen", "the body")),
	one("seen large upload", "200 kept", upload("PUT /seen", megabyte)),
	one("seen chunked", "200 kept", chunked("POST /seen", "the body")),
	one("seen large chunked", "200 kept", chunked("POST /seen", megabyte)),
	one("seen empty chunked", "200 kept", chunked("POST /seen", "")),
	one("seen chunk extension", "200 kept", message("POST /seen", "Transfer-Encoding: CHUNKED")+"3;a=b\r\nabc\r\n0;c=\"d\"\r\n\r\n"),
	one("seen trailer", "200 kept", message("POST /seen", "Transfer-Encoding: chunked", "Trailer: X-Sum, X-Missing")+
		"3\r\nabc\r\n0\r\nx-sum: 6\r\nX-Undeclared: 1\r\n\r\n"),
	one("seen chunk size in capitals", "200 kept", message("POST /seen", "Transfer-Encoding: chunked")+"000A\r\n0123456789\r\n00\r\n\r\n"),
	one("form", "200 kept", upload("POST /form?a=1", "a=2&b=%20", "Content-Type: application/x-www-form-urlencoded")),
	one("multipart", "200 kept", upload("POST /form", "--b\r\nContent-Disposition: form-data; name=v\r\n\r\nvalue\r\n"+
		"--b\r\nContent-Disposition: form-data; name=file; filename=\"f.txt\"\r\nContent-Type: text/x\r\n\r\n"+kilobyte+"\r\n--b--\r\n",
		"Content-Type: multipart/form-data; boundary=b")),
	one("close the body", "200 kept", upload("POST /close-body", kilobyte)),
	one("duplex", "200 kept", upload("POST /duplex", kilobyte)),
	one("duplex chunked", "200 kept", chunked("POST /duplex", kilobyte)),
	one("read after write", "200 kept", upload("POST /read-after-write", kilobyte)),
	one("upload to HEAD", "200 kept", upload("HEAD /seen", kilobyte)),
}

// connectionExchanges are about what becomes of the connection.
var connectionExchanges = []exchange{
	{name: "three in turn", want: "200 200 200 kept", send: []string{
		message("GET /seen?1"), upload("POST /seen?2", "2"), message("HEAD /seen?3"),
	}},
	{name: "many at once", want: strings.Repeat("200 ", 12) + "kept", pipelined: true, send: []string{
		message("GET /seen?1"), upload("POST /seen?2", kilobyte), chunked("POST /seen?3", kilobyte), message("HEAD /long"),
		message("GET /long"), upload("POST /unread", kilobyte), message("GET /seen?4"), message("GET /flush"),
		chunked("POST /seen?5", megabyte), message("GET /long"), upload("POST /duplex", kilobyte), message("GET /hello"),
	}},
	{name: "close among those at once", want: "200 200 closed", pipelined: true, send: []string{
		message("GET /seen?1"), message("GET /seen?2", "Connection: close"), message("GET /seen?3"),
	}},
	{name: "panic among those at once", want: "200 closed", pipelined: true, send: []string{
		message("GET /seen?1"), message("GET /panic"), message("GET /seen?3"),
	}},
	{name: "bad among those at once", want: "200 400 closed", pipelined: true, refusal: true, send: []string{
		message("GET /hello"), "GET /hello\r\n\r\n", message("GET /hello"),
	}},
	{name: "empty lines between", want: "200 400 closed", pipelined: true, refusal: true, send: []string{
		message("GET /hello"), "\r\n\r\n" + message("GET /hello"),
	}},
	one("unread small", "200 kept", upload("POST /unread", kilobyte)),
	one("unread small chunked", "200 kept", chunked("POST /unread", kilobyte)),
	one("unread large", "200 closed", upload("POST /unread", megabyte)),
	one("unread large chunked", "200 closed", chunked("POST /unread", megabyte)),
	one("unread and a long answer", "200 kept", upload("POST /unread-long", kilobyte)),
	one("read in part", "200 kept", upload("POST /read?n=100", kilobyte)),
	one("read in part of large", "200 closed", upload("POST /read?n=100", megabyte)),
	one("read too much", "200 kept", upload("POST /read?n=2000", kilobyte)),
	{name: "expected and read", want: "100 200 kept", send: []string{
		message("POST /seen", "Expect: 100-continue", "Content-Length: 4"), "body",
	}},
	{name: "expected and read, chunked", want: "100 200 kept", send: []string{
		message("POST /seen", "Expect: 100-Continue", "Transfer-Encoding: chunked"), "4\r\nbody\r\n0\r\n\r\n",
	}},
	{name: "expected and sent at once", want: "100 200 kept", whole: true, send: []string{
		message("POST /seen", "Expect: 100-continue", "Content-Length: 4") + "body",
	}},
	one("expected and not read", "200 closed", message("POST /unread", "Expect: 100-continue", "Content-Length: 4")),
	one("expected without a body", "200 kept", message("POST /seen", "Expect: 100-continue", "Content-Length: 0")),
	one("expected on 1.0", "200 closed", "POST /seen HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody"),
	refused("expected something else", "417 closed", message("GET /seen", "Expect: a-miracle")),
	refused("no Host", "400 closed", "GET /seen HTTP/1.1\r\n\r\n"),
	refused("Host twice", "400 closed", message("GET /seen", "Host: example.com")),
	refused("Host invalid", "400 closed", "GET /seen HTTP/1.1\r\nHost: a/b\x01\r\n\r\n"),
	refused("HTTP/2.0", "505 closed", "GET /seen HTTP/2.0\r\nHost: example.com\r\n\r\n"),
	refused("HTTP/1.1 in small letters", "400 closed", "GET /seen http/1.1\r\nHost: example.com\r\n\r\n"),
	refused("no version", "400 closed", "GET /seen\r\nHost: example.com\r\n\r\n"),
	refused("method invalid", "400 closed", message("G(T /seen")),
	refused("target invalid", "400 closed", message("GET seen")),
	refused("name with a space", "400 closed", message("GET /seen", "X : y")),
	refused("name empty", "400 closed", message("GET /seen", ": y")),
	refused("line without a colon", "400 closed", message("GET /seen", "X")),
	refused("value with a control character", "400 closed", message("GET /seen", "X: a\x01b")),
	refused("Content-Length invalid", "400 closed", message("POST /seen", "Content-Length: +4")+"body"),
	refused("Content-Length twice", "400 closed", message("POST /seen", "Content-Length: 4", "Content-Length: 5")+"body"),
	refused("coding unknown", "501 closed", message("POST /seen", "Transfer-Encoding: gzip")),
	refused("coding on the way to chunked", "501 closed", message("POST /seen", "Transfer-Encoding: gzip, chunked")),
	refused("head too large", "431 closed", message("GET /seen", "X: "+megabyte, "Y: "+megabyte)),
	{name: "chunk size invalid", want: "200 closed", whole: true, send: []string{
		message("POST /seen", "Transfer-Encoding: chunked") + "x\r\nabc\r\n0\r\n\r\n",
	}},
	{name: "chunk too long", want: "200 closed", whole: true, send: []string{
		message("POST /seen", "Transfer-Encoding: chunked") + "3\r\nabcd\r\n0\r\n\r\n",
	}},
}
