package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
)

// web starts the server of --http.
func web(t *testing.T) string {
	eng, err := sluice.New(sluice.Config{Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	s := newHTTP(eng, newSockets())
	ln, err := s.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return "http://" + ln.Addr().String()
}

func get(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestPagesAnswer(t *testing.T) {
	base := web(t)
	long := strings.Repeat("echo ", 100_000)
	for _, c := range []struct {
		method, path, body string
		status             int
		kind, want         string
	}{
		{"GET", "/plaintext", "", 200, "text/plain", greeting},
		{"GET", "/nethttp/plaintext", "", 200, "text/plain", greeting},
		{"GET", "/json", "", 200, "application/json", `{"message":"` + greeting + `"}` + "\n"},
		{"POST", "/echo", long, 200, "text/plain; charset=utf-8", long},
		{"GET", "/work?n=-1", "", 400, "", ""},
		{"GET", "/work?n=1000000000000", "", 400, "", ""},
		{"GET", "/ws", "", 426, "", ""},
		{"GET", "/chat/ws", "", 426, "", ""},
		{"GET", "/chat", "", 200, "text/html; charset=utf-8", chatHTML},
		{"GET", "/nowhere", "", 404, "", ""},
		{"DELETE", "/plaintext", "", 404, "", ""},
	} {
		resp, body := get(t, c.method, base+c.path, c.body)
		if resp.StatusCode != c.status || c.want != "" && body != c.want || c.kind != "" && resp.Header.Get("Content-Type") != c.kind {
			t.Errorf("%s %s: %s %v, %d bytes", c.method, c.path, resp.Status, resp.Header, len(body))
		}
	}
	if resp, body := get(t, "GET", base+"/work?n=100000", ""); resp.StatusCode != 200 || len(body) != 1024 || !strings.HasPrefix(body, "4999950000x") {
		t.Errorf("/work: %s, %.20q, %d bytes", resp.Status, body, len(body))
	}
	if _, body := get(t, "GET", base+"/", ""); strings.Count(body, "<a href=") != 7 {
		t.Errorf("/: %q", body)
	}
}

func TestStatsAreThoseOfEngineServerAndRuntime(t *testing.T) {
	base := web(t)
	get(t, "GET", base+"/plaintext", "")
	get(t, "GET", base+"/ws", "") // which is no handshake
	_, body := get(t, "GET", base+"/stats", "")
	var st serverStats
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatal(err)
	}
	if st.HTTP.Requests != 3 || st.HTTP.Conns < 1 || len(st.Engine.Loops) < 2 || st.Engine.Jobs.Running != 1 || st.Runtime.HeapInUse == 0 || st.WebSocket.Echo.Refused != 1 {
		t.Errorf("%+v", st)
	}
}

func TestEventsComeUntilTheClientLeaves(t *testing.T) {
	left := make(chan struct{})
	s := &httpd.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(left)
		events(w, r, time.Millisecond, t.Context())
	})}
	ln, err := s.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	resp, err := http.Get("http://" + ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	in := bufio.NewScanner(resp.Body)
	for _, want := range []string{"id: 1", "data: ", "", "id: 2", "data: ", "", "id: 3"} {
		if !in.Scan() || !strings.HasPrefix(in.Text(), want) {
			t.Fatalf("%q for %q, %v", in.Text(), want, in.Err())
		}
	}
	resp.Body.Close()
	<-left
}

func TestEventsEndOnAWriterThatCannotFlush(t *testing.T) {
	events(struct{ http.ResponseWriter }{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil), time.Hour, t.Context())
}
