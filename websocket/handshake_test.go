package websocket_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

// request is hello with one thing changed.
func request(old, changed string) string {
	r := hello()
	if !strings.Contains(r, old) {
		panic(old)
	}
	return strings.Replace(r, old, changed, 1)
}

// refusals are handshakes that are refused (RFC 6455 4.2.1).
var refusals = []struct {
	name, request string
	status        int
	field, value  string // that the answer must have
}{
	{"another method", request("GET", "PUT"), 405, "Allow", "GET"},
	{"HEAD", request("GET", "HEAD"), 405, "Allow", "GET"},
	{"HTTP/1.0", request("HTTP/1.1", "HTTP/1.0"), 426, "Upgrade", "websocket"},
	{"no Upgrade", request("Upgrade: websocket\r\n", ""), 426, "Upgrade", "websocket"},
	{"an Upgrade to another protocol", request("Upgrade: websocket", "Upgrade: h2c"), 426, "Upgrade", "websocket"},
	{"no Connection", request("Connection: Upgrade\r\n", ""), 400, "", ""},
	{"Connection: keep-alive", request("Connection: Upgrade", "Connection: keep-alive"), 400, "", ""},
	{"no version", request("Sec-WebSocket-Version: 13\r\n", ""), 426, "Sec-WebSocket-Version", "13"},
	{"version 8", request("Version: 13", "Version: 8"), 426, "Sec-WebSocket-Version", "13"},
	{"two versions", request("Version: 13", "Version: 13, 8"), 426, "Sec-WebSocket-Version", "13"},
	{"no key", request("Sec-WebSocket-Key: "+key+"\r\n", ""), 400, "", ""},
	{"an empty key", request(key, ""), 400, "", ""},
	{"a short key", request(key, "dGhlIHNhbXBsZQ=="), 400, "", ""},
	{"a long key", request(key, "dGhlIHNhbXBsZSBub25jZSE="), 400, "", ""},
	{"a key that is not base64", request(key, "dGhlIHNhbXBsZSBub25j!!=="), 400, "", ""},
	{"two keys", request("\r\n\r\n", "\r\nSec-WebSocket-Key: "+key+"\r\n\r\n"), 400, "", ""},
	{"a body", request("\r\n\r\n", "\r\nContent-Length: 3\r\n\r\nabc"), 400, "", ""},
	{"a body in chunks", request("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400, "", ""},
	{"no host", request("Host: example.com\r\n", ""), 400, "", ""},
	{"another origin", request("\r\n\r\n", "\r\nOrigin: http://evil.example\r\n\r\n"), 403, "", ""},
	{"an origin with another port", request("\r\n\r\n", "\r\nOrigin: http://example.com:81\r\n\r\n"), 403, "", ""},
	{"an origin that only begins so", request("\r\n\r\n", "\r\nOrigin: http://example.com.evil.example\r\n\r\n"), 403, "", ""},
	{"an origin with user information", request("\r\n\r\n", "\r\nOrigin: http://example.com@evil.example\r\n\r\n"), 403, "", ""},
	{"the origin null", request("\r\n\r\n", "\r\nOrigin: null\r\n\r\n"), 403, "", ""},
	{"two origins", request("\r\n\r\n", "\r\nOrigin: http://example.com\r\nOrigin: http://example.com\r\n\r\n"), 403, "", ""},
	{"a malformed field", request("Upgrade: ", "Upgrade : "), 400, "", ""},
	{"a long target", request("/ws", "/"+strings.Repeat("x", 9<<10)), 414, "", ""},
	{"no HTTP", "hello, is this WebSocket?\r\n\r\n", 400, "", ""},
}

func TestHandshakesThatAreNotOnesAreRefused(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		for i, r := range refusals {
			for _, slowly := range []bool{false, true} {
				if slowly && (len(r.request) > 1000 || i%3 != 0) {
					continue // system calls alone
				}
				c := st.dial()
				if slowly {
					c.sendSlowly(r.request)
				} else {
					c.send(r.request)
				}
				resp := c.response()
				if r.name == "a long target" && w.way == overHTTP { // whose limit is that of net/http
					r.status = 101
				}
				if resp.StatusCode != r.status || r.field != "" && resp.Header.Get(r.field) != r.value {
					t.Errorf("%s: the answer is %d %v, want %d", r.name, resp.StatusCode, resp.Header, r.status)
				}
				if r.status == 101 {
					c.reset()
					continue
				}
				if r.name != "HEAD" {
					if b, err := io.ReadAll(resp.Body); err != nil || len(b) == 0 || strings.Contains(string(b), "\x00") {
						t.Errorf("%s: the body is %q, %v", r.name, b, err)
					}
				}
				_ = c.Close()
			}
		}
		if n := st.Stats().Opened; n > 1 {
			t.Errorf("%d were opened", n)
		}
	})
}

