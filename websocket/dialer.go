package websocket

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/http1"
	"github.com/sluice-go/sluice/ws"
)

// Dialer opens connections to WebSocket servers. Its fields are those of Server, as far
// as they have the same names, and must not be changed once it is in use.
type Dialer struct {
	// Engine has the loops for the connections.
	Engine *sluice.Engine

	// Handler is told what happens on the connections. One Dialer has one Handler;
	// Context, which Dial is given, tells its connections apart. What it writes does
	// not keep it from receiving, as a server's connection that is above its high-water
	// mark: if both waited until the other reads, they would wait for ever.
	Handler Handler

	// Header has fields for the requests, such as Origin, Cookie or Authorization.
	// Connections whose fields differ need a Dialer each, which is small.
	Header http.Header

	// TLSConfig is for "wss". nil means the defaults; the server's name is that of
	// the URL unless it is set.
	TLSConfig *tls.Config

	Subprotocols []string      // offered, the best first
	Compression  *Compression  // if it is not nil, offered
	MaxMessage   int64         // bytes, 0 means 1 MiB
	MaxFrame     int64         // bytes, 0 means that MaxMessage alone bounds it
	KeepAlive    time.Duration // 0 means 30 seconds, a negative value none
	CloseTimeout time.Duration // 0 means 5 seconds
	Backlog      Backlog       // Prepared messages to a server are ordinary ones: none is dropped

	once    sync.Once
	service service
	invalid error
}

// Stats returns the counters of the Dialer's connections.
func (d *Dialer) Stats() Stats { return d.service.stats() }

// ready makes the service of the settings, once.
func (d *Dialer) ready() (*service, error) {
	d.once.Do(func() {
		sv := &d.service
		sv.client = true
		sv.h, sv.protocols, sv.compression = d.Handler, d.Subprotocols, d.Compression
		sv.limits = ws.Limits{Frame: d.MaxFrame, Message: d.MaxMessage}
		sv.keepAlive, sv.closeTimeout, sv.backlog = d.KeepAlive, d.CloseTimeout, d.Backlog
		d.invalid = sv.check("Dialer")
		if d.Engine == nil {
			d.invalid = errors.Join(d.invalid, errors.New("websocket: Dialer.Engine is nil; give it one of sluice.New"))
		}
	})
	return &d.service, d.invalid
}

// HandshakeError is what Dial returns if the server answered, but not by accepting the
// handshake as it must.
type HandshakeError struct {
	Reason   string
	Response *http.Response // the server's answer; its Body has the first 4 KiB at most of what came with it
}

// Error returns the reason and the status.
func (e *HandshakeError) Error() string {
	return "websocket: " + e.Reason + ": the server answered " + e.Response.Status
}

// Dial opens a connection to a URL of the scheme "ws" or "wss". attached is what
// Conn.Context will return. It waits until the handshake is over and OnOpen has
// returned; ctx alone bounds the wait, so it should have a deadline. Neither are
// redirects followed nor proxies used. It must not be called from a callback.
func (d *Dialer) Dial(ctx context.Context, rawURL string, attached any) (*Conn, error) {
	sv, err := d.ready()
	if err != nil {
		return nil, err
	}
	u, address, err := target(rawURL)
	if err != nil {
		return nil, err
	}
	h := &greeting{
		conn: &Conn{of: sv, ctx: attached, home: -1}, key: ws.NewKey(), result: make(chan error, 1),
	}
	h.dec.ResetResponses(&headLimits)
	h.dec.Answering(http.MethodGet)
	if h.request, err = d.request(u, h.key); err != nil {
		return nil, err
	}
	var handler sluice.Handler = h
	if u.Scheme == "wss" {
		handler = sluice.TLS(d.TLSConfig, h)
	}
	conn, err := d.Engine.Dial(ctx, "tcp", address, handler)
	if err != nil {
		return nil, err
	}
	select {
	case err = <-h.result:
	case <-ctx.Done():
		// The handshake may be over at this very moment; either way it ends here.
		err = ctx.Err()
		_ = conn.Abort()
	}
	if err != nil {
		sv.count(conn.Loop()).refuse.Add(1)
		return nil, err
	}
	return h.conn, nil
}

