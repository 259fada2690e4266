package websocket

import (
	"cmp"
	"net/http"
	"sync"
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

// opening is what a request is read with. It stays with a connection only while a
// request has come in part.
type opening struct {
	dec     http1.Decoder
	head    http1.Head
	request Request
	answer  []byte
}

var openings = sync.Pool{New: func() any { return new(opening) }}

// give returns o to its pool.
func (o *opening) give() {
	o.request = Request{}
	clear(o.head.Fields)
	o.head = http1.Head{Fields: o.head.Fields[:0]}
	openings.Put(o)
}

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
		o := openings.Get().(*opening)
		o.dec.Reset(&headLimits)
		p.request(conn, in, o)
	}
}

// request takes the request of a handshake, if it is whole.
func (p protocol) request(conn sluice.Conn, in *buffer.LinkBuffer, o *opening) {
	n, err := o.dec.Head(in.Bytes(), &o.head)
	if n == 0 && err == nil {
		conn.SetContext(o)
		return
	}
	conn.SetContext(nil)
	if err != nil {
		status := http.StatusBadRequest
		if e, ok := err.(*http1.Error); ok {
			status = e.Status
		}
		p.refuse(conn, refuse(status, err.Error()))
		o.give()
		return
	}
	o.request.decoded(conn, &o.head)
	if e := p.admit(conn, o); e != nil {
		_ = in.Skip(n)
		conn.SetContext(e)
		e.OnOpen(conn)
		if in.Len() > 0 {
			e.OnData(conn, in)
		}
	}
	o.give()
}

// admit answers a request, and returns the endpoint if it is accepted.
func (p protocol) admit(conn sluice.Conn, o *opening) *endpoint {
	sv, err := p.s.ready()
	if err != nil {
		p.s.complain(err)
		p.refuse(conn, refuse(http.StatusInternalServerError, errNotSetUp))
		return nil
	}
	a, attached, refused := p.s.admit(&o.request, p.s.Accept)
	if refused != nil {
		p.refuse(conn, refused)
		return nil
	}
	_ = conn.SetReadDeadline(time.Time{})
	o.answer = a.answer(o.answer[:0], sv, nil)
	if _, err := conn.Write(o.answer); err != nil {
		sv.admitted.Add(-1)
		_ = conn.Abort()
		return nil
	}
	return (*endpoint)(sv.newConn(a, attached))
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
