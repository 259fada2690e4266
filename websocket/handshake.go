package websocket

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-go/sluice/http1"
	"github.com/sluice-go/sluice/ws"
)

// Refusal is an error with which Server.Accept chooses the answer to a handshake that
// it refuses.
type Refusal struct {
	Status int    // of HTTP, 300 to 599
	Text   string // the body, in plain text; the status's own if it is ""
	Header http.Header
}

// Error returns the status and the text.
func (r *Refusal) Error() string {
	return "websocket: handshake refused: " + strconv.Itoa(r.Status) + " " + r.text()
}

func (r *Refusal) text() string {
	if r.Text != "" {
		return r.Text
	}
	return http.StatusText(r.Status)
}

// refuse makes a Refusal with fields, names and values in turn.
func refuse(status int, text string, fields ...string) *Refusal {
	h := make(http.Header)
	for i := 0; i < len(fields); i += 2 {
		h.Set(fields[i], fields[i+1])
	}
	return &Refusal{status, text, h}
}

// agreement is what a handshake has agreed on.
type agreement struct {
	accept   string // Sec-WebSocket-Accept
	protocol int    // number of the subprotocol from 1, 0 means none
	deflate  bool
	params   ws.Params
	answered string // Sec-WebSocket-Extensions
}

// negotiate reads the request of a handshake (RFC 6455 4.2).
func (s *Server) negotiate(r *Request) (a agreement, refused *Refusal) {
	key := r.peek("Sec-Websocket-Key")
	switch {
	case r.method != http.MethodGet:
		return a, refuse(http.StatusMethodNotAllowed, "a WebSocket handshake is a GET", "Allow", http.MethodGet)
	case !r.modern || !ws.HasToken(r.peek("Upgrade"), "websocket"):
		return a, refuse(http.StatusUpgradeRequired, "this is for WebSocket: ask for an upgrade to it, with HTTP/1.1",
			"Upgrade", "websocket", "Connection", "Upgrade")
	case !ws.HasToken(r.peek("Connection"), "upgrade"):
		return a, refuse(http.StatusBadRequest, "the field Connection does not say upgrade")
	case r.peek("Sec-Websocket-Version") != ws.Version:
		return a, refuse(http.StatusUpgradeRequired, "the version of WebSocket is "+ws.Version,
			"Sec-WebSocket-Version", ws.Version, "Upgrade", "websocket", "Connection", "Upgrade")
	case !ws.ValidKey(key):
		return a, refuse(http.StatusBadRequest, "Sec-WebSocket-Key is not 16 bytes in base64, once")
	case r.body:
		return a, refuse(http.StatusBadRequest, "a WebSocket handshake has no body")
	}
	check := s.CheckOrigin
	if check == nil {
		check = sameOrigin
	}
	if !check(r) {
		return a, refuse(http.StatusForbidden, "connections from this origin are not allowed")
	}
	a = agreement{accept: ws.AcceptKey(key), protocol: s.choose(r.peek("Sec-Websocket-Protocol"))}
	if c := s.service.compression; c != nil {
		a.params, a.answered, a.deflate = ws.Negotiate(r.peek("Sec-Websocket-Extensions"), c.Params)
	}
	return a, nil
}

// choose returns the number of the first of the server's subprotocols that is offered.
func (s *Server) choose(offered string) int {
	if offered != "" {
		for i, p := range s.service.protocols {
			for item := range strings.SplitSeq(offered, ",") {
				if strings.Trim(item, " \t") == p {
					return i + 1
				}
			}
		}
	}
	return 0
}

// answer appends the head that accepts a handshake, with fields of the user's.
func (a *agreement) answer(dst []byte, s *service, extra http.Header) []byte {
	p := http1.AppendStatusLine(dst, 1, http.StatusSwitchingProtocols, "")
	p = http1.AppendField(p, "Upgrade", "websocket")
	p = http1.AppendField(p, "Connection", "Upgrade")
	p = http1.AppendField(p, "Sec-WebSocket-Accept", a.accept)
	if a.protocol > 0 {
		p = http1.AppendField(p, "Sec-WebSocket-Protocol", s.protocols[a.protocol-1])
	}
	if a.deflate {
		p = http1.AppendField(p, "Sec-WebSocket-Extensions", a.answered)
	}
	return append(appendFields(p, extra, ours), "\r\n"...)
}

// ours are the fields that the handshake writes, and those that a 101 must not have.
var ours = []string{
	"Upgrade", "Connection", "Sec-Websocket-Accept", "Sec-Websocket-Protocol", "Sec-Websocket-Extensions",
	"Content-Length", "Transfer-Encoding",
}

// oursRefusing are those of an answer that refuses the handshake.
var oursRefusing = append([]string{"Content-Type"}, ours...)

// appendFields appends the fields that are valid, but for some.
func appendFields(p []byte, h http.Header, but []string) []byte {
	for name, values := range h {
		if !http1.ValidName(name) || among(but, name) {
			continue
		}
		for _, v := range values {
			if http1.ValidValue(v) {
				p = http1.AppendField(p, name, v)
			}
		}
	}
	return p
}

// among reports whether names has a name, in whatever case.
func among(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// response returns a whole answer that refuses a handshake.
func (r *Refusal) response() []byte {
	text := r.text() + "\n"
	p := http1.AppendStatusLine(nil, 1, r.Status, "")
	p = http1.AppendField(p, "Content-Type", "text/plain; charset=utf-8")
	p = http1.AppendField(p, "Content-Length", strconv.Itoa(len(text)))
	connection := "close"
	if u := r.Header.Get("Upgrade"); u != "" {
		p = http1.AppendField(p, "Upgrade", u)
		connection = "close, Upgrade"
	}
	p = http1.AppendField(p, "Connection", connection)
	p = append(appendFields(p, r.Header, oursRefusing), "\r\n"...)
	return append(p, text...)
}

// refusal makes a Refusal that can be sent of what Accept returned.
func refusal(err error) *Refusal {
	var r *Refusal
	switch {
	case !errors.As(err, &r):
		return refuse(http.StatusForbidden, "")
	case r.Status < 300 || r.Status > 599:
		return &Refusal{http.StatusForbidden, r.Text, r.Header}
	}
	return r
}

// validToken reports whether s is a token (RFC 9110 5.6.2).
func validToken(s string) bool { return http1.ValidName(s) }
