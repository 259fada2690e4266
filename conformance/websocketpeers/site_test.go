package websocketpeers

import (
	"bytes"
	"errors"
	"fmt"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

// kept are Params with which both sides refer to the messages before.
var kept = ws.Params{Server: ws.Side{Takeover: true}, Client: ws.Side{Takeover: true}}

// Bounds that no test reaches.
const (
	maxMessage = 16 << 20
	maxBacklog = 64 << 20
)

// site is a server for the scripts. It has WebSockets at
//
//	/echo       with compression and context takeover, and with subprotocols
//	/nocontext  with compression without context takeover
//	/plain      without compression
//	/small      with messages of up to 1000 bytes
//
// which echo, and do what a message that begins with "!" tells them:
//
//	!name NAME          remember the connection's end, for /closed?name=NAME
//	!ping PAYLOAD       ping, and when the pong is there write "pong PAYLOAD"
//	!close CODE REASON  close
//	!burst N SIZE       write N binary messages, the first byte of each its number, and close
//
// Over HTTP, /closed waits for the end of a connection and answers with the code
// and reason of OnClose, /traffic with how many bytes were received and sent, and
// /results takes those of a page.
type site struct {
	url     string // http:// or https://
	id      identity
	results chan []byte

	mu   sync.Mutex
	ends map[string]chan string
}

// startServer starts a site on e, which ends with the test.
func startServer(t *testing.T, e *sluice.Engine, secure bool) *site {
	t.Helper()
	s := &site{id: newIdentity(t), results: make(chan []byte, 1), ends: make(map[string]chan string)}
	mux := http.NewServeMux()
	s.webSockets(mux)
	mux.HandleFunc("/closed", func(w http.ResponseWriter, r *http.Request) {
		select {
		case end := <-s.end(r.FormValue("name")):
			fmt.Fprint(w, end)
		case <-time.After(bound):
			fmt.Fprint(w, "nothing")
		}
	})
	mux.HandleFunc("/traffic", func(w http.ResponseWriter, r *http.Request) {
		var in, out int64
		for _, l := range e.Stats().Loops {
			in, out = in+l.BytesIn, out+l.BytesOut
		}
		fmt.Fprint(w, in, out)
	})
	mux.HandleFunc("POST /results", func(w http.ResponseWriter, r *http.Request) {
		var line bytes.Buffer
		if _, err := line.ReadFrom(r.Body); err != nil {
			return
		}
		select {
		case s.results <- line.Bytes():
		case <-r.Context().Done():
		}
	})
	mux.HandleFunc("/client.html", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, "testdata/client.html") })
	srv := &httpd.Server{Engine: e, Handler: mux, ErrorLog: log.New(t.Output(), "", 0)}
	t.Cleanup(func() { srv.Close() })
	var ln *sluice.Listener
	var err error
	if secure {
		s.url = "https://"
		ln, err = srv.ListenTLS("tcp", "127.0.0.1:0", s.id.cert, s.id.key)
	} else {
		s.url = "http://"
		ln, err = srv.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		t.Fatal(err)
	}
	s.url += ln.Addr().String()
	return s
}

// webSockets adds the WebSockets to mux.
func (s *site) webSockets(mux *http.ServeMux) {
	for path, srv := range map[string]*websocket.Server{
		"/echo":      {MaxMessage: maxMessage, Compression: &websocket.Compression{Threshold: 1, Params: kept}, Subprotocols: []string{"echo.v2", "echo.v1"}},
		"/nocontext": {MaxMessage: maxMessage, Compression: &websocket.Compression{Threshold: 1}},
		"/plain":     {MaxMessage: maxMessage},
		"/small":     {MaxMessage: 1000, Compression: &websocket.Compression{Threshold: 1, Params: kept}},
	} {
		srv.Handler = websocket.Funcs{Message: obey, Pong: pong, Close: s.closed}
		srv.Backlog.Bytes = maxBacklog
		mux.Handle(path, srv)
	}
}

// obey echoes a message, or does what it tells.
func obey(c *websocket.Conn, op websocket.Opcode, data []byte) {
	if op != websocket.Text || !bytes.HasPrefix(data, []byte("!")) {
		_ = c.WriteMessage(op, data)
		return
	}
	word, rest, _ := strings.Cut(string(data[1:]), " ")
	switch word {
	case "name":
		c.SetContext(rest)
		_ = c.WriteMessage(websocket.Text, []byte("named"))
	case "ping":
		_ = c.Ping([]byte(rest))
	case "close":
		var code int
		_, _ = fmt.Sscan(rest, &code)
		_, reason, _ := strings.Cut(rest, " ")
		_ = c.Close(websocket.Status(code), reason)
	case "burst":
		var n, size int
		_, _ = fmt.Sscan(rest, &n, &size)
		for i := range n {
			p := make([]byte, size)
			p[0] = byte(i)
			_ = c.WriteMessage(websocket.Binary, p)
		}
		_ = c.Close(websocket.NormalClosure, "that was all")
	}
}

func pong(c *websocket.Conn, payload []byte) {
	if len(payload) > 0 {
		_ = c.WriteMessage(websocket.Text, append([]byte("pong "), payload...))
	}
}

// closed tells of a connection's end.
func (s *site) closed(c *websocket.Conn, err error) {
	if name, ok := c.Context().(string); ok {
		s.end(name) <- ending(err)
	}
}

// ending returns the code and reason of what OnClose got.
func ending(err error) string {
	reason := ""
	var said *websocket.CloseError
	if errors.As(err, &said) {
		reason = said.Reason
	}
	return fmt.Sprintf("%d %s", websocket.CloseStatus(err), reason)
}

// end returns where a connection's end is told.
func (s *site) end(name string) chan string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ends[name] == nil {
		s.ends[name] = make(chan string, 1)
	}
	return s.ends[name]
}

// webSocketURL returns the site's as ws:// or wss://.
func (s *site) webSocketURL() string { return "ws" + strings.TrimPrefix(s.url, "http") }
