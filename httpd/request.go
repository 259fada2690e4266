package httpd

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/sluice-go/sluice/http1"
)

// noRequest is copied, by WithContext, to make a request with a context in a
// single allocation.
var noRequest http.Request

// errTarget is given to a client whose request target cannot be parsed.
var errTarget = errors.New("malformed request target")

// newRequest makes the http.Request that net/http would make of a head.
func newRequest(ctx context.Context, h *http1.Head, remote string) (*http.Request, error) {
	r := noRequest.WithContext(ctx)
	r.RemoteAddr = remote
	s := newStrings(h)
	if r.Method = methods[string(h.Method)]; r.Method == "" {
		r.Method = s.next(len(h.Method))
	}
	r.RequestURI = s.next(len(h.Target))
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if h.Minor == 0 {
		r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	}
	var err error
	if r.URL, err = parseTarget(r.Method, r.RequestURI); err != nil {
		return nil, errTarget
	}
	r.Header = s.header(h)
	if r.Host = r.URL.Host; r.Host == "" {
		r.Host = s.host
	}
	if len(r.Header["Pragma"]) > 0 && r.Header["Pragma"][0] == "no-cache" && r.Header["Cache-Control"] == nil {
		r.Header["Cache-Control"] = []string{"no-cache"} // as net/http does
	}
	r.Close = h.Close
	r.ContentLength = h.Length
	if h.Chunked {
		r.TransferEncoding = []string{"chunked"}
	}
	declareTrailers(r)
	r.Body = http.NoBody
	return r, nil
}

// declareTrailers moves the names in the field Trailer to r.Trailer.
func declareTrailers(r *http.Request) {
	names := r.Header["Trailer"]
	if names == nil || r.TransferEncoding == nil {
		return
	}
	delete(r.Header, "Trailer")
	for _, list := range names {
		for name := range strings.SplitSeq(list, ",") {
			if name = http.CanonicalHeaderKey(strings.TrimSpace(name)); name != "" {
				if r.Trailer == nil {
					r.Trailer = http.Header{}
				}
				r.Trailer[name] = nil
			}
		}
	}
}

// parseTarget parses a request target.
func parseTarget(method, target string) (*url.URL, error) {
	if u := plainTarget(target); u != nil {
		return u, nil
	}
	if method == http.MethodConnect && target[0] != '/' {
		u, err := url.ParseRequestURI("http://" + target)
		if err == nil {
			u.Scheme = ""
		}
		return u, err
	}
	return url.ParseRequestURI(target)
}

// plainPath tells of each byte whether it stands for itself in a path, escaped
// or not, so that a path of such bytes needs no parsing.
var plainPath = func() (t [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~$&+,/:;=@" {
		t[c] = true
	}
	return t
}()

// plainTarget returns the URL of a path and query without anything special, nil
// of any other target.
func plainTarget(target string) *url.URL {
	if target[0] != '/' {
		return nil
	}
	path, query, found := strings.Cut(target, "?")
	if found && query == "" {
		return nil
	}
	for i := range len(path) {
		if !plainPath[path[i]] {
			return nil
		}
	}
	return &url.URL{Path: path, RawQuery: query}
}

// text makes the strings of a request's head with one allocation.
type text struct {
	all  string
	host string
}

// heads is scratch memory for text.
var heads = sync.Pool{New: func() any { return new([]byte) }}

// newStrings collects what of a head is not in the table of common names: the
// target, the method if it is unusual, names and values.
func newStrings(h *http1.Head) text {
	p := heads.Get().(*[]byte)
	b := (*p)[:0]
	if methods[string(h.Method)] == "" {
		b = append(b, h.Method...)
	}
	b = append(b, h.Target...)
	for i := range h.Fields {
		f := &h.Fields[i]
		if common[string(f.Name)] == "" {
			b = append(b, f.Name...)
		}
		b = append(b, f.Value...)
	}
	t := text{all: string(b)}
	if *p = b; cap(b) <= keepMax {
		heads.Put(p)
	}
	return t
}

// next returns the next n bytes.
func (t *text) next(n int) (s string) {
	s, t.all = t.all[:n], t.all[n:]
	return s
}

// header makes the map of a head's fields, but for Host, which it keeps.
func (t *text) header(h *http1.Head) http.Header {
	header := make(http.Header, len(h.Fields))
	values := make([]string, len(h.Fields)) // most names come once: one allocation for all their slices
	for i := range h.Fields {
		f := &h.Fields[i]
		name, known := common[string(f.Name)], true
		if name == "" {
			name, known = t.next(len(f.Name)), false
		}
		value := t.next(len(f.Value))
		if !known {
			name = http.CanonicalHeaderKey(name)
		}
		switch name {
		case "Host":
			t.host = value
			continue
		case "Transfer-Encoding":
			continue // http.Request has a field for it
		}
		if vv := header[name]; vv != nil {
			header[name] = append(vv, value)
			continue
		}
		values[i] = value
		header[name] = values[i : i+1 : i+1]
	}
	return header
}

// methods has the usual methods.
var methods = func() map[string]string {
	t := map[string]string{}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"} {
		t[method] = method
	}
	return t
}()

// common has the usual names of fields as they are written, in their canonical
// form.
var common = func() map[string]string {
	t := map[string]string{}
	for _, name := range []string{
		"Accept", "Accept-Charset", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection",
		"Content-Encoding", "Content-Length", "Content-Type", "Cookie", "Date", "Dnt", "Expect", "Forwarded", "From", "Host",
		"If-Match", "If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Keep-Alive", "Origin", "Pragma", "Priority",
		"Range", "Referer", "Sec-Ch-Ua", "Sec-Ch-Ua-Mobile", "Sec-Ch-Ua-Platform", "Sec-Fetch-Dest", "Sec-Fetch-Mode", "Sec-Fetch-Site",
		"Sec-Fetch-User", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Protocol", "Sec-Websocket-Version", "Te",
		"Traceparent", "Trailer", "Transfer-Encoding", "Upgrade", "Upgrade-Insecure-Requests", "User-Agent", "Via", "X-Forwarded-For",
		"X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "X-Request-Id", "X-Requested-With",
	} {
		t[name], t[strings.ToLower(name)] = name, name
	}
	for _, name := range []string{"DNT", "TE", "X-Request-ID", "X-Real-IP", "Sec-CH-UA", "Sec-CH-UA-Mobile", "Sec-CH-UA-Platform",
		"Sec-WebSocket-Extensions", "Sec-WebSocket-Key", "Sec-WebSocket-Protocol", "Sec-WebSocket-Version"} {
		t[name] = http.CanonicalHeaderKey(name)
	}
	return t
}()
