package servers

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-go/sluice/httpd"
)

// sluiceHTTP is httpd with the handler that net/http has.
func sluiceHTTP(addr string) error {
	s := &httpd.Server{Addr: addr, Handler: http.HandlerFunc(handler)}
	return s.ListenAndServe()
}

// sluiceNative is httpd with a handler on the loop, which does the work there,
// too.
func sluiceNative(addr string) error {
	s := &httpd.Server{
		Addr:    addr,
		Handler: http.NotFoundHandler(),
		LoopHandler: func(x *httpd.RequestCtx) bool {
			switch string(x.Path()) {
			case PlainPath:
				x.SetContentType(contentType)
				x.WriteString(greeting)
			case WorkPath:
				n, err := strconv.Atoi(strings.TrimPrefix(string(x.Query()), "n="))
				if err != nil || n < 0 || n > maxWork {
					x.SetStatus(http.StatusBadRequest)
					return true
				}
				x.SetContentType(contentType)
				x.Write(work(n))
			default:
				return false
			}
			return true
		},
	}
	return s.ListenAndServe()
}
