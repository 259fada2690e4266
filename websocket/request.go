package websocket

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/http1"
)

// Request is the request of an opening handshake, as Server.Accept and
// Server.CheckOrigin see it. It must not be used after they have returned.
type Request struct {
	method, target, host string
	modern               bool // true exactly when it is of HTTP/1.1
	body                 bool // true exactly when it has a body
	remote               func() net.Addr
	tls                  func() *tls.ConnectionState

	std  *http.Request // nil unless it came so, or was asked for
	head *http1.Head   // nil if it came as std
	raw  []byte        // the bytes of head
}

// decodedRequest returns the request that was read from a connection. raw are the
// bytes of head.
func decodedRequest(c sluice.Conn, head *http1.Head, raw []byte) *Request {
	return &Request{
		method: string(head.Method), target: string(head.Target), host: string(head.Host),
		modern: head.Minor > 0, body: head.Length != 0,
		remote: c.RemoteAddr, tls: c.TLS, head: head, raw: raw,
	}
}

// standardRequest returns the request of a handler of package http.
func standardRequest(r *http.Request) *Request {
	return &Request{
		method: r.Method, target: r.RequestURI, host: r.Host,
		modern: r.ProtoAtLeast(1, 1), body: r.ContentLength != 0,
		remote: func() net.Addr { return textAddr(r.RemoteAddr) },
		tls:    func() *tls.ConnectionState { return r.TLS },
		std:    r,
	}
}

// textAddr is an address of which nothing but the text is known.
type textAddr string

func (textAddr) Network() string  { return "tcp" }
func (a textAddr) String() string { return string(a) }

// Path returns the target up to the query, as it was sent: escapes are not decoded
// and dot segments not removed.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.target, "?")
	return path
}

// Query returns what follows the first question mark of the target; url.ParseQuery
// reads it.
func (r *Request) Query() string {
	_, query, _ := strings.Cut(r.target, "?")
	return query
}

// Host returns the value of the field Host.
func (r *Request) Host() string { return r.host }

// Get returns the value of a field of the head, in whatever case its name is; of
// several of that name their values with a comma and a space between, "" if there is
// none.
func (r *Request) Get(name string) string {
	if r.head == nil {
		values := r.std.Header[http.CanonicalHeaderKey(name)]
		if len(values) == 1 {
			return values[0]
		}
		return strings.Join(values, ", ")
	}
	var all []byte
	found := false
	for _, f := range r.head.Fields {
		if !strings.EqualFold(string(f.Name), name) {
			continue
		}
		if found {
			all = append(all, ", "...)
		}
		found = true
		all = append(all, f.Value...)
	}
	return string(all)
}

// RemoteAddr returns the client's address.
func (r *Request) RemoteAddr() net.Addr { return r.remote() }

// TLS returns what TLS agreed on with the client, nil without it.
func (r *Request) TLS() *tls.ConnectionState { return r.tls() }

// HTTP returns the request as an http.Request. On a listener of WebSocket's own it is
// made when it is asked for.
func (r *Request) HTTP() (*http.Request, error) {
	if r.std == nil {
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(r.raw)))
		if err != nil {
			return nil, fmt.Errorf("websocket: net/http does not read the request: %w", err)
		}
		std.RemoteAddr, std.TLS = r.RemoteAddr().String(), r.TLS()
		r.std = std
	}
	return r.std, nil
}

// sameOrigin reports whether the page that opens the connection, if it is a browser
// that does, comes from the same host (RFC 6455 10.2).
func sameOrigin(r *Request) bool {
	origin := r.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.host)
}
