package httpd

import (
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice/http1"
)

// headFields are those fields of an answer's head that decide what becomes of
// it, as they were when the status was set.
type headFields struct {
	coding     string   // Transfer-Encoding
	connection []string // Connection; nil if there was none
	upgrade    bool     // true exactly when there was an Upgrade
	hasType    bool     // true exactly when there was a Content-Type, even an empty one
	encoded    bool     // true exactly when there was a Content-Encoding
	hasDate    bool     // true exactly when there was a Date, even an empty one
	hasLength  bool     // true exactly when there was a Content-Length
	trailing   bool     // true exactly when trailers were announced
}

// managed are the fields that are written by composeHead.
func managed(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Connection", "Trailer":
		return true
	}
	return strings.HasPrefix(name, http.TrailerPrefix)
}

// capture keeps the head as it is, since the handler may go on changing its
// fields without effect.
func (w *response) capture() {
	h := w.header
	w.length = -1
	if len(h) == 0 {
		return
	}
	f := &w.head
	if v := first(h, "Content-Length"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err == nil && n >= 0 {
			w.length, f.hasLength = n, true
		} else {
			w.hc.sv.srv.logf("httpd: invalid Content-Length of %q", v)
			h.Del("Content-Length")
		}
	}
	f.coding = first(h, "Transfer-Encoding")
	f.connection = slices.Clone(h["Connection"])
	f.upgrade = first(h, "Upgrade") != ""
	_, f.hasType = h["Content-Type"]
	f.encoded = first(h, "Content-Encoding") != ""
	_, f.hasDate = h["Date"]
	for name := range h {
		f.trailing = f.trailing || strings.HasPrefix(name, http.TrailerPrefix)
	}
	for _, list := range h["Trailer"] {
		f.trailing = true
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); http1.ValidTrailerName(name) {
				w.trailers = append(w.trailers, name)
			}
		}
	}
	s := w.scratch()
	skipType := !bodyAllowed(w.status) && w.status == http.StatusNotModified
	s.fields = appendFields(s.fields[:0], h, func(name string) bool {
		return !managed(name) && !(skipType && name == "Content-Type")
	})
}

// first returns the first value of a field.
func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// appendFields appends the fields of h that take says, in the order of their
// names. Names that are none are left out, as net/http does.
func appendFields(dst []byte, h http.Header, take func(name string) bool) []byte {
	var few [16]string
	names := few[:0]
	for name := range h {
		if take(name) && http1.ValidName(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range h[name] {
			dst = http1.AppendField(dst, name, oneLine(value))
		}
	}
	return dst
}

// oneLine makes a value of a handler's harmless: control characters would end
// the line or be refused by the client.
func oneLine(value string) string {
	if !http1.ValidValue(value) {
		b := []byte(value)
		for i, c := range b {
			if c < ' ' && c != '\t' || c == 0x7f {
				b[i] = ' '
			}
		}
		value = string(b)
	}
	return textproto.TrimString(value)
}

// bodyAllowed reports whether an answer of this status may have a body.
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}

// composeHead decides how the body is framed and whether the connection is
// kept, and appends the head to what goes out. last says that the handler has
// returned and that all of its body is in s.body.
func (w *response) composeHead(s *scratch, last bool) {
	w.sentHead = true
	f := &w.head
	head, allowed, minor := w.req.Method == http.MethodHead, bodyAllowed(w.status), w.req.ProtoMinor
	if last && w.handlerDone && w.file == nil && !f.trailing && f.coding == "" && allowed && !f.hasLength && (!head || len(s.body) > 0) {
		w.length = int64(len(s.body))
	}
	w.keepOrClose(head, allowed)
	s.wire = http1.AppendStatusLine(s.wire, minor, w.status, reason(w.status))
	s.wire = append(s.wire, s.fields...)
	if allowed && !f.encoded && !f.hasType && f.coding == "" && len(s.body) > 0 {
		s.wire = http1.AppendField(s.wire, "Content-Type", http.DetectContentType(s.body))
	}
	s.wire = w.framing(s.wire, head, allowed)
	s.wire = w.connection(s.wire)
	if len(w.trailers) > 0 {
		s.wire = http1.AppendField(s.wire, "Trailer", strings.Join(w.trailers, ", "))
	}
	if !f.hasDate {
		s.wire = appendDate(s.wire, time.Now())
	}
	s.wire = append(s.wire, "\r\n"...)
}

