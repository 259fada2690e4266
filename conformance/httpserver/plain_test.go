package httpserver

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// plain is what a handler may do with a ResponseWriter and a Request, one thing
// for each path.
func plain(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range plainHandlers {
		mux.HandleFunc(pattern, h)
	}
	return starAware{mux}
}

// starAware answers what a ServeMux has no pattern for.
type starAware struct{ http.Handler }

func (s starAware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect:
		w.WriteHeader(http.StatusForbidden) // a success would make a tunnel of the connection
		seen(w, r)
	case r.RequestURI == "*":
		seen(w, r)
	default:
		s.Handler.ServeHTTP(w, r)
	}
}

var plainHandlers = map[string]http.HandlerFunc{
	"/seen":  seen,
	"/hello": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello, World!") },
	"/empty": func(w http.ResponseWriter, r *http.Request) {},
	"/sniff": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.FormValue("text")) },
	"/long": func(w http.ResponseWriter, r *http.Request) {
		for i := range 300 {
			fmt.Fprintf(w, "%999d\n", i)
		}
	},
	"/exactly": func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		w.Write(bytes.Repeat([]byte("x"), n))
	},
	"/flush": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "a")
		w.(http.Flusher).Flush()
		io.WriteString(w, "b")
	},
	"/flush-first": func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		io.WriteString(w, "b")
	},
	"/length": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", r.FormValue("n"))
		for _, part := range []string{"123", "45"} {
			if n, err := io.WriteString(w, part); err != nil {
				fmt.Fprint(w, n, err)
			}
		}
	},
	"/status": func(w http.ResponseWriter, r *http.Request) {
		code, _ := strconv.Atoi(r.FormValue("code"))
		w.WriteHeader(code)
		w.WriteHeader(500) // is ignored
		io.WriteString(w, "a body, if that may be")
	},
	"/early": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Link", "</other.css>")
		w.WriteHeader(http.StatusProcessing)
		w.Header().Del("Link")
		io.WriteString(w, "late")
	},
	"/trailer": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum, X-Missing")
		w.Header().Add("Trailer", "X-Other")
		io.WriteString(w, "body")
		w.Header().Set("X-Sum", "4")
		w.Header().Set("X-Other", "o")
		w.Header().Set("X-Undeclared", "u")
		w.Header().Set(http.TrailerPrefix+"X-Prefixed", "p")
	},
	"/trailer-flushed": func(w http.ResponseWriter, r *http.Request) {
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X-Prefixed", "p")
	},
	"/fields":      fields,
	"/write-twice": func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(202); w.Header().Set("X-Late", "1") },
	"/no-date":     func(w http.ResponseWriter, r *http.Request) { w.Header()["Date"] = nil },
	"/own-date": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "yesterday")
		w.Header().Set("Server", "mine")
	},
	"/no-type": func(w http.ResponseWriter, r *http.Request) { w.Header()["Content-Type"] = nil; io.WriteString(w, "x") },
	"/encoded": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		io.WriteString(w, "no sniffing")
	},
	"/close": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Connection", "close") },
	"/identity": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Transfer-Encoding", "identity")
		io.WriteString(w, "until the end")
	},
	"/te-chunked": func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Transfer-Encoding", "chunked")
		io.WriteString(w, "in chunks")
	},
	"/big-head": func(w http.ResponseWriter, r *http.Request) {
		for i := range 1000 {
			w.Header().Add("X-Many", fmt.Sprintf("%0100d", i))
		}
	},
	"/unread":      func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "not read") },
	"/unread-long": func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 100000)) },
	"/read": func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.FormValue("n"))
		p := make([]byte, n)
		n, err := io.ReadFull(r.Body, p)
		fmt.Fprintln(w, n, err, string(p[:min(n, 50)]))
	},
	"/read-after-write": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "written")
		w.(http.Flusher).Flush()
		body, err := io.ReadAll(r.Body)
		fmt.Fprint(w, " read ", len(body), " ", err)
	},
	"/close-body": func(w http.ResponseWriter, r *http.Request) {
		err := r.Body.Close()
		_, after := r.Body.Read(make([]byte, 1))
		fmt.Fprint(w, err, after)
	},
	"/panic":      func(w http.ResponseWriter, r *http.Request) { panic("boom") },
	"/panic-late": func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "written"); panic("boom") },
	"/abort":      func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) },
	"/abort-late": func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "written")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	},
	"/controller":  controller,
	"/duplex":      duplex,
	"/hijack":      hijack,
	"/hijack-late": hijackLate,
	"/hijack-echo": hijackEcho,
	"/form": func(w http.ResponseWriter, r *http.Request) {
		err := r.ParseMultipartForm(1 << 20)
		fmt.Fprintln(w, err, r.Form, r.PostForm)
		if r.MultipartForm == nil {
			return
		}
		for _, f := range r.MultipartForm.File["file"] {
			fmt.Fprintln(w, f.Filename, f.Size, f.Header)
		}
	},
	"/redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/hello?a=b", http.StatusFound) },
	"/error":    func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusTeapot) },
	"/cookie": func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie("in")
		http.SetCookie(w, &http.Cookie{Name: "out", Value: "v", HttpOnly: true, Path: "/"})
		fmt.Fprint(w, c, err)
	},
}

