package servers

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/sluice-go/sluice/httpd"
)

// sluiceHTTP is httpd with the handler that net/http has.
func sluiceHTTP() *httpd.Server { return &httpd.Server{Handler: http.HandlerFunc(handler)} }

// sluiceNative is httpd with a handler on the loop, which does the work there,
// too.
func sluiceNative() *httpd.Server {
	return &httpd.Server{
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
}

// sluiceClear serves what server returns in clear.
func sluiceClear(server func() *httpd.Server) func(addr string) error {
	return func(addr string) error {
		s := server()
		s.Addr = addr
		return s.ListenAndServe()
	}
}

// sluiceHTTPS serves what server returns over TLS.
func sluiceHTTPS(server func() *httpd.Server) func(addr string) error {
	return func(addr string) (err error) {
		s := server()
		s.Addr = addr
		if s.TLSConfig, err = serverTLS(ec); err != nil {
			return err
		}
		return s.ListenAndServeTLS("", "")
	}
}
