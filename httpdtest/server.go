// Package httpdtest runs an httpd.Server on the loopback interface for tests,
// in the manner of net/http/httptest: what a suite does with httptest.NewServer,
// URL, Client, Config and Close, it does with the same names here. Listener is
// a *sluice.Listener and set by Start; servers of TLS are to come.
//
//	srv := httpdtest.NewServer(handler)
//	defer srv.Close()
//	resp, err := srv.Client().Get(srv.URL + "/path")
package httpdtest

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
)

// Server is a server on a port of its own of 127.0.0.1.
type Server struct {
	// URL is the server's, such as "http://127.0.0.1:12345", without a
	// slash at the end. It is set when the server has been started.
	URL string

	// Listener is what the server listens on, once it has been started.
	Listener *sluice.Listener

	// Config is the server. Its fields may be changed before Start.
	Config *httpd.Server

	client *http.Client
}

// slowClose is after how long Close logs that it waits for handlers.
const slowClose = 5 * time.Second

// NewServer starts a server with that handler. The caller calls Close at the
// end. It panics if there is no port to listen on.
func NewServer(h http.Handler) *Server {
	s := NewUnstartedServer(h)
	s.Start()
	return s
}

// NewUnstartedServer makes a server whose Config may be changed before Start is
// called.
func NewUnstartedServer(h http.Handler) *Server {
	return &Server{Config: &httpd.Server{Handler: h}}
}

// Start starts a server that NewUnstartedServer has made. It panics if there is
// no port to listen on or the server has been started before.
func (s *Server) Start() {
	if s.Listener != nil {
		panic("httpdtest: Start of a server that was started before")
	}
	ln, err := s.Config.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(fmt.Sprintf("httpdtest: %v", err))
	}
	s.Listener = ln
	s.URL = "http://" + ln.Addr().String()
	s.client = &http.Client{Transport: &http.Transport{}}
}

// Client returns a client of the server's own, whose connections end with the
// server. It does not use proxies.
func (s *Server) Client() *http.Client { return s.client }

// CloseClientConnections aborts the server's connections, but for those that
// handlers have hijacked.
func (s *Server) CloseClientConnections() { s.Config.CloseConns() }

// Close shuts the server down and waits until all requests are answered.
func (s *Server) Close() {
	if s.Listener == nil {
		return
	}
	s.client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	slow := time.AfterFunc(slowClose, func() { slog.Warn("httpdtest: Close waits for requests that are not answered", "url", s.URL) })
	defer slow.Stop()
	_ = s.Config.Shutdown(context.Background())
}
