package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

// socketsOf starts the servers of --http and --https and returns the beginnings of
// their WebSockets' URLs.
func socketsOf(t *testing.T, args ...string) (bases []string, drain func() error) {
	t.Helper()
	s, err := parse(append([]string{"--http", "127.0.0.1:0", "--https", "127.0.0.1:0", "--loops", "2"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	out, drain := start(t, s)
	for line := range strings.Lines(out.String()) {
		if url, ok := strings.CutPrefix(strings.TrimSpace(line), "http on http"); ok {
			bases = append(bases, "ws"+strings.TrimSuffix(url, "/"))
		}
	}
	if len(bases) != 2 {
		t.Fatalf("it printed %q", out.String())
	}
	return bases, drain
}

// client is an end of a WebSocket.
type client struct {
	*websocket.Blocking
	t *testing.T
}

// dialer makes one whose connections end with the test.
func dialer(t *testing.T, header http.Header) *websocket.Dialer {
	t.Helper()
	eng, err := sluice.New(sluice.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	return &websocket.Dialer{
		Engine: eng, Header: header, Compression: &websocket.Compression{},
		Handler:   websocket.Funcs{Open: func(c *websocket.Conn) { c.Blocking() }},
		TLSConfig: &tls.Config{InsecureSkipVerify: true}, // made for this run
	}
}

func dial(t *testing.T, d *websocket.Dialer, url string) client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := d.Dial(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return client{c.Blocking(), t}
}

func (c client) send(op websocket.Opcode, data string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	if err := c.Write(ctx, op, []byte(data)); err != nil {
		c.t.Fatal(err)
	}
}

func (c client) receive() (websocket.Opcode, string, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	op, data, err := c.Read(ctx)
	return op, string(data), err
}

// told expects an event.
func (c client) told(want event) {
	c.t.Helper()
	op, data, err := c.receive()
	if err != nil || op != websocket.Text {
		c.t.Fatalf("%v, %v, for %+v", op, err, want)
	}
	var got event
	if err := json.Unmarshal([]byte(data), &got); err != nil || got != want {
		c.t.Fatalf("%q, %v, for %+v", data, err, want)
	}
}

// closed expects the server to close, after whatever messages.
func (c client) closed(want websocket.Status) {
	c.t.Helper()
	for {
		_, _, err := c.receive()
		if err == nil {
			continue
		}
		var said *websocket.CloseError
		if !errors.As(err, &said) || said.Status != want {
			c.t.Errorf("%v, want the status %d", err, want)
		}
		return
	}
}

func TestWebSocketSendsEveryMessageBack(t *testing.T) {
	bases, _ := socketsOf(t)
	d := dialer(t, nil)
	for _, base := range bases {
		c := dial(t, d, base+"/ws")
		if !c.Conn().Compressed() {
			t.Errorf("%s: compression was not agreed on", base)
		}
		for _, op := range []websocket.Opcode{websocket.Text, websocket.Binary} {
			for _, message := range []string{"hello", "", strings.Repeat("a long one, ", 10_000)} {
				c.send(op, message)
				if gotOp, got, err := c.receive(); gotOp != op || got != message || err != nil {
					t.Errorf("%s: %v, %d bytes, %v for %v, %d bytes", base, gotOp, len(got), err, op, len(message))
				}
			}
		}
		if err := c.Close(websocket.NormalClosure, ""); err != nil {
			t.Error(err)
		}
	}
}

func TestChatTellsEverybodyWhoComesWhatIsSaidAndWhoGoes(t *testing.T) {
	bases, _ := socketsOf(t)
	d := dialer(t, nil)
	ada := dial(t, d, bases[0]+"/chat/ws?name=Ada")
	ada.told(event{Kind: "joined", Name: "Ada", Present: 1})
	bob := dial(t, d, bases[1]+"/chat/ws?name=%20Bob%0A%20%F0%9F%9A%B2%FF%E2%80%AE") // a line's end, no UTF-8, a change of direction
	for _, c := range []client{ada, bob} {
		c.told(event{Kind: "joined", Name: "Bob 🚲", Present: 2})
	}
	ada.send(websocket.Text, " \n")
	ada.send(websocket.Text, "<b>hello</b> \"Bob\"\n")
	bob.send(websocket.Text, strings.Repeat("long ", 800))
	for _, c := range []client{ada, bob} {
		first, second := event{Kind: "said", Name: "Ada", Text: `<b>hello</b> "Bob"`}, event{Kind: "said", Name: "Bob 🚲", Text: strings.TrimSpace(strings.Repeat("long ", 800))}
		_, data, err := c.receive()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(data, "long") { // nobody says who speaks first
			first, second = second, first
		}
		var got event
		if err := json.Unmarshal([]byte(data), &got); err != nil || got != first {
			t.Errorf("%q, %v", data, err)
		}
		c.told(second)
	}
	if err := bob.Close(websocket.NormalClosure, ""); err != nil {
		t.Error(err)
	}
	ada.told(event{Kind: "left", Name: "Bob 🚲", Present: 1})
}

func TestChatClosesOnThoseWhoDoNotKeepToItsLimits(t *testing.T) {
	bases, _ := socketsOf(t)
	d := dialer(t, nil)
	stays := dial(t, d, bases[0]+"/chat/ws")
	stays.told(event{Kind: "joined", Name: "somebody", Present: 1})
	for want, send := range map[websocket.Status]func(c client){
		websocket.UnsupportedData: func(c client) { c.send(websocket.Binary, "hello") },
		websocket.InvalidPayload:  func(c client) { c.send(websocket.Text, "\xff") },
		websocket.MessageTooBig:   func(c client) { c.send(websocket.Text, strings.Repeat("x", saidMax+1)) },
		websocket.PolicyViolation: func(c client) {
			for range 50 * saidPerSecond { // more than the time of a slow test allows
				if c.Conn().WriteString("hello") != nil {
					return
				}
			}
		},
	} {
		c := dial(t, d, bases[0]+"/chat/ws?name=Mallory")
		stays.told(event{Kind: "joined", Name: "Mallory", Present: 2})
		send(c)
		c.closed(want)
		for got, said := (event{}), 0; got.Kind != "left"; said++ {
			_, data, err := stays.receive()
			if err != nil || json.Unmarshal([]byte(data), &got) != nil || said > 40*saidPerSecond {
				t.Fatalf("%d: %q, %v", want, data, err)
			}
		}
	}
}

func TestChatHasRoomForSoMany(t *testing.T) {
	eng, err := sluice.New(sluice.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ws := newSockets()
	ws.room.present = membersMax - 1
	web := newHTTP(eng, ws)
	ln, err := web.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url, d := "ws://"+ln.Addr().String()+"/chat/ws?name=", dialer(t, nil)
	last := dial(t, d, url+"last")
	last.told(event{Kind: "joined", Name: "last", Present: membersMax})
	dial(t, d, url+"late").closed(websocket.TryAgainLater)
	last.send(websocket.Text, "who was that?")
	last.told(event{Kind: "said", Name: "last", Text: "who was that?"})
	if st := ws.stats(); st.Chat.Opened != 2 || st.Chat.MessagesIn != 1 || st.Echo.Opened != 0 {
		t.Errorf("%+v", st)
	}
}

// More is said than the loop, which is busy, can tell the members.
func TestABusyChatTellsWhoSpeaksThatNobodyWasTold(t *testing.T) {
	eng, err := sluice.New(sluice.Config{Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer eng.Close()
	ws, conns := newSockets(), make(chan *websocket.Conn, 2)
	ws.room.server.Handler = websocket.Funcs{
		Open:    func(c *websocket.Conn) { ws.room.OnOpen(c); conns <- c },
		Message: ws.room.OnMessage, Close: ws.room.OnClose,
	}
	ln, err := newHTTP(eng, ws).Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, dialer(t, nil), "ws://"+ln.Addr().String()+"/chat/ws?name=Ada")
	conn, busy := <-conns, make(chan struct{})
	_ = conn.Transport().EventLoop().Execute(func() { <-busy })
	for ws.room.tell(event{Kind: "said", Name: "Bob", Text: strings.Repeat("x", saidMax)}) == nil {
	}
	ws.room.OnMessage(conn, websocket.Text, []byte("hello?"))
	ws.room.OnOpen(conn) // as one who comes now
	close(busy)
	for refused := ""; refused != "hello?"; {
		_, data, err := c.receive()
		var got event
		if err != nil || json.Unmarshal([]byte(data), &got) != nil {
			t.Fatalf("%q, %v", data, err)
		}
		if got.Kind == "refused" {
			refused = got.Text
		}
	}
	c.closed(websocket.TryAgainLater)
}

func TestWebSocketsAreForPagesOfThisServer(t *testing.T) {
	bases, _ := socketsOf(t)
	own := "http" + strings.TrimPrefix(bases[0], "ws")
	for _, path := range []string{"/ws", "/chat/ws"} {
		dial(t, dialer(t, http.Header{"Origin": {own}}), bases[0]+path)
		_, err := dialer(t, http.Header{"Origin": {"https://elsewhere.example"}}).Dial(t.Context(), bases[0]+path, nil)
		var refused *websocket.HandshakeError
		if !errors.As(err, &refused) || refused.Response.StatusCode != http.StatusForbidden {
			t.Errorf("%s from elsewhere: %v", path, err)
		}
	}
	_, err := dialer(t, nil).Dial(t.Context(), bases[0]+"/chat/ws?name=%zz", nil)
	var refused *websocket.HandshakeError
	if !errors.As(err, &refused) || refused.Response.StatusCode != http.StatusBadRequest {
		t.Errorf("a name that cannot be read: %v", err)
	}
}

func TestNamesAreWhatCanBeSeenOfThem(t *testing.T) {
	for name, want := range map[string]string{
		"":                              "somebody",
		" \t\u200b":                     "somebody",
		"  Ada \u00a0 Lovelace\r\n":     "Ada Lovelace",
		"\x1b[31mred\u202edekcab":       "[31mreddekcab",
		strings.Repeat("ö", 100):        strings.Repeat("ö", nameMax),
		strings.Repeat("x", 31) + " yz": strings.Repeat("x", 31),
	} {
		if got := nameOf(name); got != want {
			t.Errorf("%q is shown as %q, not %q", name, got, want)
		}
	}
}

func TestChatPageNeedsNothingElseAndMakesNoMarkupOfWhatIsSaid(t *testing.T) {
	resp, body := get(t, "GET", web(t)+"/chat", "")
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/html; charset=utf-8" {
		t.Errorf("%s, %q", resp.Status, kind)
	}
	policy := resp.Header.Get("Content-Security-Policy")
	if !strings.HasPrefix(policy, "default-src 'none';") || !strings.Contains(policy, "script-src 'sha256-") {
		t.Errorf("the policy is %q", policy)
	}
	if strings.Count(body, "<script") != 1 || !strings.Contains(body, "<script>") || strings.Count(body, "</script>") != 1 {
		t.Error("the policy is for one script within the page")
	}
	if found := regexp.MustCompile(`(?i)https?://|\bsrc=|\bhref=|(?-i:url\()|@import|import\(|fetch\(|innerHTML|outerHTML|insertAdjacentHTML|document\.write| on[a-z]+="`).FindAllString(body, -1); found != nil {
		t.Errorf("the page has %q", found)
	}
}

func TestWebSocketsAreClosedInOrderWhenTheServerDrains(t *testing.T) {
	bases, drain := socketsOf(t, "--drain", "20s")
	d := dialer(t, nil)
	var clients []client
	for _, base := range bases {
		clients = append(clients, dial(t, d, base+"/ws"), dial(t, d, base+"/chat/ws"))
	}
	if err := drain(); err != nil {
		t.Errorf("serve: %v", err)
	}
	for _, c := range clients {
		c.closed(websocket.GoingAway)
	}
}

func TestWebSocketsThatDoNotCloseAreCutOff(t *testing.T) {
	bases, drain := socketsOf(t, "--drain", "100ms")
	c := dial(t, dialer(t, nil), bases[0]+"/ws")
	if err := c.Conn().PauseRead(); err != nil { // and so never answers
		t.Fatal(err)
	}
	if err := drain(); err == nil || !strings.Contains(err.Error(), "were cut off") {
		t.Errorf("serve: %v", err)
	}
}
