package servers

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
)

// What the HTTP servers answer to. Their answers have the same status, header
// fields and body.
const (
	PlainPath = "/plaintext" // a greeting
	WorkPath  = "/work"      // a loop of as many steps as the query's n says, then 1 KB
)

const (
	contentType = "text/plain"
	greeting    = "Hello, World!"
	workSize    = 1024 // bytes of what WorkPath answers
	maxWork     = 1e9  // steps: about a second
)

// Body returns the body of the right answer to a path with its query.
func Body(target string) (string, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return "", err
	}
	switch u.Path {
	case PlainPath:
		return greeting, nil
	case WorkPath:
		n, err := strconv.Atoi(u.Query().Get("n"))
		if err != nil || n < 0 || n > maxWork {
			return "", fmt.Errorf("%s: want %s?n= and 0 to %d steps", target, WorkPath, int(maxWork))
		}
		return string(work(n)), nil
	}
	return "", fmt.Errorf("%s: want %s or %s?n=", target, PlainPath, WorkPath)
}

// work counts through n steps and returns what came of it, so that no compiler
// can leave the loop out, in the first line of workSize bytes. It is not inlined, so
// that all servers run the same instructions: how fast a loop of one addition is
// depends on where it lies, by a third.
//
//go:noinline
func work(n int) []byte {
	sum := 0
	for i := range n {
		sum += i
	}
	body := append(strconv.AppendInt(make([]byte, 0, workSize), int64(sum), 10), '\n')
	for len(body) < workSize {
		body = append(body, '.')
	}
	return body
}

// handler is the handler of all servers that take one of net/http. It does
// without a ServeMux, whose work would be the same in all of them.
func handler(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case PlainPath:
		w.Header().Set("Content-Type", contentType)
		io.WriteString(w, greeting)
	case WorkPath:
		n, err := strconv.Atoi(r.URL.Query().Get("n"))
		if err != nil || n < 0 || n > maxWork {
			http.Error(w, "n?", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Write(work(n))
	default:
		http.NotFound(w, r)
	}
}

func netHTTP(addr string) error {
	return http.ListenAndServe(addr, http.HandlerFunc(handler))
}

func netHTTPS(addr string) error {
	config, err := serverTLS(ec)
	if err != nil {
		return err
	}
	s := &http.Server{Addr: addr, Handler: http.HandlerFunc(handler), TLSConfig: config}
	return s.ListenAndServeTLS("", "")
}
