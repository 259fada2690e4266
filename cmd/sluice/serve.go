package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/httpd"
)

// serveCmd is "sluice serve". Every server has a flag; naming any starts only
// those named.
type serveCmd struct {
	Echo []string `placeholder:"URL" help:"Echo what arrives on tcp://HOST:PORT, tcp4://, tcp6:// or unix://PATH, with TLS on tls://HOST:PORT. May be repeated. Without any server named: ${echo_default}." `
	HTTP []string `name:"http" placeholder:"HOST:PORT" help:"Serve HTTP/1.x and WebSocket; the page at / tells what there is. May be repeated. Without any server named: ${http_default}."`

	HTTPS []string `name:"https" placeholder:"HOST:PORT" help:"The same over TLS. May be repeated."`
	Cert  string   `placeholder:"FILE" help:"The certificate for --https and tls://, in PEM; looked at again when it changes. Without it one is made for this run."`
	Key   string   `placeholder:"FILE" help:"Its key, in PEM."`

	Loops   int           `placeholder:"N" help:"Number of event loops. Default: one for each processor."`
	Direct  bool          `help:"Keep connections out of the process's table of descriptors (io_uring)."`
	Driver  string        `default:"auto" enum:"${drivers}" help:"How the loops talk to the kernel: ${enum}."`
	Accept  string        `default:"auto" enum:"auto,main,perloop" help:"Who accepts connections: a main loop, or every loop for itself (SO_REUSEPORT)."`
	Balance string        `default:"roundrobin" enum:"roundrobin,leastconn,fdhash" help:"How the main loop picks the loop of a new connection: ${enum}. Not used with --accept perloop."`
	Idle    time.Duration `default:"0s" help:"Close a connection that is idle for so long. 0 means never."`
	Drain   time.Duration `default:"10s" help:"How long connections may take to finish after SIGINT or SIGTERM."`
}

const (
	echoDefault = "tcp://127.0.0.1:7000"
	httpDefault = "127.0.0.1:8080"

	// workers is how many requests are handled at one time: each stream of
	// /events takes a goroutine for as long as its client stays.
	workers = 65536
)

// Run serves until a signal comes and then drains.
func (s *serveCmd) Run(out io.Writer) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return s.serve(ctx, out)
}

