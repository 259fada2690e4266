package httpserver

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/go-chi/cors"
)

// chiApps is chi with its middleware.
var chiApps = []app{{
	name: "chi", handler: chiRouter,
	exchanges: []exchange{
		get("heartbeat", "/ping"),
		get("parameter", "/items/42?q=1", "X-Request-Id: abc", "X-Forwarded-For: 203.0.113.7"),
		get("slash stripped", "/items/42/"),
		one("HEAD for GET", "200 kept", message("HEAD /items/42")),
		one("wrong method", "405 kept", message("DELETE /items/42")),
		one("nowhere", "404 kept", message("GET /nowhere")),
		get("compressed", "/text", "Accept-Encoding: gzip"),
		get("compressed and flushed", "/flush", "Accept-Encoding: gzip"),
		get("deflated", "/text", "Accept-Encoding: deflate"),
		get("not compressed", "/text"),
		one("panic", "500 kept", message("GET /panic")),
		one("abort", "closed", message("GET /abort")),
		one("timeout", "504 kept", message("GET /slow")),
		one("preflight", "200 kept", message("OPTIONS /items/42", "Origin: https://a.example", "Access-Control-Request-Method: PUT",
			"Access-Control-Request-Headers: X-Token")),
		get("cross-origin", "/items/42", "Origin: https://a.example"),
		one("no credentials", "401 kept", message("GET /admin/")),
		get("credentials", "/admin/", "Authorization: Basic dXNlcjpwYXNz"),
		one("JSON", "201 kept", upload("POST /items", `{"a": 1}`, "Content-Type: application/json")),
		one("wrong type", "415 kept", upload("POST /items", `{"a": 1}`, "Content-Type: text/html")),
		one("body too large", "413 closed", upload("POST /items", `{"a": "`+megabyte+`"}`, "Content-Type: application/json")),
		get("mounted and throttled", "/sub/deep/x"),
		get("logged by a wrapper", "/wrapped"),
		{name: "many at once", want: "200 201 500 200 404 kept", pipelined: true, send: []string{
			message("GET /items/1"), upload("POST /items", `{}`, "Content-Type: application/json"), message("GET /panic"),
			message("GET /text", "Accept-Encoding: gzip"), message("HEAD /nowhere"),
		}},
	},
}}

// quiet is a log formatter whose entries keep the stack of a panic off the
// standard error.
type quiet struct{ middleware.LogFormatter }

type quietEntry struct{ middleware.LogEntry }

func (q quiet) NewLogEntry(r *http.Request) middleware.LogEntry {
	return quietEntry{q.LogFormatter.NewLogEntry(r)}
}

func (quietEntry) Panic(any, []byte) {}

func chiRouter(t *testing.T) http.Handler {
	silent := quiet{&middleware.DefaultLogFormatter{Logger: log.New(io.Discard, "", 0), NoColor: true}}
	r := chi.NewRouter()
	r.Use(middleware.RequestID, middleware.RealIP, middleware.RequestLogger(silent), middleware.Recoverer,
		middleware.Heartbeat("/ping"), middleware.StripSlashes, middleware.GetHead, middleware.Compress(5),
		middleware.Timeout(bound), middleware.RequestSize(100000), middleware.NoCache,
		cors.Handler(cors.Options{AllowedOrigins: []string{"https://*"}, AllowedMethods: []string{"PUT"}, AllowedHeaders: []string{"X-Token"}}))
	r.Get("/items/{id}", func(w http.ResponseWriter, r *http.Request) {
		id := middleware.GetReqID(r.Context())
		if r.Header.Get("X-Request-Id") == "" {
			id = fmt.Sprint(id != "")
		}
		fmt.Fprint(w, chi.URLParam(r, "id"), id, r.RemoteAddr == "203.0.113.7", r.URL.RawQuery)
	})
	r.With(middleware.AllowContentType("application/json")).Post("/items", func(w http.ResponseWriter, r *http.Request) {
		var v map[string]any
		if err := json.NewDecoder(r.Body).Decode(&v); err != nil {
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		w.WriteHeader(http.StatusCreated)
		json.NewEncoder(w).Encode(v)
	})
	r.Get("/text", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, megabyte[:100000])
	})
	r.Get("/flush", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for range 3 {
			io.WriteString(w, kilobyte)
			w.(http.Flusher).Flush()
		}
	})
	r.Get("/panic", func(w http.ResponseWriter, r *http.Request) { panic("boom") })
	r.Get("/abort", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) })
	r.With(middleware.Timeout(10*time.Millisecond)).Get("/slow", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	r.Get("/wrapped", func(w http.ResponseWriter, r *http.Request) {
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		_, readerFrom := ww.(io.ReaderFrom)
		io.WriteString(ww, "wrapped ")
		fmt.Fprint(ww, ww.Status(), ww.BytesWritten(), readerFrom)
	})
	r.Route("/admin", func(r chi.Router) {
		r.Use(middleware.BasicAuth("realm", map[string]string{"user": "pass"}))
		r.Get("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "admin") })
	})
	sub := chi.NewRouter()
	sub.Use(middleware.Throttle(2))
	sub.Get("/deep/*", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, chi.URLParam(r, "*")) })
	r.Mount("/sub", sub)
	return r
}
