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
	engine := nbhttp.NewEngine(nbhttp.Config{
		Network: "tcp",
		Addrs:   []string{addr},
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
	})
	if err := engine.Start(); err != nil {
		return err
	}
	select {}
}
