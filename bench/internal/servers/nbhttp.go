package servers

import (
	"net/http"
	"strconv"

	"github.com/lesismal/nbio/nbhttp"
)

// The lengths of the two answers, as header field values.
var (
	plainLength = []string{strconv.Itoa(len(greeting))}
	workLength  = []string{strconv.Itoa(workSize)}
)

func nbHTTP(addr string) error {
	config := nbHTTPConfig()
	config.Addrs = []string{addr}
	return runNbHTTP(config)
}

func nbHTTPS(addr string) error {
	secure, err := nbioConfig(ec)
	if err != nil {
		return err
	}
	config := nbHTTPConfig()
	config.AddrsTLS, config.TLSConfig = []string{addr}, secure
	return runNbHTTP(config)
}

func runNbHTTP(config nbhttp.Config) error {
	if err := nbhttp.NewEngine(config).Start(); err != nil {
		return err
	}
	select {}
}

func nbHTTPConfig() nbhttp.Config {
	return nbhttp.Config{
		Network: "tcp",
		NPoller: Loops(),
		// The handlers do not block.
		ServerExecutor: func(f func()) { f() },
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			// It chunks a body whose length it is not told.
			length := plainLength
			if r.URL.Path == WorkPath {
				length = workLength
			}
			w.Header()["Content-Length"] = length
			handler(w, r)
		}),
	}
}
