package websocket

import (
	"cmp"
	"net/http"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/http1"
)

// headLimits bound the request of a handshake on a listener of WebSocket's own.
var headLimits = http1.Limits{Line: 8 << 10, Head: 16 << 10, Fields: 100}

// Protocol returns the handler for sluice.Engine.Listen and ListenOn that serves
// WebSocket alone, without package httpd: no http.Request is made of a handshake.
// sluice.TLS(cfg, s.Protocol()) serves it over TLS. Wrong settings of the Server make
// it refuse every connection with 500; ListenAndServe tells what is wrong with them.
func (s *Server) Protocol() sluice.Handler { return protocol{s} }

// protocol serves the connections of a listener. Their Context is nil until a request
// has begun to come, an *opening until it is whole, and an *endpoint from then on.
type protocol struct{ s *Server }

var (
	_ sluice.EOFHandler      = protocol{}
	_ sluice.DrainHandler    = protocol{}
	_ sluice.HangupHandler   = protocol{}
	_ sluice.ReadIdleHandler = protocol{}
)

// opening is a request that has come in part.
type opening struct{ dec http1.Decoder }

// OnOpen begins to wait for the request.
func (p protocol) OnOpen(conn sluice.Conn) {
	d := cmp.Or(p.s.HandshakeTimeout, defaultHandshakeTimeout)
	_ = conn.SetReadDeadline(time.Now().Add(d))
}

// OnData takes the request, and then what the endpoint takes.
func (p protocol) OnData(conn sluice.Conn, in *buffer.LinkBuffer) {
	switch at := conn.Context().(type) {
	case *endpoint:
		at.OnData(conn, in)
	case *opening:
		p.request(conn, in, at)
	default:
		o := new(opening)
		o.dec.Reset(&headLimits)
		p.request(conn, in, o)
	}
}

// request takes the request of a handshake, if it is whole.
func (p protocol) request(conn sluice.Conn, in *buffer.LinkBuffer, o *opening) {
	var head http1.Head
	raw := in.Bytes()
	n, err := o.dec.Head(raw, &head)
	switch {
	case err != nil:
		status := http.StatusBadRequest
		if e, ok := err.(*http1.Error); ok {
			status = e.Status
		}
		p.refuse(conn, refuse(status, err.Error()))
		return
	case n == 0:
		conn.SetContext(o)
		return
	}
	s := p.s
	sv, err := s.ready()
	if err != nil {
		p.refuse(conn, refuse(http.StatusInternalServerError, "the WebSocket server is not set up"))
		return
	}
	accept := s.Accept
	if accept == nil {
		accept = func(*Request) (any, error) { return nil, nil }
	}
	a, attached, refused := s.admit(decodedRequest(conn, &head, raw[:n]), accept)
	if refused != nil {
		p.refuse(conn, refused)
		return
	}
	e := (*endpoint)(sv.newConn(a, attached))
	_ = in.Skip(n)
	_ = conn.SetReadDeadline(time.Time{})
	if _, err := conn.Write(a.answer(sv, nil)); err != nil {
		_ = conn.Abort()
		return
	}
	conn.SetContext(e)
	e.OnOpen(conn)
	if in.Len() > 0 {
		e.OnData(conn, in)
	}
}

// refuse answers a request that is not accepted, and ends the connection.
func (p protocol) refuse(conn sluice.Conn, r *Refusal) {
	p.s.service.count(conn.Loop()).refuse.Add(1)
	_, _ = conn.Write(r.response())
	_ = conn.Close()
}

// OnEOF takes the client's end.
func (protocol) OnEOF(conn sluice.Conn) {
	if e, ok := conn.Context().(*endpoint); ok {
		e.OnEOF(conn)
		return
	}
	_ = conn.Close()
}

// OnDrain passes it on.
func (protocol) OnDrain(conn sluice.Conn) {
	if e, ok := conn.Context().(*endpoint); ok {
		e.OnDrain(conn)
	}
}

// OnHangup passes it on.
func (protocol) OnHangup(conn sluice.Conn, err error) {
	if e, ok := conn.Context().(*endpoint); ok {
		e.OnHangup(conn, err)
	}
}

// OnReadIdle passes it on.
func (protocol) OnReadIdle(conn sluice.Conn) {
	if e, ok := conn.Context().(*endpoint); ok {
		e.OnReadIdle(conn)
	}
}

// OnClose passes it on.
func (protocol) OnClose(conn sluice.Conn, err error) {
	if e, ok := conn.Context().(*endpoint); ok {
		e.OnClose(conn, err)
	}
}
