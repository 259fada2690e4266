package httpd_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/httpd"
)

func TestSmoke(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "Hello, World!") })
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, r.Body)
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		for range 1000 {
			w.Write(bytes.Repeat([]byte("x"), 5000))
		}
	})
	s := &httpd.Server{Handler: mux, LoopHandler: func(x *httpd.RequestCtx) bool {
		if string(x.Path()) == "/loop" {
			x.WriteString("Hello, World!")
			return true
		}
		return false
	}}
	ln, err := s.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + ln.Addr().String()
	c := &http.Client{Timeout: 10 * time.Second}
	get := func(path string) string {
		resp, err := c.Get(base + path)
		if err != nil {
			t.Fatal(path, err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(path, err)
		}
		t.Log(path, resp.Status, resp.Header, len(b))
		return string(b)
	}
	for range 3 {
		if get("/hello") != "Hello, World!" || get("/loop") != "Hello, World!" || len(get("/big")) != 5000000 {
			t.Fatal("wrong")
		}
		for _, n := range []int{0, 10, 1000, 100000, 3000000} {
			body := strings.Repeat("y", n)
			for _, rd := range []io.Reader{strings.NewReader(body), struct{ io.Reader }{strings.NewReader(body)}} {
				resp, err := c.Post(base+"/echo", "text/plain", rd)
				if err != nil {
					t.Fatal(n, err)
				}
				b, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				if err != nil || string(b) != body {
					t.Fatal(n, len(b), err)
				}
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
}
