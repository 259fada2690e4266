package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
)

// newHTTP makes the server of --http and --https, on eng's loops.
func newHTTP(eng *sluice.Engine, ws *sockets) *httpd.Server {
	s := &httpd.Server{Engine: eng, LoopHandler: plaintext, ReadHeaderTimeout: headerTimeout}
	closing, closed := context.WithCancel(context.Background())
	s.RegisterOnShutdown(closed)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", index)
	mux.HandleFunc("GET /nethttp/plaintext", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, greeting)
	})
	mux.HandleFunc("GET /json", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, struct {
			Message string `json:"message"`
		}{greeting})
	})
	mux.HandleFunc("/echo", echoBody)
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) { events(w, r, time.Second, closing) })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, statsOf(eng, s, ws)) })
	mux.HandleFunc("GET /work", work)
	ws.handle(mux)
	s.Handler = mux
	return s
}

const (
	greeting = "Hello, World!"

	// headerTimeout keeps those from holding a connection for ever who never
	// finish a request's head.
	headerTimeout = 10 * time.Second

	// workMax bounds /work: about a second of one processor.
	workMax = 1_000_000_000
)

// plaintext answers /plaintext on the loop.
func plaintext(x *httpd.RequestCtx) bool {
	if string(x.Path()) != "/plaintext" || string(x.Method()) != http.MethodGet && string(x.Method()) != http.MethodHead {
		return false
	}
	x.SetContentType("text/plain")
	_, _ = x.WriteString(greeting)
	return true
}

// index is the page at /.
func index(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = io.WriteString(w, `<!doctype html>
<title>Sluice</title>
<h1>Sluice</h1>
<ul>
<li><a href="/plaintext">/plaintext</a>: a greeting, answered on the event loop
<li><a href="/nethttp/plaintext">/nethttp/plaintext</a>: the same, by a handler of net/http
<li><a href="/json">/json</a>: the same as JSON
<li>/echo: POST something and get it back, streamed
<li><a href="/events">/events</a>: server-sent events, one a second
<li>/ws: a WebSocket that sends every message back
<li><a href="/chat">/chat</a>: a room to talk in, over the WebSocket at /chat/ws?name=NAME
<li><a href="/stats">/stats</a>: the loops' counters, those of HTTP and WebSocket, memory and garbage collection
<li><a href="/work?n=100000">/work?n=100000</a>: a busy loop of n steps, then 1 KB
</ul>
`)
}

// echoBody sends the body back while it comes.
func echoBody(w http.ResponseWriter, r *http.Request) {
	if kind := r.Header.Get("Content-Type"); kind != "" {
		w.Header().Set("Content-Type", kind)
	}
	_ = http.NewResponseController(w).EnableFullDuplex()
	_, _ = io.Copy(w, r.Body) // fails only if the client is gone
}

// events sends an event every so often until the client leaves or the server
// closes.
func events(w http.ResponseWriter, r *http.Request, every time.Duration, closing context.Context) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	rc := http.NewResponseController(w)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		_, _ = fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n, time.Now().UTC().Format(time.RFC3339Nano))
		if rc.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-closing.Done():
			return
		case <-tick.C:
		}
	}
}

// serverStats is what /stats tells.
type serverStats struct {
	Engine    sluice.Stats
	HTTP      httpd.Stats
	WebSocket socketStats
	Runtime   runtimeStats
}

// runtimeStats are the Go runtime's figures; sizes in bytes, times in ns.
type runtimeStats struct {
	Goroutines   int
	HeapInUse    uint64
	StacksInUse  uint64
	FromSystem   uint64
	GCs          uint32
	GCPauseTotal uint64
	GCPauseLast  uint64
	GCFraction   float64 // of the processor time since the start
}

func statsOf(eng *sluice.Engine, s *httpd.Server, ws *sockets) serverStats {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return serverStats{
		Engine:    eng.Stats(),
		HTTP:      s.Stats(),
		WebSocket: ws.stats(),
		Runtime: runtimeStats{
			Goroutines: runtime.NumGoroutine(), HeapInUse: m.HeapInuse, StacksInUse: m.StackInuse, FromSystem: m.Sys,
			GCs: m.NumGC, GCPauseTotal: m.PauseTotalNs, GCPauseLast: m.PauseNs[(m.NumGC+255)%256], GCFraction: m.GCCPUFraction,
		},
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // fails only if the client is gone
}

// work spins for n steps and answers with 1 KB.
func work(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(r.URL.Query().Get("n"))
	if err != nil || n < 0 || n > workMax {
		http.Error(w, fmt.Sprintf("write /work?n=STEPS with 0 to %d steps", workMax), http.StatusBadRequest)
		return
	}
	sum := 0
	for i := range n {
		sum += i
	}
	answer := make([]byte, 1024)
	for i := range answer {
		answer[i] = 'x'
	}
	strconv.AppendInt(answer[:0], int64(sum), 10) // so that the loop is not left out
	w.Header().Set("Content-Type", "text/plain")
	_, _ = w.Write(answer)
}