func TestHandshakesAreReadLiberallyWhereTheStandardIs(t *testing.T) {
	accepted := []string{
		hello(),
		request("Upgrade: websocket", "uPGRADE:  WebSocket"),
		request("Upgrade: websocket", "Upgrade: h2c, websocket"),
		request("Connection: Upgrade", "Connection: keep-alive, upgrade"),
		request("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
		request("\r\n\r\n", "\r\nContent-Length: 0\r\n\r\n"),
		request("\r\n\r\n", "\r\nOrigin: https://EXAMPLE.com\r\n\r\n"),
		request("\r\n\r\n", "\r\nSec-WebSocket-Extensions: x-unknown; a=\"b,c\"\r\n\r\n"),
		request("GET /ws", "GET http://example.com/ws"),
	}
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, &websocket.Server{Handler: echoing(t)})
		for i, r := range accepted {
			c := st.dial()
			if i%2 == 0 {
				c.sendSlowly(r)
			} else {
				c.send(r)
			}
			resp := c.switched()
			for _, name := range []string{"Sec-WebSocket-Extensions", "Sec-WebSocket-Protocol", "Content-Length", "Transfer-Encoding"} {
				if v := resp.Header.Values(name); len(v) > 0 {
					t.Errorf("the answer has %s: %q", name, v)
				}
			}
			c.send(frame(text, "hello"))
			c.expect(text, "hello")
			c.bye()
		}
	})
}

func TestFramesMayComeInThePacketOfTheRequest(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := echoing(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		all := hello() + frame(text, "one") + frame(ping, "p") + frame(bin, prose(40_000)) + frame(text, "three") + closeFrame(1000, "")
		for _, n := range []int{len(all), len(hello()) - 1, len(hello()), len(hello()) + 1, len(hello()) + 7} {
			c := st.dial()
			c.send(all[:n])
			time.Sleep(2 * time.Millisecond)
			c.send(all[n:])
			c.switched()
			c.expect(text, "one")
			c.expect(pong, "p")
			c.expect(bin, prose(40_000))
			c.expect(text, "three")
			c.expectClose(1000)
			if err := rec.end(); websocket.CloseStatus(err) != 1000 {
				t.Errorf("OnClose(%v)", err)
			}
		}
	})
}

func TestARequestWithFramesAndTheEndBehindItIsServedAndEnds(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := echoing(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		for range 20 { // it is a matter of time what comes together
			c := st.dial()
			c.send(hello(), frame(text, "one"), frame(text, "two"))
			c.closeWrite()
			c.switched()
			c.expect(text, "one")
			c.expect(text, "two")
			c.over()
			if err := rec.end(); !errors.Is(err, websocket.ErrNoClose) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("OnClose(%v), want ErrNoClose", err)
			}
		}
	})
}

func TestTheSubprotocolIsTheServersFirstThatIsOffered(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, Subprotocols: []string{"v2", "v1"}})
		for _, try := range []struct{ want, offered string }{
			{"v1", "v1"}, {"v2", "v1, v2"}, {"v2", " v2 ,v1"}, {"", "v3"}, {"", "V2"}, {"", ""},
		} {
			fields := []string{"Sec-WebSocket-Protocol: " + try.offered}
			if try.offered == "v1, v2" {
				fields = []string{"Sec-WebSocket-Protocol: v1", "sec-websocket-protocol: v2"}
			}
			c := st.dial()
			c.send(hello(fields...))
			got := c.switched().Header.Values("Sec-WebSocket-Protocol")
			conn := rec.conn()
			if strings.Join(got, "+") != try.want || conn.Subprotocol() != try.want {
				t.Errorf("of %q, %q was agreed on, Subprotocol() is %q; want %q", try.offered, got, conn.Subprotocol(), try.want)
			}
			c.bye()
		}
	})
}

func TestCheckOriginDecides(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		s := &websocket.Server{Handler: newRecorder(t), CheckOrigin: func(r *websocket.Request) bool {
			return r.Get("Origin") == "http://friend.example"
		}}
		st := w.serve(t, s)
		st.open("Origin: http://friend.example").bye()
		for _, fields := range [][]string{nil, {"Origin: http://example.com"}} {
			c := st.dial()
			c.send(hello(fields...))
			if resp := c.response(); resp.StatusCode != 403 {
				t.Errorf("%q is answered with %s", fields, resp.Status)
			}
		}
		if n := s.Stats(); n.Opened != 1 || n.Refused != 2 {
			t.Errorf("the counters are %+v", n)
		}
	})
}

