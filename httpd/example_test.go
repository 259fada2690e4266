package httpd_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/certfile"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/httpdtest"
)

// A server for net/http moves over by the name of the type: what was
//
//	server := &http.Server{
//
// becomes
//
//	server := &httpd.Server{
//
// and every handler, router and middleware stays as it is.
func Example() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "Hello, %s!", r.PathValue("name"))
	})
	server := &httpd.Server{
		Addr:              "127.0.0.1:8080",
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute, // an idle connection costs little: it may stay
	}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()

	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	<-interrupted.Done()
	drain, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		server.Close() // cuts off what has not finished
	}
}

// A LoopHandler answers on the event loop, without a goroutine and without
// allocating. Requests it does not answer go to Handler.
func ExampleServer_loopHandler() {
	srv := httpdtest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "from a goroutine")
	}))
	srv.Config.LoopHandler = func(x *httpd.RequestCtx) bool {
		if string(x.Path()) != "/ping" {
			return false
		}
		x.SetContentType("text/plain")
		x.WriteString("pong, ")
		x.Write(x.Query())
		return true
	}
	srv.Start()
	defer srv.Close()
	for _, path := range []string{"/ping?1", "/other"} {
		resp, err := srv.Client().Get(srv.URL + path)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Println(string(body))
	}
	// Output:
	// pong, 1
	// from a goroutine
}

// A server over TLS that knows its clients by their certificates, if they have one.
// The Engine has the limits of handshakes.
func ExampleServer_ListenAndServeTLS() {
	pair, err := certfile.Load("cert.pem", "key.pem", nil)
	if err != nil {
		log.Fatal(err)
	}
	engine, err := sluice.New(sluice.Config{HandshakeTimeout: 5 * time.Second, MaxHandshakes: 2000})
	if err != nil {
		log.Fatal(err)
	}
	server := &httpd.Server{
		Addr:   ":443",
		Engine: engine,
		TLSConfig: &tls.Config{
			GetCertificate: pair.GetCertificate, // reads the files again when they change
			ClientAuth:     tls.VerifyClientCertIfGiven,
			ClientCAs:      x509.NewCertPool(), // of those who issue the clients' certificates
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if len(r.TLS.VerifiedChains) > 0 {
				fmt.Fprintf(w, "Hello %s\n", r.TLS.PeerCertificates[0].Subject)
			}
		}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() { log.Print(server.ListenAndServeTLS("", "")) }()

	stop, cancel := signal.NotifyContext(context.Background(), os.Interrupt)
	defer cancel()
	<-stop.Done()
	drain, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = server.Shutdown(drain)
	_ = engine.Shutdown(drain)
}

// Several servers share the loops of one engine, HTTP or not.
func ExampleServer_engine() {
	engine, err := sluice.New(sluice.Config{Workers: 10_000})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()
	public := &httpd.Server{Engine: engine, Handler: http.FileServer(http.Dir("/srv/www"))}
	admin := &httpd.Server{Engine: engine, Handler: http.DefaultServeMux}
	for server, address := range map[*httpd.Server]string{public: "127.0.0.1:0", admin: "127.0.0.1:0"} {
		if _, err := server.Listen("tcp", address); err != nil {
			log.Fatal(err)
		}
		defer server.Shutdown(context.Background())
	}
	fmt.Println(len(engine.Stats().Loops) > 0)
	// Output: true
}

// shout answers every line in capitals.
type shout struct{}

func (shout) OnOpen(sluice.Conn) {}

func (shout) OnData(c sluice.Conn, in *buffer.LinkBuffer) {
	for {
		n := bytes.IndexByte(in.Bytes(), '\n') + 1
		if n == 0 {
			return // the rest of the line will come
		}
		line, _ := in.Next(n)
		_, _ = c.Write(bytes.ToUpper(line))
	}
}

func (shout) OnClose(sluice.Conn, error) {}

// A request switches to another protocol, which needs no goroutine.
func ExampleTakeOver() {
	srv := httpdtest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "shout" {
			http.Error(w, "what?", http.StatusUpgradeRequired)
			return
		}
		answer := "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\n"
		if _, err := httpd.TakeOver(w, []byte(answer), shout{}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	defer srv.Close()

	c, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: example.org\r\nConnection: Upgrade\r\nUpgrade: shout\r\n\r\nhello\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		log.Fatal(err)
	}
	line, _ := r.ReadString('\n')
	fmt.Print(resp.Status, ": ", line)
	// Output: 101 Switching Protocols: HELLO
}
