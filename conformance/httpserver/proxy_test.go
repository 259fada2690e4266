package httpserver

import (
	"bufio"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// reverseProxy forwards to the backend over connections that end with the test.
func reverseProxy(t *testing.T, backend *site) http.Handler {
	t.Helper()
	target, err := url.Parse(backend.url)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 10}
	t.Cleanup(transport.CloseIdleConnections)
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
		},
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // some exchanges fail behind it
	}
}

// eachProxy runs test with a proxy of every kind in front of a backend of every
// kind.
func eachProxy(t *testing.T, backend http.Handler, test func(t *testing.T, front *site)) {
	for _, front := range kinds {
		for _, back := range kinds {
			t.Run(front.name+" to "+back.name, func(t *testing.T) {
				test(t, front.serve(t, reverseProxy(t, back.serve(t, backend))))
			})
		}
	}
}

// proxyScrub is what differs from backend to backend.
var proxyScrub = []*regexp.Regexp{regexp.MustCompile(`127\.0\.0\.1:\d+`)}

// proxyExchanges are what httputil.ReverseProxy must get through.
var proxyExchanges = []exchange{
	get("hello", "/hello"),
	get("long", "/long"),
	one("HEAD", "200 kept", message("HEAD /exactly?n=100")),
	one("upload", "200 kept", upload("POST /read?n=100", kilobyte)),
	one("large upload", "200 kept", upload("POST /seen", megabyte)),
	one("large chunked upload", "200 kept", chunked("POST /seen", megabyte)),
	one("no content", "204 kept", message("GET /status?code=204")),
	one("not modified", "304 kept", message("GET /status?code=304")),
	{name: "early hints", want: "103 102 200 kept", send: []string{message("GET /early")}},
	{name: "trailer", want: "200 kept", contains: "X-Sum: 4", send: []string{message("GET /trailer")}},
	one("aborted", "502 kept", message("GET /abort")),
	one("aborted late", "200 broken closed", message("GET /abort-late")),
	{name: "upgrade", want: "101 299 closed", send: []string{
		message("GET /hijack-echo", "Connection: upgrade", "Upgrade: echo"), "a line\n",
		"quit\n",
	}},
	{name: "many at once", want: "200 200 200 200 kept", pipelined: true, send: []string{
		message("GET /long"), chunked("POST /seen", megabyte), message("GET /hello"), upload("PUT /seen", kilobyte),
	}},
}

func TestReverseProxy(t *testing.T) {
	references := make(map[string]string)
	eachProxy(t, plain(t), func(t *testing.T, front *site) {
		for _, e := range proxyExchanges {
			t.Run(e.name, func(t *testing.T) {
				front.log.Reset()
				answers, kept := front.converse(t, e.send, conversation{pipelined: e.pipelined})
				e.check(t, front, answers, kept)
				got := e.report(answers, kept, proxyScrub)
				if reference, ok := references[e.name]; !ok {
					references[e.name] = got
				} else if got != reference {
					t.Errorf("differs: %s", firstDifference(got, reference))
				}
			})
		}
	})
}

// TestReverseProxyWebSocket: both ends of a proxied upgrade.
func TestReverseProxyWebSocket(t *testing.T) {
	eachProxy(t, webSocketMux(), func(t *testing.T, front *site) {
		ctx, cancel := context.WithTimeout(context.Background(), bound)
		defer cancel()
		if err := webSocketClients["gorilla"](ctx, "ws://"+front.addr+"/coder", webSocketSizes); err != nil {
			t.Error(err)
		}
	})
}

// TestReverseProxyStream: an event arrives before the next one is made, and a
// client that goes away is noticed behind the proxy.
func TestReverseProxyStream(t *testing.T) {
	next, gone := make(chan bool), make(chan bool)
	events := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for range 3 {
			io.WriteString(w, "data: event\n\n")
			w.(http.Flusher).Flush()
			<-next
		}
		<-r.Context().Done()
		gone <- true
	})
	eachProxy(t, events, func(t *testing.T, front *site) {
		c := front.connect(t)
		io.WriteString(c, message("GET /"))
		r := bufio.NewReader(c)
		for read := 0; read < 3; {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "data:") {
				read++
				next <- true
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
		case <-time.After(bound):
			t.Error("the backend does not learn that the client is gone")
		}
	})
}
