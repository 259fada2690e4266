package httpdtest_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/httpdtest"
)

func TestServerServesUntilClosed(t *testing.T) {
	srv := httpdtest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.URL.Path) }))
	for _, client := range []*http.Client{srv.Client(), http.DefaultClient} {
		resp, err := client.Get(srv.URL + "/a/path")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(body) != "/a/path" {
			t.Fatalf("%q, %v", body, err)
		}
	}
	srv.Close()
	if c, err := net.Dial("tcp", srv.Listener.Addr().String()); err == nil {
		c.Close()
		t.Error("the port is still open")
	}
}

func TestUnstartedServerTakesSettings(t *testing.T) {
	srv := httpdtest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.MaxHeaderBytes = 1000
	srv.Start()
	defer srv.Close()
	req, err := http.NewRequest("GET", srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X", strings.Repeat("x", 1000))
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func TestCloseClientConnectionsEndsRequests(t *testing.T) {
	at := make(chan struct{})
	srv := httpdtest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(at)
		<-r.Context().Done()
	}))
	defer srv.Close()
	failed := make(chan error, 1)
	go func() {
		resp, err := srv.Client().Get(srv.URL)
		if err == nil {
			resp.Body.Close()
			err = errors.New("an answer came")
		}
		failed <- err
	}()
	<-at
	srv.CloseClientConnections()
	if err := <-failed; strings.Contains(err.Error(), "an answer came") {
		t.Error(err)
	}
}