// target reads a URL and returns the address to connect to.
func target(rawURL string) (*url.URL, string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		if strings.Contains(rawURL, "@") { // the cause may show a password
			err = errors.New("escape with % what is special in it, above all in the password")
		} else if e, ok := err.(*url.Error); ok {
			err = e.Err
		}
		return nil, "", fmt.Errorf("websocket: the URL cannot be read (it has the form ws://HOST[:PORT]/PATH): %w", err)
	}
	port := map[string]string{"ws": "80", "wss": "443"}[u.Scheme]
	switch {
	case u.Fragment != "": // RFC 6455 3
		return nil, "", errors.New("websocket: the URL has a #, which a WebSocket's has not; write it as %23")
	case port == "" || u.Hostname() == "":
		return nil, "", fmt.Errorf("websocket: the URL %q is not of the form ws://HOST[:PORT]/PATH or wss://", u.Redacted())
	}
	if strings.ContainsFunc(u.RequestURI(), func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, "", fmt.Errorf("websocket: the URL %q has a space or a control character; write it with %%", u.Redacted())
	}
	return u, net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), port)), nil
}

// request returns the request of a handshake.
func (d *Dialer) request(u *url.URL, key string) ([]byte, error) {
	p := http1.AppendRequestLine(nil, http.MethodGet, u.RequestURI())
	host := u.Host
	if h := d.Header.Get("Host"); h != "" {
		host = h
	}
	p = http1.AppendField(p, "Host", host)
	p = http1.AppendField(p, "Upgrade", "websocket")
	p = http1.AppendField(p, "Connection", "Upgrade")
	p = http1.AppendField(p, "Sec-WebSocket-Version", ws.Version)
	p = http1.AppendField(p, "Sec-WebSocket-Key", key)
	if len(d.Subprotocols) > 0 {
		p = http1.AppendField(p, "Sec-WebSocket-Protocol", strings.Join(d.Subprotocols, ", "))
	}
	if c := d.service.compression; c != nil {
		p = http1.AppendField(p, "Sec-WebSocket-Extensions", c.Params.Offer())
	}
	if u.User != nil && d.Header.Get("Authorization") == "" {
		password, _ := u.User.Password()
		p = http1.AppendField(p, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(u.User.Username()+":"+password)))
	}
	for name, values := range d.Header {
		for _, v := range values {
			switch {
			case among(ours, name) || strings.HasPrefix(strings.ToLower(name), "sec-websocket-"):
				return nil, fmt.Errorf("websocket: Dialer.Header has %s, which the handshake writes itself", name)
			case !http1.ValidName(name) || !http1.ValidValue(v):
				return nil, fmt.Errorf("websocket: Dialer.Header has a field that cannot be sent: %q", name)
			case !strings.EqualFold(name, "Host"): // which is there
				p = http1.AppendField(p, name, v)
			}
		}
	}
	return append(p, "\r\n"...), nil
}

// greeting is the handler of a connection that is dialed: during the handshake itself,
// then the endpoint.
type greeting struct {
	conn    *Conn
	key     string
	request []byte
	result  chan error // nil is sent when the handshake is over

	// Loop only.
	dec  http1.Decoder
	done bool // true exactly when the endpoint has the connection
	told bool // true exactly when something was sent to result
}

// tell has Dial return, once.
func (g *greeting) tell(err error) {
	if !g.told {
		g.told = true
		g.result <- err
	}
}

// OnOpen sends the request.
func (g *greeting) OnOpen(conn sluice.Conn) {
	_, _ = conn.Write(g.request) // OnClose tells of an error
	g.request = nil
}

// OnData takes the answer, and then what the endpoint takes.
func (g *greeting) OnData(conn sluice.Conn, in *buffer.LinkBuffer) {
	if !g.done && (!g.answered(conn, in) || in.Len() == 0) {
		return
	}
	(*endpoint)(g.conn).OnData(conn, in)
}

