package websocket_test

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

// script is a server that does what a test says.
type script struct {
	net.Listener
	t *testing.T
}

func newScript(t *testing.T) *script {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return &script{ln, t}
}

func (s *script) url() string { return "ws://" + s.Addr().String() + "/path?q=1" }

// peer is a connection that a script has accepted.
type peer struct {
	*client
	request *http.Request
}

// next accepts a connection and answers its handshake; in the answer KEY becomes what
// Sec-WebSocket-Accept must be.
func (s *script) next(answer string) (*peer, error) {
	conn, err := s.Accept()
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(bound))
	s.t.Cleanup(func() { _ = conn.Close() })
	p := &peer{client: &client{conn, s.t, bufio.NewReader(conn)}}
	if p.request, err = http.ReadRequest(p.r); err != nil {
		return nil, err
	}
	answer = strings.ReplaceAll(answer, "KEY", ws.AcceptKey(p.request.Header.Get("Sec-WebSocket-Key")))
	_, err = io.WriteString(conn, answer)
	return p, err
}

// frame reads a frame of a client and returns its masking key, too.
func (p *peer) frame() (first byte, payload string, key uint32, err error) {
	var h [14]byte
	if _, err = io.ReadFull(p.r, h[:2]); err != nil {
		return 0, "", 0, err
	}
	n := int(h[1] & 0x7f)
	switch n {
	case 126:
		_, err = io.ReadFull(p.r, h[2:4])
		n = int(binary.BigEndian.Uint16(h[2:]))
	case 127:
		_, err = io.ReadFull(p.r, h[2:10])
		n = int(binary.BigEndian.Uint64(h[2:]))
	}
	if err != nil || h[1] < 0x80 {
		return 0, "", 0, fmt.Errorf("a frame of a client with the length %#x, %w", h[1], err)
	}
	var mask [4]byte
	_, _ = io.ReadFull(p.r, mask[:])
	data := make([]byte, n)
	_, err = io.ReadFull(p.r, data)
	for i := range data {
		data[i] ^= mask[i%4]
	}
	return h[0], string(data), binary.LittleEndian.Uint32(mask[:]), err
}

const switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n"

func TestADialerTalksToAServer(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, w.secure = range []bool{false, true} {
			for _, takeover := range []bool{false, true} {
				comp := &websocket.Compression{Params: params(takeover, 0)}
				served := echoing(t)
				st := w.serve(t, &websocket.Server{Handler: served, Compression: comp, Subprotocols: []string{"b", "a"}})
				rec := newRecorder(t)
				d := &websocket.Dialer{Engine: st.eng, Handler: rec, Compression: comp, Subprotocols: []string{"a", "b"}, TLSConfig: st.client}
				c, err := d.Dial(bounded(t), st.url("/ws"), 42)
				if err != nil {
					t.Fatal(err)
				}
				if rec.conn() != c || c.Context() != 42 || c.Subprotocol() != "b" || !c.Compressed() || (c.TLS() != nil) != w.secure || !c.IsOpen() {
					t.Errorf("context %v, subprotocol %q, compressed %v, TLS %v", c.Context(), c.Subprotocol(), c.Compressed(), c.TLS() != nil)
				}
				var want []string
				for _, n := range []int{0, 1, 125, 126, 600, 600, 65535, 65536, 300_000} {
					for _, m := range []string{prose(n), pattern(n)} {
						if err := c.WriteMessage(websocket.Binary, []byte(m)); err != nil {
							t.Fatal(err)
						}
						want = append(want, said(websocket.Binary, m))
					}
				}
				if err := c.WriteString("h\u00e9"); err != nil {
					t.Error(err)
				}
				rec.expect(append(want, "text h\u00e9")...)
				if err := c.Ping([]byte("p")); err != nil {
					t.Error(err)
				}
				rec.expect(append(want, "text h\u00e9", "pong p")...)
				if err := c.Close(4000, "enough"); err != nil {
					t.Error(err)
				}
				var e *websocket.CloseError
				if err := served.end(); !errors.As(err, &e) || e.Status != 4000 || e.Reason != "enough" {
					t.Errorf("the server's OnClose(%v)", err)
				}
				if err := rec.end(); err != nil {
					t.Errorf("OnClose(%v)", err)
				}
				if n := d.Stats(); n.Opened != 1 || n.Conns != 0 || n.MessagesIn != int64(len(want)+1) || n.MessagesOut != n.MessagesIn {
					t.Errorf("the counters are %+v", n)
				}
			}
		}
	})
}