func TestAcceptDecidesAndAttaches(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := echoing(t)
		st := w.serve(t, &websocket.Server{Handler: rec, Accept: func(r *websocket.Request) (any, error) {
			switch name := r.Query()[2:]; name {
			case "friend":
				return &name, nil
			case "wrapped":
				return nil, fmt.Errorf("no: %w", &websocket.Refusal{Status: 429, Header: http.Header{"Retry-After": {"7"}}})
			case "away":
				return nil, &websocket.Refusal{Status: 307, Header: http.Header{"Location": {"/there"}, "Content-Length": {"9"}, "x-two": {"1", "2"}}}
			case "typed":
				return nil, &websocket.Refusal{Status: 401, Header: http.Header{"Content-Type": {"text/html"}, "Www-Authenticate": {"Basic"}}}
			case "zero":
				return nil, &websocket.Refusal{}
			case "hundred":
				return nil, &websocket.Refusal{Status: 101, Text: "no"}
			case "panic":
				panic("Accept panics")
			}
			return nil, errors.New("a secret")
		}})
		ask := func(name string) *http.Response {
			c := st.dial()
			c.send(request("a=1", "a="+name))
			resp := c.response()
			b, err := io.ReadAll(resp.Body)
			if err != nil || strings.Contains(string(b), "secret") {
				t.Errorf("%s: the body is %q, %v", name, b, err)
			}
			for field, values := range resp.Header {
				if len(values) > 1 && field != "X-Two" {
					t.Errorf("%s: the answer has %s: %q", name, field, values)
				}
			}
			return resp
		}
		for name, want := range map[string]int{
			"wrapped": 429, "away": 307, "typed": 401, "zero": 403, "hundred": 403, "enemy": 403,
		} {
			resp := ask(name)
			if resp.StatusCode != want {
				t.Errorf("%s is answered with %s, want %d", name, resp.Status, want)
			}
			for field, value := range map[string]string{"wrapped": "Retry-After 7", "away": "Location /there", "typed": "Www-Authenticate Basic"} {
				if f, v, _ := strings.Cut(value, " "); field == name && resp.Header.Get(f) != v {
					t.Errorf("%s: the answer has %v", name, resp.Header)
				}
			}
		}
		c := st.dial()
		c.send(request("a=1", "a=panic"))
		if resp, err := http.ReadResponse(c.r, nil); err == nil && resp.StatusCode < 500 {
			t.Errorf("a panic in Accept is answered with %s", resp.Status)
		}
		eventually(t, "the panic to be logged", func() bool { return strings.Contains(st.log.String(), "Accept panics") })
		c = st.dial()
		c.send(request("a=1", "a=friend"))
		c.switched()
		if name, ok := rec.conn().Context().(*string); !ok || *name != "friend" {
			t.Error("the context is not what Accept returned")
		}
		c.bye()
	})
}

func TestARequestShowsWhatWasAsked(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, w.secure = range []bool{false, true} {
			seen := make(chan [10]string, 1)
			st := w.serve(t, &websocket.Server{Handler: newRecorder(t), Accept: func(r *websocket.Request) (any, error) {
				h, err := r.HTTP()
				if err != nil {
					t.Error(err)
					return nil, err
				}
				again, _ := r.HTTP()
				cookie, _ := h.Cookie("b")
				seen <- [10]string{
					r.Path(), r.Query(), r.Host(), r.Get("x-many"), r.Get("X-None"), r.RemoteAddr().String(),
					fmt.Sprint(r.TLS() != nil, h.TLS != nil, again == h), h.URL.Path + "|" + h.RequestURI + "|" + h.Host, h.RemoteAddr, cookie.Value,
				}
				return nil, nil
			}})
			c := st.dial()
			c.send(strings.Replace(hello("X-Many: 1", "x-MANY: 2 ", "Cookie: a=1; b=two", "X-Many:"), "/ws?a=1", "/%77s/..?a=%31?b", 1))
			c.switched()
			me := c.LocalAddr().String()
			want := [10]string{
				"/%77s/..", "a=%31?b", "example.com", "1, 2, ", "", me,
				fmt.Sprint(w.secure, w.secure, true), "/ws/..|/%77s/..?a=%31?b|example.com", me, "two",
			}
			if got := receive(t, "Accept", seen); got != want {
				t.Errorf("secure %v: the request shows\n%q, want\n%q", w.secure, got, want)
			}
			c.bye()
		}
	})
}

// wrapped is what middleware makes of an http.ResponseWriter.
type wrapped struct{ http.ResponseWriter }

