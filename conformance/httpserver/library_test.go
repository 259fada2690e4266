package httpserver

import (
	"expvar"
	"io"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// libraryApps are handlers of the standard library, and promhttp.
var libraryApps = []app{
	{name: "ServeMux", handler: routes, exchanges: []exchange{
		get("root", "/"),
		get("wildcard", "/items/a%2Fb"),
		get("rest", "/files/a/b/c"),
		one("method", "200 kept", upload("POST /items", "x")),
		one("wrong method", "405 kept", message("DELETE /items")),
		one("HEAD for GET", "200 kept", message("HEAD /items/a")),
		one("trailing slash", "307 kept", message("GET /tree")),
		one("cleaned path", "307 kept", message("GET /tree/../items//a")),
		one("nowhere", "404 kept", message("GET /nowhere")),
		one("host", "200 kept", "GET /here HTTP/1.1\r\nHost: other.example:80\r\n\r\n"),
		one("not that host", "404 kept", message("GET /here")),
		one("stripped", "200 kept", message("GET /strip/x/y?z")),
	}},
	{
		name: "FileServer", handler: fileServer, scrub: []string{`boundary=[0-9a-f]+`, `--[0-9a-f]{60}`}, exchanges: []exchange{
			get("small", "/small.txt"),
			get("large", "/large.bin"),
			get("empty", "/empty"),
			one("HEAD", "200 kept", message("HEAD /large.bin")),
			get("listing", "/dir/"),
			one("to the directory", "301 kept", message("GET /dir")),
			get("index", "/site/"),
			one("from the index", "301 kept", message("GET /site/index.html")),
			one("nowhere", "404 kept", message("GET /nowhere")),
			one("outside", "404 kept", message("GET /../../etc/passwd")),
			one("range", "206 kept", message("GET /large.bin", "Range: bytes=100-199")),
			one("range to the end", "206 kept", message("GET /large.bin", "Range: bytes=1000000-")),
			one("range from the end", "206 kept", message("GET /large.bin", "Range: bytes=-10")),
			one("range of one byte", "206 kept", message("GET /small.txt", "Range: bytes=0-0")),
			one("ranges", "206 kept", message("GET /large.bin", "Range: bytes=0-9,100-109,-5")),
			one("range of HEAD", "206 kept", message("HEAD /large.bin", "Range: bytes=0-9")),
			one("range outside", "416 kept", message("GET /small.txt", "Range: bytes=9999-")),
			one("range invalid", "416 kept", message("GET /small.txt", "Range: bytes=z")),
			one("not modified", "304 kept", message("GET /small.txt", "If-Modified-Since: Fri, 02 Jan 2026 15:04:05 GMT")),
			get("modified", "/small.txt", "If-Modified-Since: Fri, 02 Jan 2026 15:04:04 GMT"),
			one("precondition", "412 kept", message("GET /small.txt", "If-Unmodified-Since: Fri, 02 Jan 2026 15:04:04 GMT")),
			one("If-Range", "206 kept", message("GET /small.txt", "Range: bytes=1-2", "If-Range: Fri, 02 Jan 2026 15:04:05 GMT")),
			get("If-Range changed", "/small.txt", "Range: bytes=1-2", "If-Range: Fri, 02 Jan 2026 15:04:04 GMT"),
			one("on 1.0", "200 closed", "GET /large.bin HTTP/1.0\r\n\r\n"),
			{name: "many at once", want: "200 206 200 200 kept", pipelined: true, send: []string{
				message("GET /large.bin"), message("GET /large.bin", "Range: bytes=5-9"), message("GET /small.txt"), message("HEAD /large.bin"),
			}},
		},
	},
	{name: "TimeoutHandler", handler: timeoutHandler, exchanges: []exchange{
		get("in time", "/quick"),
		one("too late", "503 kept", message("GET /slow")),
		one("too late with a body", "503 kept", upload("POST /slow", kilobyte)),
		one("panic", "closed", message("GET /panic")),
		get("no flush", "/flush"),
	}},
	{name: "MaxBytesHandler", handler: maxBytes, exchanges: []exchange{
		one("small", "200 kept", upload("POST /", "small")),
		one("large", "413 closed", upload("POST /", megabyte)),
		one("large in chunks", "413 closed", chunked("POST /", megabyte)),
		one("a bit too large", "413 closed", upload("POST /", kilobyte+"x")),
	}},
	{name: "pprof", handler: pprofHandler, exchanges: []exchange{
		{name: "index", want: "200 kept", unlike: true, contains: "heap", send: []string{message("GET /debug/pprof/")}},
		{name: "goroutines", want: "200 kept", unlike: true, contains: "goroutine profile", send: []string{message("GET /debug/pprof/goroutine?debug=1")}},
		{name: "heap", want: "200 kept", unlike: true, send: []string{message("GET /debug/pprof/heap")}},
		{name: "trace", want: "200 kept", unlike: true, send: []string{message("GET /debug/pprof/trace?seconds=0.01")}},
		get("command line", "/debug/pprof/cmdline"),
		one("symbol", "200 kept", upload("POST /debug/pprof/symbol", "0x1+0x2")),
		one("nothing", "404 kept", message("GET /debug/pprof/nothing")),
	}},
	{name: "expvar", handler: func(t *testing.T) http.Handler { return expvar.Handler() }, exchanges: []exchange{
		{name: "all", want: "200 kept", unlike: true, contains: `"memstats"`, send: []string{message("GET /debug/vars")}},
	}},
	{
		name: "promhttp", handler: promhttpHandler, exchanges: []exchange{
			{name: "all at once", want: "200 200 404 200 kept", unlike: true, contains: `requests_total{code="404",method="get"} 1`, send: []string{
				message("GET /"), upload("POST /", "body"), message("GET /?code=404"), message("GET /metrics"),
			}},
			{name: "flush", want: "200 kept", send: []string{message("GET /?flush=1")}},
			{name: "compressed", want: "200 kept", unlike: true, contains: "Content-Encoding: gzip", send: []string{message("GET /metrics", "Accept-Encoding: gzip")}},
			{name: "OpenMetrics", want: "200 kept", unlike: true, contains: "# EOF", send: []string{
				message("GET /metrics", "Accept: application/openmetrics-text; version=1.0.0"),
			}},
		},
	},
}

func routes(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	for _, pattern := range []string{
		"/{$}", "GET /items/{id}", "POST /items", "GET /items", "/files/{rest...}", "/tree/", "other.example/here",
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.Pattern+" "+r.PathValue("id")+" "+r.PathValue("rest"))
		})
	}
	mux.Handle("/strip/", http.StripPrefix("/strip", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, r.URL.Path+" "+r.RequestURI)
	})))
	return mux
}