// framing chooses the framing of the body and appends the field that tells.
func (w *response) framing(dst []byte, head, allowed bool) []byte {
	f := &w.head
	foreign := f.coding != "" && f.coding != "identity" // the handler's own, chunked as a rule
	if w.length != -1 && foreign {
		w.hc.sv.srv.logf("httpd: WriteHeader with both Transfer-Encoding %q and Content-Length %d", f.coding, w.length)
		w.length = -1
	}
	switch {
	case !allowed:
		w.enc.None()
	case w.length != -1:
		w.enc.Fixed(w.length)
		dst = append(dst, "Content-Length: "...)
		dst = append(strconv.AppendInt(dst, w.length, 10), "\r\n"...)
	case head:
		w.enc.None()
	case w.req.ProtoMinor > 0 && f.coding != "identity":
		w.enc.Chunked()
		w.chunked = true
		if foreign && f.coding != "chunked" {
			dst = http1.AppendField(dst, "Transfer-Encoding", oneLine(f.coding))
		}
		dst = append(dst, "Transfer-Encoding: chunked\r\n"...)
	default:
		w.enc.UntilClose()
		w.closeAfter = true
	}
	return dst
}

// keepOrClose decides whether the connection serves another request.
func (w *response) keepOrClose(head, allowed bool) {
	f := &w.head
	if hasToken(f.connection, "close") || !w.hc.sv.srv.keepAlives() {
		w.closeAfter = true
	}
	if w.keep10 && !head && w.length == -1 && allowed {
		w.closeAfter = true
	}
	if w.status == http.StatusSwitchingProtocols {
		w.closeAfter = true // nothing else is agreed on, unless it is hijacked
	}
	b := w.body
	if b == nil {
		return
	}
	w.hc.mu.Lock()
	defer w.hc.mu.Unlock()
	switch {
	case b.unasked && !b.sawEOF: // whether the client sends the body now is anyone's guess
		w.closeAfter = true
	case w.closeAfter || w.fullDuplex:
	case b.spoilt || b.rest >= leaveMax:
		w.closeAfter = true
	default:
		// Many clients read no answer before they have sent all of their
		// request: it must go on arriving, whether the handler reads it or not.
		b.shut()
		for b.rest == 0 && !b.whole && b.err == nil && !b.spoilt {
			w.cond.Wait() // its length is not known: is it too long?
		}
		w.closeAfter = b.spoilt
	}
}

// connection appends the field Connection.
func (w *response) connection(dst []byte) []byte {
	f := &w.head
	switching := w.status == http.StatusSwitchingProtocols && f.upgrade && hasToken(f.connection, "upgrade")
	if !w.closeAfter || switching || hasToken(f.connection, "close") {
		for _, v := range f.connection {
			dst = http1.AppendField(dst, "Connection", oneLine(v))
		}
	} else if w.req.ProtoMinor > 0 {
		dst = append(dst, "Connection: close\r\n"...)
	}
	if w.keep10 && !w.closeAfter && f.connection == nil {
		dst = append(dst, "Connection: keep-alive\r\n"...)
	}
	return dst
}

// hasToken reports whether a list of tokens holds one, in whatever case.
func hasToken(lists []string, token string) bool {
	for _, list := range lists {
		for t := range strings.SplitSeq(list, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// reason is the phrase of a status, as net/http writes it.
func reason(status int) string {
	if text := http.StatusText(status); text != "" {
		return text
	}
	return "status code " + strconv.Itoa(status)
}

// end appends the end of the body and, if it is chunked, the trailers.
func (w *response) end(s *scratch) {
	if w.req.Method == http.MethodHead {
		return
	}
	var fields []http1.Field
	if w.chunked {
		fields = w.finalTrailers()
	}
	wire, err := w.enc.End(s.wire, fields)
	if err != nil {
		w.closeAfter = true
		return
	}
	s.wire = wire
}

// finalTrailers returns the trailers that were announced, with the values
// that they have by now, and those that were set with http.TrailerPrefix.
func (w *response) finalTrailers() (fields []http1.Field) {
	add := func(name string, values []string) {
		for _, v := range values {
			if http1.ValidTrailerName(name) {
				fields = append(fields, http1.Field{Name: []byte(name), Value: []byte(oneLine(v))})
			}
		}
	}
	for _, name := range w.trailers {
		add(name, w.header[name])
	}
	for key, values := range w.header {
		if name, found := strings.CutPrefix(key, http.TrailerPrefix); found {
			add(name, values)
		}
	}
	return fields
}

// dateLine is the field Date of one second.
type dateLine struct {
	unix int64
	line []byte
}

var lastDate atomic.Pointer[dateLine]

// appendDate appends the field Date for the time now.
func appendDate(dst []byte, now time.Time) []byte {
	d := lastDate.Load()
	if d == nil || d.unix != now.Unix() {
		line := append(now.UTC().AppendFormat([]byte("Date: "), http.TimeFormat), "\r\n"...)
		d = &dateLine{now.Unix(), line}
		lastDate.Store(d)
	}
	return append(dst, d.line...)
}
