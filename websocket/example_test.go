package websocket_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/httpdtest"
	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

// A WebSocket beside other handlers, and how both end in order.
func Example() {
	echo := &websocket.Server{Handler: websocket.Funcs{
		Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
			if err := c.WriteMessage(op, data); err != nil {
				_ = c.Close(websocket.InternalError, "") // fails only if c is closed
			}
		},
	}}
	mux := http.NewServeMux()
	mux.Handle("/ws", echo)
	mux.Handle("/", http.FileServer(http.Dir("public")))
	server := &httpd.Server{Addr: "127.0.0.1:8080", Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()

	asked, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	<-asked.Done()
	drain, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	_ = echo.Shutdown(drain)                                                 // 1001 to everyone; what does not end in time is cut off
	rest, cancel := context.WithTimeout(context.Background(), 5*time.Second) // the requests' own time
	defer cancel()
	if err := server.Shutdown(rest); err != nil {
		server.Close()
	}
}

// A handler of net/http that upgrades after it has checked who asks.
func ExampleServer_Upgrade() {
	notes := &websocket.Server{
		Handler: websocket.Funcs{
			Open: func(c *websocket.Conn) { _ = c.WriteString("hello, " + c.Context().(string)) },
		},
		Compression: &websocket.Compression{Params: ws.Params{
			Server: ws.Side{Takeover: true, Bits: 12}, // messages may refer to those before, in a window of 4 KiB
		}},
	}
	http.HandleFunc("/notes", func(w http.ResponseWriter, r *http.Request) {
		user, _, ok := r.BasicAuth()
		if !ok {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		if _, err := notes.Upgrade(w, r, user); err != nil {
			log.Print(err) // the request has been answered
		}
	})
	log.Fatal(httpd.ListenAndServe("127.0.0.1:8080", nil))
}

// WebSocket alone, over TLS: no http.Request is made. Accept sees the request and says
// what the connection's Context is.
func ExampleServer_Protocol() {
	certificate, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		log.Fatal(err)
	}
	srv := &websocket.Server{
		Handler: websocket.Funcs{
			Message: func(c *websocket.Conn, _ websocket.Opcode, data []byte) {
				log.Printf("%v: %s", c.Context(), data)
			},
		},
		Accept: func(r *websocket.Request) (any, error) {
			query, err := url.ParseQuery(r.Query())
			if err != nil || r.Path() != "/log" || query.Get("as") == "" {
				return nil, &websocket.Refusal{Status: http.StatusNotFound}
			}
			return query.Get("as"), nil
		},
	}
	engine, err := sluice.New(sluice.Config{})
	if err != nil {
		log.Fatal(err)
	}
	secure := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if _, err := engine.Listen("tcp", ":8443", sluice.TLS(secure, srv.Protocol())); err != nil {
		log.Fatal(err)
	}
	log.Fatal(engine.Wait())
}

// Rooms: a message is made once for everybody in one. Those who do not keep up miss
// messages rather than hold up the others or the memory.
func ExampleGroup() {
	var room websocket.Group
	srv := &websocket.Server{
		Backlog: websocket.Backlog{Policy: websocket.DropOldest, Bytes: 64 << 10, Age: 10 * time.Second},
		Handler: websocket.Funcs{
			Open: func(c *websocket.Conn) { room.Add(c) },
			Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
				if room.Broadcast(websocket.Prepare(op, data)) != nil { // more is said than can be told to all
					_ = c.WriteString("try again later")
				}
			},
		},
	}
	http.Handle("/room", srv)
	log.Fatal(httpd.ListenAndServe("127.0.0.1:8080", nil))
}

// Code that waits for messages, such as that of a server with a goroutine for each
// connection. Shutdown ends its Reads; what they do after that is waited for here.
func ExampleServer_UpgradeBlocking() {
	srv := &websocket.Server{Handler: websocket.Funcs{}}
	var talks sync.WaitGroup
	http.HandleFunc("/talk", func(w http.ResponseWriter, r *http.Request) {
		b, err := srv.UpgradeBlocking(w, r, nil)
		if err != nil {
			log.Print(err) // the request has been answered
			return
		}
		talks.Go(func() { // so that the handler returns
			for {
				op, message, err := b.Read(context.Background())
				if err != nil {
					log.Print("status ", websocket.CloseStatus(err))
					return
				}
				if err := b.Write(context.Background(), op, message); err != nil {
					_ = b.Close(websocket.InternalError, "") // Read tells how it ended
				}
			}
		})
	})
	server := &httpd.Server{Addr: "127.0.0.1:8080"}
	time.AfterFunc(time.Hour, func() {
		_ = srv.Shutdown(context.Background())
		_ = server.Shutdown(context.Background())
	})
	log.Print(server.ListenAndServe())
	talks.Wait()
}

// A client that waits for what it gets. Blocking is called in OnOpen, so that no message
// comes before it.
func ExampleDialer() {
	greeter := &websocket.Server{Handler: websocket.Funcs{
		Open: func(c *websocket.Conn) { _ = c.WriteString("hello") },
		Message: func(c *websocket.Conn, _ websocket.Opcode, data []byte) {
			_ = c.Close(websocket.NormalClosure, "you said "+string(data))
		},
	}}
	server := httpdtest.NewServer(greeter)
	defer server.Close()
	engine, err := sluice.New(sluice.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer engine.Close()

	dialer := &websocket.Dialer{
		Engine:  engine,
		Handler: websocket.Funcs{Open: func(c *websocket.Conn) { c.Blocking() }},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	conn, err := dialer.Dial(ctx, "ws"+server.URL[len("http"):], nil)
	if err != nil {
		log.Fatal(err)
	}
	talk := conn.Blocking()
	_, message, err := talk.Read(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", message)
	if err := talk.Write(ctx, websocket.Text, []byte("goodbye")); err != nil {
		log.Fatal(err)
	}
	_, _, err = talk.Read(ctx)
	var end *websocket.CloseError
	if errors.As(err, &end) {
		fmt.Println(end.Status, end.Reason)
	}
	// Output:
	// hello
	// 1000 you said goodbye
}