func fileServer(t *testing.T) http.Handler {
	dir := t.TempDir()
	modified := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	for name, content := range map[string]string{
		"small.txt": "a small file", "large.bin": megabyte + megabyte, "empty": "", "dir/a b.txt": "a", "dir/c.txt": "c",
		"site/index.html": "<html>index",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "dir", "site"} {
		if err := os.Chtimes(filepath.Join(dir, name), modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	return http.FileServer(http.Dir(dir))
}

func timeoutHandler(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/quick", func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-A", "b"); io.WriteString(w, kilobyte) })
	mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	mux.HandleFunc("/panic", func(w http.ResponseWriter, r *http.Request) { panic("boom") })
	mux.HandleFunc("/flush", func(w http.ResponseWriter, r *http.Request) {
		if _, ok := w.(http.Flusher); ok {
			io.WriteString(w, "a flusher")
		}
		io.WriteString(w, http.NewResponseController(w).Flush().Error())
	})
	quick := http.TimeoutHandler(mux, bound, "never")
	slow := http.TimeoutHandler(mux, 10*time.Millisecond, "too late")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			slow.ServeHTTP(w, r)
			return
		}
		quick.ServeHTTP(w, r)
	})
}

func maxBytes(t *testing.T) http.Handler {
	return http.MaxBytesHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		w.Write(body)
	}), 1024)
}

func pprofHandler(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}

// promhttpHandler is instrumented in every way, whose wrapper asks the
// ResponseWriter for all its interfaces.
func promhttpHandler(t *testing.T) http.Handler {
	reg := prometheus.NewRegistry()
	auto := promauto.With(reg)
	requests := auto.NewCounterVec(prometheus.CounterOpts{Name: "requests_total"}, []string{"code", "method"})
	duration := auto.NewHistogramVec(prometheus.HistogramOpts{Name: "duration_seconds"}, []string{"code"})
	size := auto.NewHistogramVec(prometheus.HistogramOpts{Name: "size_bytes", Buckets: []float64{1, 1000}}, nil)
	inFlight := auto.NewGauge(prometheus.GaugeOpts{Name: "in_flight"})
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("code") == "404" {
			http.NotFound(w, r)
			return
		}
		if r.FormValue("flush") != "" {
			w.(http.Flusher).Flush()
		}
		io.Copy(w, r.Body)
	})
	h = promhttp.InstrumentHandlerResponseSize(size, h)
	h = promhttp.InstrumentHandlerDuration(duration, h)
	h = promhttp.InstrumentHandlerCounter(requests, h)
	h = promhttp.InstrumentHandlerInFlight(inFlight, h)
	mux := http.NewServeMux()
	mux.Handle("/", h)
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{EnableOpenMetrics: true}))
	return mux
}
