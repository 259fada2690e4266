package websocket

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"unsafe"

	"github.com/sluice-go/sluice/http1"
)

// Request is the request of an opening handshake, as Server.Accept and
// Server.CheckOrigin see it. It must not be used after they have returned.
type Request struct {
	method, target, host string // lent
	fields               []http1.Field
	modern               bool // true exactly when it is of HTTP/1.1
	body                 bool // true exactly when it has a body
	conn                 interface{ RemoteAddr() net.Addr }
	std                  *http.Request // nil unless it came so, or was asked for
	came                 bool          // true exactly when it came so, and has no fields
}

// decoded makes r the request that was read from a connection.
func (r *Request) decoded(conn interface{ RemoteAddr() net.Addr }, head *http1.Head) {
	*r = Request{
		method: lent(head.Method), target: lent(head.Target), host: lent(head.Host), fields: head.Fields,
		modern: head.Minor > 0, body: head.Length != 0, conn: conn,
	}
}

// standard makes r the request of a handler of package http.
func (r *Request) standard(std *http.Request) {
	*r = Request{
		method: std.Method, target: std.RequestURI, host: std.Host,
		modern: std.ProtoAtLeast(1, 1), body: std.ContentLength != 0, std: std, came: true,
	}
}

// textAddr is an address of which nothing but the text is known.
type textAddr string

// Network returns "tcp".
func (textAddr) Network() string { return "tcp" }

// String returns the text.
func (a textAddr) String() string { return string(a) }

// Path returns the target up to the query, as it was sent: escapes are not decoded
// and dot segments not removed.
func (r *Request) Path() string {
	path, _, _ := strings.Cut(r.target, "?")
	return strings.Clone(path)
}

// Query returns what follows the first question mark of the target; url.ParseQuery
// reads it.
func (r *Request) Query() string {
	_, query, _ := strings.Cut(r.target, "?")
	return strings.Clone(query)
}

// Host returns the value of the field Host.
func (r *Request) Host() string { return strings.Clone(r.host) }

// Get returns the value of a field of the head, in whatever case its name is; of
// several of that name their values with a comma and a space between, "" if there is
// none.
func (r *Request) Get(name string) string { return strings.Clone(r.peek(name)) }

// peek is Get for as long as the request is valid. The name is best in the form that
// package http gives it.
func (r *Request) peek(name string) string {
	if r.came {
		values := r.std.Header[http.CanonicalHeaderKey(name)]
		if len(values) == 1 {
			return values[0]
		}
		return strings.Join(values, ", ")
	}
	all := ""
	found := false
	for i := range r.fields {
		f := &r.fields[i]
		if len(f.Name) != len(name) || !strings.EqualFold(lent(f.Name), name) {
			continue
		}
		if found {
			all += ", " + lent(f.Value)
			continue
		}
		found, all = true, lent(f.Value)
	}
	return all
}

// lent returns p as a string, for as long as p does not change.
func lent(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// RemoteAddr returns the client's address.
func (r *Request) RemoteAddr() net.Addr {
	if r.came {
		return textAddr(r.std.RemoteAddr)
	}
	return r.conn.RemoteAddr()
}

// TLS returns what TLS agreed on with the client, nil without it.
func (r *Request) TLS() *tls.ConnectionState {
	if r.came {
		return r.std.TLS
	}
	if c, ok := r.conn.(interface{ TLS() *tls.ConnectionState }); ok {
		return c.TLS()
	}
	return nil
}

// HTTP returns the request as an http.Request, which is made when it is asked for
// unless it came so.
func (r *Request) HTTP() (*http.Request, error) {
	if r.std == nil {
		p := http1.AppendRequestLine(nil, r.method, r.target)
		for _, f := range r.fields {
			p = http1.AppendFieldBytes(p, f.Name, f.Value)
		}
		std, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(p, "\r\n"...))))
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
	origin := r.peek("Origin")
	if origin == "" {
		return true
	}
	_, host, _ := strings.Cut(origin, "://")
	return strings.EqualFold(host, r.host)
}