func TestTheServerClosesADialedConnection(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, w.secure = range []bool{false, true} {
			served, rec := newRecorder(t), newRecorder(t)
			st := w.serve(t, &websocket.Server{Handler: served})
			d := &websocket.Dialer{Engine: st.eng, Handler: rec, TLSConfig: st.client}
			if _, err := d.Dial(bounded(t), st.url("/"), nil); err != nil {
				t.Fatal(err)
			}
			_ = served.conn().Close(1001, "later")
			var e *websocket.CloseError
			if err := rec.end(); !errors.As(err, &e) || e.Status != 1001 || e.Reason != "later" {
				t.Errorf("OnClose(%v)", err)
			}
			if err := served.end(); err != nil {
				t.Errorf("the server's OnClose(%v)", err)
			}
		}
	})
}

func TestAClientWaitsForTheServerToEndTheConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := newScript(t)
		eng, _ := w.engine(t)
		for _, ends := range []bool{true, false} {
			for _, begins := range []string{"client", "server"} {
				rec := newRecorder(t)
				d := &websocket.Dialer{Engine: eng, Handler: rec, CloseTimeout: bound}
				if !ends {
					d.CloseTimeout = 30 * time.Millisecond
				}
				peers := make(chan *peer, 1)
				go func() {
					p, err := s.next(switching + "\r\n")
					if err != nil {
						t.Error(err)
					}
					peers <- p
				}()
				c, err := d.Dial(bounded(t), s.url(), nil)
				if err != nil {
					t.Fatal(err)
				}
				p := <-peers
				if begins == "client" {
					_ = c.Close(1000, "")
				} else {
					p.send(plain(closing, closePayload(1000, "")))
				}
				if first, payload, _, err := p.frame(); first != closing || payload != closePayload(1000, "") {
					t.Errorf("the client sends %#x %q, %v", first, payload, err)
				}
				if begins == "client" {
					p.send(plain(closing, closePayload(1000, "")), plain(text, "not heard"))
				}
				if ends {
					_ = p.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
					if b, err := p.r.ReadByte(); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
						t.Errorf("the client did not wait: %d, %v", b, err)
					}
					_ = p.Close()
				} else {
					p.drop() // when the client does
				}
				err = rec.end()
				if begins == "client" && err != nil || begins == "server" && websocket.CloseStatus(err) != 1000 {
					t.Errorf("%s begins, the server ends %v: OnClose(%v)", begins, ends, err)
				}
			}
		}
	})
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestAnswersThatDoNotAcceptTheHandshakeAreErrors(t *testing.T) {
	answers := []struct {
		answer, want string
		status       int // of the HandshakeError, 0 if it is another error
	}{
		{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "refused", 200},
		{"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 5\r\n\r\nlogin", "refused", 401},
		{"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "refused", 302},
		{strings.Replace(switching, "KEY", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1) + "\r\n", "Sec-WebSocket-Accept", 101},
		{strings.Replace(switching, "Sec-WebSocket-Accept: KEY\r\n", "", 1) + "\r\n", "Sec-WebSocket-Accept", 101},
		{strings.Replace(switching, "Upgrade: websocket", "Upgrade: h2c", 1) + "\r\n", "another protocol", 101},
		{strings.Replace(switching, "Upgrade: websocket\r\n", "", 1) + "\r\n", "another protocol", 101},
		{strings.Replace(switching, "Connection: Upgrade", "Connection: close", 1) + "\r\n", "another protocol", 101},
		{switching + "Sec-WebSocket-Protocol: other\r\n\r\n", "subprotocol", 101},
		{switching + "Sec-WebSocket-Protocol: v1, v2\r\n\r\n", "subprotocol", 101},
		{switching + "Sec-WebSocket-Extensions: x-other\r\n\r\n", "extension", 101},
		{switching + "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n", "extension", 101},
		{"HTTP/1.1 101", "ended during the handshake", 0},
		{"", "ended during the handshake", 0},
		{"SSH-2.0-OpenSSH\r\n\r\n", "answer to the handshake", 0},
		{"HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", 20_000) + "\r\n\r\n", "answer to the handshake", 0},
	}
	eachDriver(t, func(t *testing.T, w *world) {
		s := newScript(t)
		eng, _ := w.engine(t)
		rec := newRecorder(t)
		d := &websocket.Dialer{Engine: eng, Handler: rec, Subprotocols: []string{"v1", "v2"}}
		for _, a := range answers {
			go func() {
				if p, err := s.next(a.answer); err == nil {
					if a.status == 0 {
						_ = p.Conn.(*net.TCPConn).CloseWrite() // it may have gone
					}
					p.drop()
				}
			}()
			_, err := d.Dial(bounded(t), s.url(), nil)
			var e *websocket.HandshakeError
			if err == nil || !strings.Contains(err.Error(), a.want) || errors.As(err, &e) != (a.status != 0) {
				t.Errorf("%.80q: the error is %v, want one about %s", a.answer, err, a.want)
				continue
			}
			if a.status == 0 {
				continue
			}
			if e.Response.StatusCode != a.status || !strings.Contains(err.Error(), e.Response.Status) {
				t.Errorf("%.80q: the response is %s", a.answer, e.Response.Status)
			}
			if b, err := io.ReadAll(e.Response.Body); err != nil || !strings.HasSuffix(a.answer, "\r\n\r\n"+string(b)) {
				t.Errorf("%.80q: the body is %q, %v", a.answer, b, err)
			}
			if a.status == 401 && e.Response.Header.Get("WWW-Authenticate") != "Basic" {
				t.Errorf("the header is %v", e.Response.Header)
			}
		}
		if seen := rec.log(); len(seen) > 0 {
			t.Errorf("the callbacks were %q", seen)
		}
		if n := d.Stats(); n.Refused != int64(len(answers)) || n.Opened != 0 {
			t.Errorf("the counters are %+v", n)
		}
	})
}