// serve is Run with a context in place of the signals.
func (s *serveCmd) serve(ctx context.Context, out io.Writer) error {
	cfg, err := s.config()
	if err != nil {
		return err
	}
	eng, err := sluice.New(cfg)
	if err != nil {
		return err
	}
	ws := newSockets()
	web, err := s.start(eng, ws, out)
	if err != nil {
		return errors.Join(err, eng.Close())
	}
	fmt.Fprintf(out, "driver %s, %d loops; interrupt to stop\n", eng.Driver(), loopsOf(eng))
	failed := make(chan error, 1)
	go func() { failed <- eng.Wait() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintf(out, "draining for up to %v\n", s.Drain)
	if err := drain(eng, ws, web, s.Drain); err != nil {
		return fmt.Errorf("connections that did not finish within %v were cut off: %w", s.Drain, err)
	}
	fmt.Fprintln(out, "stopped")
	return nil
}

// drain ends the servers in order, within a time. The error says that connections
// had to be cut off.
func drain(eng *sluice.Engine, ws *sockets, web *httpd.Server, within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	// Requests that are being handled are to have some time left, whatever becomes
	// of the WebSockets.
	first, cancelFirst := context.WithTimeout(ctx, within*3/4)
	defer cancelFirst()
	aborted := ws.Shutdown(first)
	_ = web.Shutdown(ctx) // what it leaves, the engine cuts off
	return cmp.Or(eng.Shutdown(ctx), aborted)
}

// start starts the servers.
func (s *serveCmd) start(eng *sluice.Engine, ws *sockets, out io.Writer) (*httpd.Server, error) {
	if len(s.Echo)+len(s.HTTP)+len(s.HTTPS) == 0 {
		s.Echo, s.HTTP = []string{echoDefault}, []string{httpDefault}
	}
	var secure *tls.Config
	if len(s.HTTPS) > 0 || slices.ContainsFunc(s.Echo, overTLS) {
		var err error
		if secure, err = s.tlsConfig(out); err != nil {
			return nil, err
		}
	}
	if secure == nil && s.Cert+s.Key != "" {
		return nil, errors.New("--cert and --key are for --https and --echo tls://, of which there is none")
	}
	for _, url := range s.Echo {
		if err := listen(eng, out, url, secure); err != nil {
			return nil, err
		}
	}
	web := newHTTP(eng, ws)
	web.TLSConfig = secure
	for _, address := range s.HTTPS {
		ln, err := web.ListenTLS("tcp", address, "", "")
		if err != nil {
			return nil, fmt.Errorf("--https %s: %w", address, err)
		}
		fmt.Fprintf(out, "http on https://%s/\n", ln.Addr())
	}
	for _, address := range s.HTTP {
		ln, err := web.Listen("tcp", address)
		if err != nil {
			return nil, fmt.Errorf("--http %s: %w", address, err)
		}
		fmt.Fprintf(out, "http on http://%s/\n", ln.Addr())
	}
	return web, nil
}

// config translates the flags.
func (s *serveCmd) config() (sluice.Config, error) {
	cfg := sluice.Config{Loops: s.Loops, Driver: s.Driver, DirectDescriptors: s.Direct, IdleTimeout: s.Idle, Workers: workers}
	if s.Loops < 0 || s.Drain < 0 {
		return cfg, errors.New("--loops and --drain must not be negative")
	}
	if s.Direct && s.Driver != "auto" && s.Driver != "io_uring" {
		return cfg, fmt.Errorf("--direct needs --driver io_uring, not %s", s.Driver)
	}
	switch s.Accept {
	case "main":
		cfg.Accept = sluice.AcceptMain
	case "perloop":
		cfg.Accept = sluice.AcceptPerLoop
	}
	switch s.Balance {
	case "leastconn":
		cfg.Balancer = sluice.LeastConnections()
	case "fdhash":
		cfg.Balancer = sluice.FDHash()
	}
	return cfg, nil
}

// overTLS reports whether a URL asks for TLS.
func overTLS(url string) bool { return strings.HasPrefix(url, "tls://") }

// listen starts an echo server and says where.
func listen(eng *sluice.Engine, out io.Writer, url string, secure *tls.Config) error {
	network, address, ok := strings.Cut(url, "://")
	if !ok || address == "" {
		return fmt.Errorf("--echo %s: write it as tcp://HOST:PORT, tls://HOST:PORT or unix://PATH", url)
	}
	var h sluice.Handler = sluice.Funcs{Data: echo, HandshakeError: func(remote net.Addr, err error) []byte {
		slog.Info("echo: a TLS handshake failed", "remote", remote.String(), "err", err)
		return nil
	}}
	scheme := network
	if overTLS(url) {
		network, h = "tcp", sluice.TLS(secure, h)
	}
	switch network {
	case "tcp", "tcp4", "tcp6", "unix":
	default:
		return fmt.Errorf("--echo %s: write it as tcp://HOST:PORT, tls://HOST:PORT or unix://PATH", url)
	}
	ln, err := eng.Listen(network, address, h)
	if err != nil {
		return fmt.Errorf("--echo %s: %w", url, err)
	}
	if scheme != "tls" {
		scheme = ln.Addr().Network()
	}
	fmt.Fprintf(out, "echo on %s://%s\n", scheme, ln.Addr())
	return nil
}

// loopsOf counts the loops that serve connections.
func loopsOf(eng *sluice.Engine) int {
	n := 0
	for _, l := range eng.Stats().Loops {
		if !l.Main {
			n++
		}
	}
	return n
}

// echo sends back what arrives. Reading pauses by itself while the peer does
// not take its answers.
func echo(c sluice.Conn, in *buffer.LinkBuffer) {
	_ = c.WriteBuffer(in) // fails only if c is closed
}