// answered takes the answer, if it is whole, and reports whether the handshake is over.
func (g *greeting) answered(conn sluice.Conn, in *buffer.LinkBuffer) bool {
	var head http1.Head
	raw := in.Bytes()
	n, err := g.dec.Head(raw, &head)
	switch {
	case err != nil:
		g.tell(fmt.Errorf("websocket: the server's answer to the handshake: %w", err))
		_ = conn.Abort()
		return false
	case n == 0:
		return false
	case head.Status >= 100 && head.Status < 200 && head.Status != http.StatusSwitchingProtocols:
		_ = in.Skip(n)
		return g.answered(conn, in)
	}
	if reason := g.accept(&head); reason != "" {
		g.tell(&HandshakeError{reason, response(&head, raw[n:])})
		_ = conn.Close()
		_ = in.Skip(in.Len())
		return false
	}
	_ = in.Skip(n)
	g.done = true
	defer g.tell(nil) // also if OnOpen panics
	g.conn.of.admitted.Add(1)
	(*endpoint)(g.conn).OnOpen(conn)
	return true
}

// accept checks an answer (RFC 6455 4.1) and returns what is wrong with it.
func (g *greeting) accept(head *http1.Head) string {
	get := (&Request{fields: head.Fields}).peek
	sv, c := g.conn.of, g.conn
	switch {
	case head.Status != http.StatusSwitchingProtocols:
		return "the handshake was refused"
	case !strings.EqualFold(get("Upgrade"), "websocket") || !ws.HasToken(get("Connection"), "upgrade"):
		return "the answer upgrades to another protocol"
	case get("Sec-WebSocket-Accept") != ws.AcceptKey(g.key):
		return "the answer does not know the question: Sec-WebSocket-Accept is wrong"
	}
	if p := get("Sec-WebSocket-Protocol"); p != "" {
		for i, ours := range sv.protocols {
			if p == ours {
				c.protocol = uint8(i + 1)
			}
		}
		if c.protocol == 0 {
			return "the answer has a subprotocol that was not offered"
		}
	}
	extensions := get("Sec-WebSocket-Extensions")
	if sv.compression == nil {
		if extensions != "" {
			return "the answer has an extension that was not offered"
		}
		return ""
	}
	params, ok, err := sv.compression.Params.Accepted(extensions)
	if err != nil {
		return err.Error()
	}
	if ok {
		c.setParams(params)
	}
	return ""
}

// response makes an http.Response of an answer that refuses.
func response(head *http1.Head, body []byte) *http.Response {
	r := &http.Response{
		StatusCode: head.Status, Status: fmt.Sprintf("%d %s", head.Status, head.Reason),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: make(http.Header), ContentLength: head.Length,
		Body: io.NopCloser(bytes.NewReader(bytes.Clone(body[:min(len(body), 4<<10)]))),
	}
	for _, f := range head.Fields {
		r.Header.Add(string(f.Name), string(f.Value))
	}
	return r
}

// OnEOF takes the server's end.
func (g *greeting) OnEOF(conn sluice.Conn) {
	if g.done {
		(*endpoint)(g.conn).OnEOF(conn)
		return
	}
	_ = conn.Close()
}

// OnDrain passes it on.
func (g *greeting) OnDrain(conn sluice.Conn) {
	if g.done {
		(*endpoint)(g.conn).OnDrain(conn)
	}
}

// OnHangup passes it on.
func (g *greeting) OnHangup(conn sluice.Conn, err error) {
	if g.done {
		(*endpoint)(g.conn).OnHangup(conn, err)
	}
}

// OnReadIdle passes it on.
func (g *greeting) OnReadIdle(conn sluice.Conn) {
	if g.done {
		(*endpoint)(g.conn).OnReadIdle(conn)
	}
}

// OnClose passes it on, or tells why there was no handshake.
func (g *greeting) OnClose(conn sluice.Conn, err error) {
	if g.done {
		(*endpoint)(g.conn).OnClose(conn, err)
		return
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	g.tell(fmt.Errorf("websocket: the connection ended during the handshake: %w", err))
}