func TestCompressionThatWasNotOfferedSoIsAnError(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := newScript(t)
		eng, _ := w.engine(t)
		for answer, ok := range map[string]bool{
			"permessage-deflate; server_no_context_takeover; client_no_context_takeover": true,
			"permessage-deflate; server_no_context_takeover":                             true,
			"permessage-deflate":                           false, // none was to be kept
			"permessage-deflate; server_max_window_bits=7": false,
			"x-webkit-deflate-frame":                       false,
			"permessage-deflate; x=1":                      false,
			"permessage-deflate, permessage-deflate":       false,
			"":                                             true,
		} {
			fields := ""
			if answer != "" {
				fields = "Sec-WebSocket-Extensions: " + answer + "\r\n"
			}
			go func() {
				if p, err := s.next(switching + fields + "\r\n"); err == nil {
					p.drop()
				}
			}()
			d := &websocket.Dialer{Engine: eng, Handler: newRecorder(t), Compression: &websocket.Compression{}}
			c, err := d.Dial(bounded(t), s.url(), nil)
			if (err == nil) != ok {
				t.Errorf("%q: %v", answer, err)
			}
			if c != nil {
				if c.Compressed() != (answer != "") {
					t.Errorf("%q: compressed %v", answer, c.Compressed())
				}
				_ = c.Abort()
			}
		}
	})
}

func TestFramesMayComeWithTheAnswer(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := newScript(t)
		eng, _ := w.engine(t)
		for _, interim := range []string{"", "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"} {
			for _, slowly := range []bool{false, true} {
				rec := newRecorder(t)
				d := &websocket.Dialer{Engine: eng, Handler: rec}
				go func() {
					answer := interim + switching + "Set-Cookie: a=1\r\n\r\n" + plain(text, "one") + plain(bin, prose(130)) + plain(closing, "")
					p, err := s.next("")
					if err != nil {
						t.Error(err)
						return
					}
					answer = strings.ReplaceAll(answer, "KEY", ws.AcceptKey(p.request.Header.Get("Sec-WebSocket-Key")))
					if slowly {
						p.sendSlowly(answer)
					} else {
						p.send(answer)
					}
					_, _, _, _ = p.frame()
					_ = p.Close()
				}()
				if _, err := d.Dial(bounded(t), s.url(), nil); err != nil {
					t.Fatal(err)
				}
				rec.expect("text one", said(websocket.Binary, prose(130)), "close")
				if err := rec.end(); websocket.CloseStatus(err) != websocket.NoStatus {
					t.Errorf("OnClose(%v)", err)
				}
			}
		}
	})
}

