package sluice_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http/httptest"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
)

// A server over TLS that says hello, and a client over TLS.
func ExampleTLS() {
	eng, err := sluice.New(sluice.Config{HandshakeTimeout: 5 * time.Second})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	certificate := exampleCertificate() // or one of package certfile, which reads files again when they change
	server := &tls.Config{Certificates: []tls.Certificate{certificate}}
	ln, err := eng.Listen("tcp", "127.0.0.1:0", sluice.TLS(server, sluice.Funcs{
		Open: func(c sluice.Conn) { // the handshake is over
			c.Write(fmt.Appendf(nil, "hello over %s", tls.VersionName(c.TLS().Version)))
			c.Close()
		},
		HandshakeError: func(remote net.Addr, err error) []byte {
			log.Printf("%v: %v", remote, err)
			return nil
		},
	}))
	if err != nil {
		log.Fatal(err)
	}

	roots := x509.NewCertPool()
	roots.AddCert(certificate.Leaf)
	client := &tls.Config{RootCAs: roots, ServerName: "example.com"} // without a name it is the host that is dialed
	closed := make(chan struct{})
	_, err = eng.Dial(context.Background(), "tcp", ln.Addr().String(), sluice.TLS(client, sluice.Funcs{
		Data: func(_ sluice.Conn, in *buffer.LinkBuffer) {
			p, _ := in.Next(in.Len())
			fmt.Printf("%s\n", p)
		},
		Close: func(sluice.Conn, error) { close(closed) },
	}))
	if err != nil {
		log.Fatal(err)
	}
	<-closed
	// Output: hello over TLS 1.3
}

// exampleCertificate returns a certificate for example.com that nobody knows.
func exampleCertificate() tls.Certificate {
	ts := httptest.NewTLSServer(nil)
	defer ts.Close()
	return ts.TLS.Certificates[0]
}

// An echo server on a port of the system's choice, and one client.
func Example() {
	eng, err := sluice.New(sluice.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ln, err := eng.Listen("tcp", "127.0.0.1:0", sluice.Funcs{
		Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
			_ = c.WriteBuffer(in) // without a copy, sent when Data has returned
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(client, "hello")
	p := make([]byte, 5)
	_, _ = io.ReadFull(client, p)
	fmt.Printf("%s\n", p)
	client.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	fmt.Println(eng.Shutdown(ctx))
	// Output:
	// hello
	// <nil>
}

// A protocol of lines: whole ones are answered, the beginning of one that is
// not yet whole is left unread and comes again with what follows.
func ExampleHandler() {
	upper := func(c sluice.Conn, in *buffer.LinkBuffer) {
		for {
			line, err := in.Until('\n')
			if err != nil {
				return // buffer.ErrShort: the rest of the line is to come
			}
			_, _ = c.WriteString(fmt.Sprintf("%d bytes\n", len(line)-1))
		}
	}
	talk(sluice.Funcs{Data: upper}, "one\ntw", "o\nthree\n")
	// Output:
	// 3 bytes
	// 3 bytes
	// 5 bytes
}

// Work that may block runs on pooled goroutines, in order for each connection.
func ExampleConn_Offload() {
	h := sluice.Funcs{Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
		query := string(in.Bytes())
		_ = in.Skip(in.Len())
		_ = c.Offload(func(c sluice.Conn) {
			time.Sleep(time.Millisecond) // a database, say
			_, _ = c.WriteString("answer to " + query + "\n")
		})
	}}
	talk(h, "question")
	// Output:
	// answer to question
}

// A connection that owes us a greeting is closed when it does not come in time.
func ExampleConn_SetReadDeadline() {
	h := sluice.Funcs{
		Open: func(c sluice.Conn) { _ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond)) },
		Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
			_ = c.SetReadDeadline(time.Time{}) // it came
			_ = in.Skip(in.Len())
		},
		Close: func(c sluice.Conn, err error) { fmt.Println(err) },
	}
	talk(h)
	// Output:
	// sluice: read deadline passed: i/o timeout
}

// talk serves one connection with h, sends it pieces and prints the answer.
func talk(h sluice.Handler, pieces ...string) {
	eng, err := sluice.New(sluice.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer eng.Close()
	ln, err := eng.Listen("tcp", "127.0.0.1:0", h)
	if err != nil {
		log.Fatal(err)
	}
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	for _, p := range pieces {
		fmt.Fprint(client, p)
		time.Sleep(5 * time.Millisecond)
	}
	if len(pieces) > 0 {
		_ = client.(*net.TCPConn).CloseWrite()
	}
	answer, _ := io.ReadAll(client)
	fmt.Print(string(answer))
	client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = eng.Shutdown(ctx)
}

// A proxy: bytes pass from one connection to the other without a copy, both on
// one loop, each paused while the other's peer does not take them, and the end
// of either direction is passed on.
func ExampleConn_Dial() {
	upstream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		c, err := upstream.Accept()
		if err != nil {
			return
		}
		p, _ := io.ReadAll(c)
		fmt.Fprintf(c, "got %q", p)
		c.Close()
	}()

	other := func(c sluice.Conn) sluice.Conn { o, _ := c.Context().(sluice.Conn); return o }
	pass := sluice.Funcs{
		Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
			to := other(c)
			if to.WriteBuffer(in) == nil && to.PendingWrite() > 256<<10 {
				_ = c.PauseRead() // until to has drained
			}
		},
		Drain: func(c sluice.Conn) { _ = other(c).ResumeRead() },
		EOF:   func(c sluice.Conn) { _ = other(c).CloseWrite() },
		Close: func(c sluice.Conn, err error) { _ = other(c).Close() },
	}
	front := pass
	front.Open = func(c sluice.Conn) {
		_ = c.PauseRead()
		_ = c.Dial(context.Background(), "tcp", upstream.Addr().String(), pass, func(up sluice.Conn, err error) {
			if err != nil {
				_ = c.Abort()
				return
			}
			for _, leg := range []sluice.Conn{c, up} {
				_ = leg.SetWaterMarks(64<<10, 256<<10, 16<<20)
			}
			c.SetContext(up)
			up.SetContext(c)
			_ = c.ResumeRead()
		})
	}
	talk(front, "question")
	// Output:
	// got "question"
}