// seen answers with everything that a handler sees of a request.
func seen(w http.ResponseWriter, r *http.Request) {
	noBody := r.ContentLength == 0 && r.Body == http.NoBody
	body, err := io.ReadAll(r.Body)
	if len(body) > 10000 {
		body = fmt.Appendf(nil, "%d bytes, %x", len(body), sha256.Sum256(body))
	}
	_, isServer := r.Context().Value(http.ServerContextKey).(*http.Server)
	_, hasServer := r.Context().Value(http.ServerContextKey).(server)
	local, isAddr := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	remote, _, splitErr := net.SplitHostPort(r.RemoteAddr)
	_, flusher := w.(http.Flusher)
	_, hijacker := w.(http.Hijacker)
	_, readerFrom := w.(io.ReaderFrom)
	_, stringWriter := w.(io.StringWriter)
	_, closeNotifier := w.(http.CloseNotifier) //nolint:staticcheck // gin's Stream asks for it
	out := json.NewEncoder(w)
	out.SetIndent("", " ")
	_ = out.Encode(map[string]any{
		"method": r.Method, "uri": r.RequestURI, "url": r.URL, "url string": r.URL.String(), "proto": r.Proto,
		"minor": r.ProtoMinor, "host": r.Host, "length": r.ContentLength, "coding": r.TransferEncoding, "close": r.Close,
		"fields": r.Header, "trailer": r.Trailer, "tls": r.TLS != nil, "pattern": r.Pattern, "body": string(body),
		"error": fmt.Sprint(err), "server": isServer || hasServer, "local": isAddr && local.Network() == "tcp",
		"remote": remote, "remote error": splitErr, "done": fmt.Sprint(r.Context().Err()), "no body": noBody,
		"writer": []bool{flusher, hijacker, readerFrom, stringWriter, closeNotifier},
	})
}

// fields sets fields that are valid, odd and invalid.
func fields(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h["x-lower"] = []string{"kept as it is"}
	h["X-Many"] = []string{"1", "2", "3"}
	h["X-None"] = nil
	h.Set("X-Empty", "")
	h.Set("X-Split", "a\r\nX-Injected: b")
	h.Set("X-Spaces", "  around  ")
	h.Set("X-Latin", "caf\xe9")
	h["Bad Name"] = []string{"left out"}
	h["Bad\r\nInjected"] = []string{"left out"}
	h.Set("Keep-Alive", "timeout=5")
	w.WriteHeader(http.StatusOK)
}

func controller(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	fmt.Fprintln(w, c.SetWriteDeadline(time.Now().Add(bound)), c.SetReadDeadline(time.Now().Add(bound)), c.Flush())
	fmt.Fprintln(w, c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{}), c.EnableFullDuplex())
}

// duplex answers each part of the body as it comes.
func duplex(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	if err := c.EnableFullDuplex(); err != nil {
		panic(err)
	}
	p := make([]byte, 100)
	for {
		n, err := io.ReadFull(r.Body, p)
		fmt.Fprintf(w, "%d %v\n", n, err)
		if err := c.Flush(); err != nil {
			panic(err)
		}
		if err != nil {
			return
		}
	}
}

func hijack(w http.ResponseWriter, r *http.Request) {
	c, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	_, writeErr := io.WriteString(w, "x")
	_, readErr := r.Body.Read(make([]byte, 1))
	text := fmt.Sprint(writeErr, " ", readErr)
	fmt.Fprintf(rw, "HTTP/1.1 299 Mine\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	rw.Flush()
}

// hijackLate takes the connection when a part of the answer is on its way.
func hijackLate(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "10")
	io.WriteString(w, "first")
	w.(http.Flusher).Flush()
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	io.WriteString(c, "later")
}

// hijackEcho switches to a protocol that repeats lines.
func hijackEcho(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(err)
	}
	defer c.Close()
	fmt.Fprint(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	rw.Flush()
	for {
		line, err := rw.ReadString('\n')
		if err != nil || line == "quit\n" {
			return
		}
		fmt.Fprintf(rw, "HTTP/1.1 299 Line\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
		rw.Flush()
	}
}

var (
	kilobyte = strings.Repeat("0123456789abcdef", 64)
	megabyte = strings.Repeat(kilobyte, 1024)
)

var plainApps = []app{
	{name: "plain", handler: plain, exchanges: slices.Concat(answerExchanges, requestExchanges, connectionExchanges)},
}