func TestARequestIsWhatTheDialerWasTold(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := newScript(t)
		eng, _ := w.engine(t)
		keys := map[string]bool{}
		for _, host := range []string{"", "other.example"} {
			requests := make(chan *http.Request, 1)
			go func() {
				p, err := s.next(switching + "Sec-WebSocket-Protocol: v2\r\n\r\n")
				if err != nil {
					t.Error(err)
					return
				}
				requests <- p.request
				p.drop()
			}()
			d := &websocket.Dialer{
				Engine: eng, Handler: newRecorder(t), Subprotocols: []string{"v1", "v2"}, Compression: &websocket.Compression{},
				Header: http.Header{"Origin": {"http://a.example"}, "Cookie": {"a=1", "b=2"}, "X-Own": {"1"}},
			}
			if host != "" {
				d.Header["Host"] = []string{host}
			}
			c, err := d.Dial(bounded(t), strings.Replace(s.url(), "//", "//me:secret@", 1), nil)
			if err != nil {
				t.Fatal(err)
			}
			r := receive(t, "the request", requests)
			user, password, _ := r.BasicAuth()
			if r.Method != "GET" || r.RequestURI != "/path?q=1" || r.Host != map[bool]string{true: s.Addr().String(), false: host}[host == ""] ||
				user != "me" || password != "secret" || len(r.Header["Cookie"]) != 2 || r.Header.Get("X-Own") != "1" ||
				r.Header.Get("Sec-WebSocket-Protocol") != "v1, v2" || r.Header.Get("Sec-WebSocket-Version") != "13" || c.Subprotocol() != "v2" {
				t.Errorf("the request is %s %s of %s, %v", r.Method, r.RequestURI, r.Host, r.Header)
			}
			key := r.Header.Get("Sec-WebSocket-Key")
			if !ws.ValidKey(key) || keys[key] {
				t.Errorf("the key is %q", key)
			}
			keys[key] = true
			_ = c.Abort()
		}
	})
}

// A view of a dialed connection pauses when a message is longer than what it holds, and
// is woken with nothing unread.
func TestADialedConnectionGoesOnBehindALongMessage(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		st := w.serve(t, &websocket.Server{Handler: websocket.Funcs{
			Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) { _ = c.WriteMessage(op, data) },
		}})
		d := &websocket.Dialer{Engine: st.eng, Handler: websocket.Funcs{Open: func(c *websocket.Conn) { c.Blocking() }}}
		ctx, cancel := context.WithTimeout(t.Context(), bound)
		defer cancel()
		c, err := d.Dial(ctx, st.url("/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Abort()
		for _, size := range []int{300_000, 5, 200_000, 0, 5} {
			if err := c.Blocking().Write(ctx, websocket.Binary, make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := c.Blocking().Read(ctx); len(got) != size || err != nil {
				t.Fatalf("%d bytes, %v, for %d", len(got), err, size)
			}
		}
	})
}

func TestMasksDifferFromFrameToFrame(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := newScript(t)
		eng, _ := w.engine(t)
		const n = 200
		masks := make(chan map[uint32]bool, 1)
		go func() {
			p, err := s.next(switching + "\r\n")
			if err != nil {
				t.Error(err)
				return
			}
			seen := map[uint32]bool{}
			for i := range n {
				_, payload, key, err := p.frame()
				if want := fmt.Sprint("message ", i/2); err != nil || payload != want && payload != "p" {
					t.Errorf("the next frame has %q, %v", payload, err)
				}
				seen[key] = true
			}
			masks <- seen
			p.drop()
		}()
		d := &websocket.Dialer{Engine: eng, Handler: newRecorder(t)}
		c, err := d.Dial(bounded(t), s.url(), nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := range n / 2 {
			_ = c.WriteString(fmt.Sprint("message ", i))
			_ = c.Ping([]byte("p"))
		}
		if seen := receive(t, "the frames", masks); len(seen) < n-1 || seen[0] {
			t.Errorf("%d masks for %d frames", len(seen), n)
		}
		_ = c.Abort()
	})
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := newScript(t)
		eng, _ := w.engine(t)
		rec := newRecorder(t)
		d := &websocket.Dialer{Engine: eng, Handler: rec}
		for _, begun := range []string{"", "HTTP/1.1 101 Switch"} {
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				p, err := s.next(begun)
				if err != nil {
					t.Error(err)
					return
				}
				p.drop() // which ends
			}()
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			_, err := d.Dial(ctx, s.url(), nil)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %q: %v", begun, err)
			}
			receive(t, "the connection to end", ended)
		}
		if seen := rec.log(); len(seen) > 0 {
			t.Errorf("the callbacks were %q", seen)
		}
	})
}

