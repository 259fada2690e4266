package httpd

import (
	"crypto/tls"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluice-go/sluice/http1"
)

// RequestCtx is a request and its answer as a LoopHandler sees them. Neither it
// nor a slice that its methods return may be used after the handler has
// returned: the next request lies in the same memory. Answering allocates
// nothing.
type RequestCtx struct {
	rx     *receiver
	data   []byte
	status int
	kind   string // Content-Type
	fields []byte
	out    []byte // the answer's body
	batch  []byte // answers that go out when OnData ends
	close  bool
	taken  *taken // what TakeOver was given, nil if it was not called
}

// Method returns the request's method, such as "GET".
func (x *RequestCtx) Method() []byte { return x.rx.head.Method }

// Target returns the request's target as it was sent (RFC 9112 3.2), such as
// "/path?query".
func (x *RequestCtx) Target() []byte { return x.rx.head.Target }

// Path returns the target up to the query, as it was sent: escapes are not
// decoded and dot segments not removed.
func (x *RequestCtx) Path() []byte {
	path, _ := cut(x.rx.head.Target)
	return path
}

// Query returns what follows the first question mark of the target.
func (x *RequestCtx) Query() []byte {
	_, query := cut(x.rx.head.Target)
	return query
}

func cut(target []byte) (path, query []byte) {
	for i, c := range target {
		if c == '?' {
			return target[:i], target[i+1:]
		}
	}
	return target, nil
}

// Host returns the value of the field Host, nil if there is none.
func (x *RequestCtx) Host() []byte { return x.rx.head.Host }

// Get returns the value of the first field of that name, in whatever case, nil
// if there is none.
func (x *RequestCtx) Get(name string) []byte { return x.rx.head.Get(name) }

// Fields returns the fields of the request's head in their order.
func (x *RequestCtx) Fields() []http1.Field { return x.rx.head.Fields }

// Body returns the request's body.
func (x *RequestCtx) Body() []byte { return x.data }

// ProtoMinor returns the minor version: 0 of HTTP/1.0, 1 of HTTP/1.1.
func (x *RequestCtx) ProtoMinor() int { return x.rx.head.Minor }

// TLS returns what TLS agreed on with the client, nil without it.
func (x *RequestCtx) TLS() *tls.ConnectionState { return x.rx.c.TLS() }

// RemoteAddr returns the client's address.
func (x *RequestCtx) RemoteAddr() net.Addr { return x.rx.c.RemoteAddr() }

// SetStatus sets the answer's status; without it, it is 200. It panics if the
// status is not one of 200 to 999, which costs the connection.
func (x *RequestCtx) SetStatus(status int) {
	if status < 200 || status > 999 {
		panic("httpd: SetStatus with the invalid status " + strconv.Itoa(status))
	}
	x.status = status
}

// SetContentType sets the field Content-Type, which otherwise is
// "text/plain; charset=utf-8". A value that is not valid is ignored.
func (x *RequestCtx) SetContentType(kind string) {
	if http1.ValidValue(kind) {
		x.kind = kind
	}
}

// Set adds a field to the answer's head. A name or value that is not valid is
// left out, and so are the fields that the server writes: Content-Length,
// Transfer-Encoding, Connection, Content-Type and Date.
func (x *RequestCtx) Set(name, value string) {
	if http1.ValidName(name) && http1.ValidValue(value) && !slices.ContainsFunc(written, func(own string) bool {
		return strings.EqualFold(own, name)
	}) {
		x.fields = http1.AppendField(x.fields, name, value)
	}
}

// written are the fields that the server writes into every answer itself.
var written = []string{"Content-Length", "Transfer-Encoding", "Connection", "Content-Type", "Date"}

// Close has the connection closed after this answer.
func (x *RequestCtx) Close() { x.close = true }

// Write appends a copy of p to the answer's body. It never fails.
func (x *RequestCtx) Write(p []byte) (int, error) {
	x.out = append(x.out, p...)
	return len(p), nil
}

// WriteString is Write for a string.
func (x *RequestCtx) WriteString(p string) (int, error) {
	x.out = append(x.out, p...)
	return len(p), nil
}

// memory is how much x keeps.
func (x *RequestCtx) memory() int { return cap(x.fields) + cap(x.out) + cap(x.batch) }

// answer has the LoopHandler answer a request and reports whether it did.
func (rx *receiver) answer(body []byte) bool {
	x := &rx.x
	x.rx, x.data, x.status, x.kind, x.close = rx, body, http.StatusOK, "text/plain; charset=utf-8", false
	x.fields, x.out = x.fields[:0], x.out[:0]
	done, ok := x.call()
	x.data = nil
	switch {
	case x.taken != nil: // whatever came after
		return true
	case !ok:
		x.close = true // after the answers before it
		return true
	case done:
		x.compose()
	}
	return done
}

// call calls the LoopHandler. A panic in it is logged; ok is false then.
func (x *RequestCtx) call() (done, ok bool) {
	defer func() {
		if v := recover(); v != nil {
			x.rx.sv.srv.logf("httpd: panic serving %s: %v\n%s", x.rx.c.RemoteAddr(), v, debug.Stack())
		}
	}()
	return x.rx.sv.srv.LoopHandler(x), true
}

// compose appends the answer to those that are to go out.
func (x *RequestCtx) compose() {
	h := &x.rx.head
	x.close = x.close || h.Close || !x.rx.sv.srv.keepAlives()
	p := http1.AppendStatusLine(x.batch, h.Minor, x.status, "")
	if bodyAllowed(x.status) {
		p = http1.AppendField(p, "Content-Type", x.kind)
		p = append(p, "Content-Length: "...)
		p = append(strconv.AppendInt(p, int64(len(x.out)), 10), "\r\n"...)
	}
	p = append(p, x.fields...)
	switch {
	case x.close && h.Minor > 0:
		p = append(p, "Connection: close\r\n"...)
	case !x.close && h.Minor == 0:
		p = append(p, "Connection: keep-alive\r\n"...)
	}
	p = append(appendDate(p, time.Now()), "\r\n"...)
	if bodyAllowed(x.status) && string(h.Method) != http.MethodHead {
		p = append(p, x.out...)
	}
	x.batch = p
}

// carryOn reports whether the next request may be taken: not after the last
// one, nor while the client does not take its answers, nor if TakeOver was
// called.
func (x *RequestCtx) carryOn() bool {
	rx := x.rx
	rx.reset()
	if x.taken != nil {
		rx.giveAway()
		return false
	}
	if x.close {
		rx.flush()
		_ = rx.c.Close()
		return false
	}
	rx.sv.state(rx.c, http.StateIdle)
	if len(x.batch) < pieceMax {
		return true
	}
	rx.flush()
	if !rx.c.AboveHighWater() {
		return rx.c.IsOpen()
	}
	if rx.hc == nil {
		rx.hc = &conn{Conn: rx.c, sv: rx.sv}
	}
	rx.hc.mu.Lock()
	rx.hc.attach()
	rx.hc.more = true // OnDrain will wake it
	rx.hc.mu.Unlock()
	return false
}

// flush queues the answers composed so far.
func (rx *receiver) flush() {
	if x := &rx.x; len(x.batch) > 0 {
		if _, err := rx.c.Write(x.batch); err != nil {
			_ = rx.c.Abort() // later answers must not pass for these
		}
		x.batch = x.batch[:0]
	}
}
