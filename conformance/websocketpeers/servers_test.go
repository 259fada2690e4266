package websocketpeers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

func TestPythonServer(t *testing.T) {
	t.Parallel()
	program := python(t)
	eachWorld(t, func(t *testing.T, e *sluice.Engine, secure bool) {
		testServer(t, e, secure, nil, program, "testdata/server.py")
	})
}

func TestNodeServer(t *testing.T) {
	t.Parallel()
	program, env := node(t)
	eachWorld(t, func(t *testing.T, e *sluice.Engine, secure bool) {
		testServer(t, e, secure, env, program, "testdata/server.cjs")
	})
}

// peer is a script with servers.
type peer struct {
	*script
	e      *sluice.Engine
	scheme string
	id     identity
	Ports  map[string]int
}

// testServer dials the servers of a script.
func testServer(t *testing.T, e *sluice.Engine, secure bool, env []string, program string, args ...string) {
	t.Helper()
	p := &peer{e: e, scheme: "ws", id: newIdentity(t)}
	if secure {
		p.scheme = "wss"
		args = append(args, p.id.cert, p.id.key)
	}
	p.script = start(t, env, program, args...)
	line := receive(t, "ports", p.lines)
	if err := json.Unmarshal(line, p); err != nil || len(p.Ports) == 0 {
		p.stop()
		t.Fatalf("%s begins with %q\n%s", program, line, &p.stderr)
	}
	t.Run("echo", p.testEcho)
	t.Run("fragments", p.testFragments)
	t.Run("ping", p.testPing)
	t.Run("close", p.testClose)
	t.Run("close of the server", p.testCloseOfServer)
	t.Run("subprotocol", p.testSubprotocol)
	t.Run("100 connections at once", p.testMany)
	p.stop()
	nothingLeft(t, e)
}

// connection is a connection of Sluice to a server, whose events are waited for.
type connection struct {
	*websocket.Conn
	t        *testing.T
	messages chan message
	pongs    chan string
	closed   chan error
}

type message struct {
	op   websocket.Opcode
	data string
}

// witness tells a connection of its events.
var witness = websocket.Funcs{
	Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
		c.Context().(*connection).messages <- message{op, string(data)}
	},
	Pong:  func(c *websocket.Conn, payload []byte) { c.Context().(*connection).pongs <- string(payload) },
	Close: func(c *websocket.Conn, err error) { c.Context().(*connection).closed <- err },
}

// dialer returns one with these compressions, nil for none.
func (p *peer) dialer(params *ws.Params) *websocket.Dialer {
	d := &websocket.Dialer{
		Engine: p.e, Handler: witness, MaxMessage: maxMessage, Backlog: websocket.Backlog{Bytes: maxBacklog},
		TLSConfig: &tls.Config{RootCAs: p.id.roots}, Subprotocols: []string{"other", "echo.v1"},
	}
	if params != nil {
		d.Compression = &websocket.Compression{Threshold: 1, Params: *params}
	}
	return d
}

// dial connects to one of the servers.
func (p *peer) dial(t *testing.T, d *websocket.Dialer, server string) *connection {
	t.Helper()
	// No event may find a channel full, for that would hold up the loop.
	c := &connection{t: t, messages: make(chan message, 1000), pongs: make(chan string, 1000), closed: make(chan error, 1)}
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	var err error
	if c.Conn, err = d.Dial(ctx, fmt.Sprintf("%s://127.0.0.1:%d/", p.scheme, p.Ports[server]), c); err != nil {
		t.Fatal(err)
	}
	return c
}

// say sends a message.
func (c *connection) say(op websocket.Opcode, data string) {
	c.t.Helper()
	if err := c.WriteMessage(op, []byte(data)); err != nil {
		c.t.Error(err)
	}
}

// hear waits for a message.
func (c *connection) hear(op websocket.Opcode, data string) {
	c.t.Helper()
	select {
	case m := <-c.messages:
		if m.op != op || m.data != data {
			c.t.Errorf("message of %d bytes, opcode %d: got %.50q of %d, %d", len(data), op, m.data, len(m.data), m.op)
		}
	case err := <-c.closed:
		c.closed <- err
		c.t.Errorf("closed before a message of %d bytes: %v", len(data), err)
	case <-time.After(bound):
		c.t.Errorf("waited in vain for a message of %d bytes", len(data))
	}
}

// end closes and waits for the end of both sides.
func (c *connection) end(p *peer) {
	c.t.Helper()
	if err := c.Close(websocket.NormalClosure, "done"); err != nil {
		c.t.Error(err)
	}
	if err := receive(c.t, "OnClose", c.closed); err != nil {
		c.t.Errorf("OnClose got %v", err)
	}
	p.heardEnd(c.t, "1000 done")
}

// heardEnd waits until the script tells with what a connection ended.
func (p *peer) heardEnd(t *testing.T, want string) {
	t.Helper()
	var got struct{ Closed *string }
	line := receive(t, "the end that the server sees", p.lines)
	if err := json.Unmarshal(line, &got); err != nil || got.Closed == nil || *got.Closed != want {
		t.Errorf("the server tells %s, %v, want closed with %q", line, err, want)
	}
}

var sizes = []int{0, 1, 125, 126, 65535, 65536, 1 << 20}

// content is n bytes that compress, but not to nothing, and are text.
func content(n int) string {
	p := make([]byte, n)
	for i := range p {
		p[i] = ' ' + byte(i*i>>5%95)&63
	}
	return string(p)
}