func (w wrapped) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func TestUpgradeAnswersWithTheFieldsOfTheHandler(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.way = overHTTP
		rec := echoing(t)
		s := &websocket.Server{Handler: rec, Accept: func(*websocket.Request) (any, error) {
			t.Error("Accept is asked")
			return nil, nil
		}}
		conns := make(chan *websocket.Conn, 1)
		st := w.handle(t, s, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			h := rw.Header()
			h["Set-Cookie"] = []string{"a=1", "b=2"}
			h["X-Evil"] = []string{"a\r\nInjected: 1"}
			h["X-Bad Name"] = []string{"1"}
			h["Upgrade"] = []string{"h2c"}
			h["Sec-Websocket-Accept"] = []string{"wrong"}
			h["Content-Length"] = []string{"5"}
			c, err := s.Upgrade(wrapped{rw}, r, 42)
			if err != nil {
				t.Error(err)
				return
			}
			if err := c.WriteString("from the handler"); err != nil {
				t.Error(err)
			}
			conns <- c
		}))
		c := st.dial()
		c.send(hello(), frame(text, "x"))
		h := c.switched().Header
		if strings.Join(h["Set-Cookie"], " ") != "a=1 b=2" || h.Get("Injected") != "" || h.Get("X-Evil") != "" || len(h["Upgrade"]) != 1 || h.Get("Content-Length") != "" {
			t.Errorf("the answer has %v", h)
		}
		got := map[string]bool{}
		for range 2 {
			_, p, _ := c.next()
			got[p] = true
		}
		if !got["x"] || !got["from the handler"] {
			t.Errorf("the messages are %v", got)
		}
		if conn := receive(t, "Upgrade", conns); conn != rec.conn() || conn.Context() != 42 {
			t.Error("Upgrade returned another connection than OnOpen was given")
		}
		c.bye()
	})
}

func TestAServerOfNetHTTPIsToldApart(t *testing.T) {
	s := &websocket.Server{Handler: newRecorder(t)}
	errs := make(chan error, 1)
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, err := s.Upgrade(w, r, nil)
		errs <- err
	}))
	defer ts.Close()
	r, _ := http.NewRequest("GET", ts.URL, nil)
	for _, f := range []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key} {
		name, value, _ := strings.Cut(f, ": ")
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	if err = <-errs; !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "package httpd") {
		t.Errorf("the error is %v", err)
	}
	if resp.StatusCode != 500 || !strings.Contains(string(b), "httpd") { // who uses ServeHTTP sees nothing else
		t.Errorf("the answer is %s %q", resp.Status, b)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestWrongSettingsAreNamed(t *testing.T) {
	h := newRecorder(t)
	for want, s := range map[string]*websocket.Server{
		"Handler is nil":   {},
		"MaxMessage":       {Handler: h, MaxMessage: -1},
		"MaxFrame":         {Handler: h, MaxFrame: -1},
		"CloseTimeout":     {Handler: h, CloseTimeout: -1},
		"HandshakeTimeout": {Handler: h, HandshakeTimeout: -1},
		"Backlog":          {Handler: h, Backlog: websocket.Backlog{Policy: 9}},
		"subprotocol":      {Handler: h, Subprotocols: []string{"a b"}},
		"Subprotocols":     {Handler: h, Subprotocols: strings.Split(strings.Repeat("a,", 256), ",")},
		"Level":            {Handler: h, Compression: &websocket.Compression{Level: 10}},
		"window of 7":      {Handler: h, Compression: &websocket.Compression{Params: params(false, 7)}},
	} {
		if err := s.ListenAndServe("127.0.0.1:0"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want one about %s", err, want)
		}
	}
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, &websocket.Server{})
		c := st.dial()
		c.send(hello())
		if resp := c.response(); resp.StatusCode != 500 {
			t.Errorf("a server that is not set up answers with %s", resp.Status)
		}
	})
}

func TestAHandshakeHasItsTime(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &websocket.Server{Handler: echoing(t), HandshakeTimeout: 30 * time.Millisecond})
		for _, begun := range []string{"", "GET / HT", hello()[:len(hello())-1]} {
			c := st.dial()
			c.send(begun)
			if b, err := io.ReadAll(c.r); len(b) > 0 || err != nil {
				t.Errorf("after %q: %q, %v", begun, b, err)
			}
		}
		c := st.open() // whose time it does not limit
		time.Sleep(60 * time.Millisecond)
		c.send(frame(text, "late"))
		c.expect(text, "late")
		c.bye()
	})
}

func TestNothingIsCalledForAHandshakeThatDoesNotCome(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		for _, begun := range []string{"", "GET / HT", "x\r\n\r\n"} {
			c := st.dial()
			c.send(begun)
			c.closeWrite()
			_, _ = io.ReadAll(c.r)
			c = st.dial()
			c.send(begun)
			c.reset()
		}
		eventually(t, "the connections to end", func() bool { return conns(st.eng) == 0 })
		if seen := rec.log(); len(seen) > 0 {
			t.Errorf("the callbacks were %q", seen)
		}
	})
}

// conns is how many connections an engine has.
func conns(eng *sluice.Engine) (n int64) {
	for _, l := range eng.Stats().Loops {
		n += l.Conns
	}
	return n
}