func TestWhatCannotBeDialedIsAnError(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		eng, _ := w.engine(t)
		rec := newRecorder(t)
		d := &websocket.Dialer{Engine: eng, Handler: rec}
		for _, u := range []string{
			"", "/path", "http://127.0.0.1/", "ws:///path", "ws://", "ws://h/#fragment", "ws://h/\x00", "wsx://h/", "ws://:80/", "127.0.0.1:80", "ws://h:x/",
		} {
			if _, err := d.Dial(bounded(t), u, nil); err == nil || strings.Contains(err.Error(), "refused") {
				t.Errorf("%q: %v", u, err)
			}
		}
		if _, err := d.Dial(bounded(t), "ws://me:secret@/", nil); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("the error is %v", err)
		}
		for want, h := range map[string]http.Header{
			"Upgrade": {"Upgrade": {"x"}}, "Key": {"Sec-Websocket-Key": {"x"}}, "X-Evil": {"X-Evil": {"a\r\nb"}}, "cannot": {"A B": {"x"}},
			"Host": {"Host": {"a\r\nInjected: 1"}},
		} {
			d := &websocket.Dialer{Engine: eng, Handler: rec, Header: h}
			if _, err := d.Dial(bounded(t), "ws://127.0.0.1:1/", nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v: %v", h, err)
			}
		}
		for want, d := range map[string]*websocket.Dialer{
			"Engine": {Handler: rec}, "Handler": {Engine: eng}, "MaxMessage": {Engine: eng, Handler: rec, MaxMessage: -1},
		} {
			if _, err := d.Dial(bounded(t), "ws://127.0.0.1:1/", nil); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the error is %v, want one about %s", err, want)
			}
		}
	})
}

func TestADialedConnectionIsNotMasked(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := newScript(t)
		eng, _ := w.engine(t)
		for name, sent := range map[string]string{"masked": frame(text, "x"), "RSV1": plain(text|rsv1, "x")} {
			rec := newRecorder(t)
			go func() {
				p, err := s.next(switching + "\r\n" + sent)
				if err != nil {
					t.Error(err)
					return
				}
				if first, payload, _, err := p.frame(); first != closing || err != nil || payload[:2] != closePayload(1002, "") {
					t.Errorf("%s: answered with %#x %q, %v", name, first, payload, err)
				}
				p.drop()
			}()
			d := &websocket.Dialer{Engine: eng, Handler: rec}
			if _, err := d.Dial(bounded(t), s.url(), nil); err != nil {
				t.Fatal(err)
			}
			if err := rec.end(); websocket.CloseStatus(err) != 1002 {
				t.Errorf("OnClose(%v)", err)
			}
		}
	})
}

func TestAPanicInOnOpenOfADialedConnectionDoesNotKeepDialWaiting(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &websocket.Server{Handler: newRecorder(t)})
		rec := newRecorder(t)
		rec.open = func(*websocket.Conn) { panic("on purpose") }
		d := &websocket.Dialer{Engine: st.eng, Handler: rec}
		if c, err := d.Dial(bounded(t), st.url("/"), nil); err == nil {
			eventually(t, "the connection to end", func() bool { return !c.IsOpen() })
		}
		var p *sluice.PanicError
		if err := rec.end(); !errors.As(err, &p) {
			t.Errorf("OnClose(%v)", err)
		}
	})
}