func (p *peer) testEcho(t *testing.T) {
	for _, server := range []string{"echo", "nocontext", "windows", "plain"} {
		for name, params := range map[string]*ws.Params{
			"contexts":   &kept,
			"no context": {},
			"windows":    {Server: ws.Side{Takeover: true, Bits: 11}, Client: ws.Side{Takeover: true, Bits: 12}},
			"nothing":    nil,
		} {
			t.Run(server+" and "+name, func(t *testing.T) {
				c := p.dial(t, p.dialer(params), server)
				if want := params != nil && server != "plain"; c.Compressed() != want {
					t.Errorf("Compressed is %v", c.Compressed())
				}
				for _, n := range append(sizes, sizes[:4]...) {
					c.say(websocket.Text, content(n))
					c.say(websocket.Binary, "\xff"+content(n))
					c.hear(websocket.Text, content(n))
					c.hear(websocket.Binary, "\xff"+content(n))
				}
				for _, s := range []string{"é", "κόσμε", "日本語テキスト", "🌍🚀\U0010ffff", "\x00\x7f\u0080\u07ff\u0800\uffff\U00010000"} {
					c.say(websocket.Text, strings.Repeat(s, 5000))
					c.hear(websocket.Text, strings.Repeat(s, 5000))
				}
				c.end(p)
			})
		}
	}
}

// testFragments: the server sends messages in pieces.
func (p *peer) testFragments(t *testing.T) {
	for _, params := range []*ws.Params{&kept, {}, nil} {
		c := p.dial(t, p.dialer(params), "echo")
		for range 2 {
			s := strings.Repeat("κόσμε🌍", 30)
			c.say(websocket.Text, "!fragments "+s)
			c.hear(websocket.Text, s)
			c.hear(websocket.Text, s)
			c.hear(websocket.Binary, "one, "+strings.Repeat("x", 70000))
		}
		c.end(p)
	}
}

func (p *peer) testPing(t *testing.T) {
	c := p.dial(t, p.dialer(&kept), "echo")
	for _, payload := range []string{"", "x", strings.Repeat("\xff", 125)} {
		if err := c.Ping([]byte(payload)); err != nil {
			t.Error(err)
		}
		if got := receive(t, "pong", c.pongs); got != payload {
			t.Errorf("pong %q, want %q", got, payload)
		}
	}
	c.say(websocket.Text, "!ping hello")
	c.hear(websocket.Text, "pong hello")
	c.end(p)
}

var closes = []websocket.CloseError{
	{Status: 1000},
	{Status: 1000, Reason: "bye"},
	{Status: 1001, Reason: "going"},
	{Status: 3000, Reason: strings.Repeat("é", 61)},
	{Status: 4999, Reason: strings.Repeat("x", 123)},
}

func (p *peer) testClose(t *testing.T) {
	for _, end := range append(closes, websocket.CloseError{Status: websocket.NoStatus}) {
		c := p.dial(t, p.dialer(&kept), "echo")
		c.say(websocket.Text, content(100000))
		if err := c.Close(end.Status, end.Reason); err != nil {
			t.Error(err)
		}
		if err := receive(t, "OnClose", c.closed); err != nil {
			t.Errorf("%v: OnClose got %v", end, err)
		}
		p.heardEnd(t, fmt.Sprintf("%d %s", end.Status, end.Reason))
	}
	c := p.dial(t, p.dialer(&kept), "echo")
	if err := c.Abort(); err != nil {
		t.Error(err)
	}
	if err := receive(t, "OnClose", c.closed); !errors.Is(err, sluice.ErrAborted) {
		t.Errorf("after Abort: OnClose got %v", err)
	}
	p.heardEnd(t, "")
}

func (p *peer) testCloseOfServer(t *testing.T) {
	for _, end := range closes {
		c := p.dial(t, p.dialer(&kept), "echo")
		want := fmt.Sprintf("%d %s", end.Status, end.Reason)
		c.say(websocket.Text, "!close "+want)
		if got := ending(receive(t, "OnClose", c.closed)); got != want {
			t.Errorf("OnClose got %q, want %q", got, want)
		}
		p.heardEnd(t, fmt.Sprintf("%d ", end.Status)) // what this side answered
	}
}

func (p *peer) testSubprotocol(t *testing.T) {
	for _, tt := range []struct {
		offered []string
		want    string
	}{{[]string{"other", "echo.v1"}, "echo.v1"}, {[]string{"other"}, ""}, {nil, ""}} {
		d := p.dialer(nil)
		d.Subprotocols = tt.offered
		c := p.dial(t, d, "echo")
		if got := c.Subprotocol(); got != tt.want {
			t.Errorf("%q chosen of %q", got, tt.offered)
		}
		c.end(p)
	}
}

func (p *peer) testMany(t *testing.T) {
	d := p.dialer(&kept)
	var conns []*connection
	for range 100 {
		conns = append(conns, p.dial(t, d, "echo"))
	}
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			for _, n := range []int{1, 100, 3000, 70000} {
				s := strings.Repeat(fmt.Sprint(i, " "), n)
				c.say(websocket.Text, s)
				c.hear(websocket.Text, s)
			}
			if err := c.Close(websocket.NormalClosure, "done"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, c := range conns {
		if err := receive(t, "OnClose", c.closed); err != nil {
			t.Errorf("OnClose got %v", err)
		}
		p.heardEnd(t, "1000 done")
	}
}
