package checks

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"golang.org/x/sys/unix"
)

// faulty are servers that do everything wrong that is checked.
var faulty = []library{
	{name: "faulty", serve: func(network, addr string) error { return serveFaulty(network, addr, serveFaultyConn) }},
	{name: "faulty-http", http: true, serve: func(network, addr string) error { return serveFaulty(network, addr, serveFaultyHTTP) }},
}

func serveFaulty(network, addr string, serve func(net.Conn)) error {
	l, err := net.Listen(network, addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go serve(c)
	}
}

// loop is held by the connection that is served.
var loop sync.Mutex

func serveFaultyConn(c net.Conn) {
	defer c.Close()
	s := &session{c: faultyConn{netConn{c}}}
	defer s.closed()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if n == len(buf) {
			n-- // loses a byte now and then
		}
		if n > 0 {
			loop.Lock()
			s.data(buf[:n])
			loop.Unlock()
		}
		if err != nil {
			return
		}
	}
}

type faultyConn struct{ netConn }

func (c faultyConn) write(p []byte) {
	if len(p) == len(payload()) {
		p = p[:len(p)/2]
	}
	c.c.Write(p)
}

func (c faultyConn) writev(pieces [][]byte) { c.netConn.writev(pieces[:len(pieces)/2]) }

// wake does not let go of the loop.
func (c faultyConn) wake() { select {} }

func (c faultyConn) methods() []method {
	raw, err := c.c.(*net.TCPConn).SyscallConn()
	if err != nil {
		panic(err)
	}
	var number int
	raw.Control(func(fd uintptr) { number = int(fd) })
	return []method{{"SetNoDelay", func() error {
		return unix.SetsockoptInt(number, unix.IPPROTO_TCP, unix.TCP_NODELAY, 0)
	}}}
}

// serveFaultyHTTP takes every request for one without a fault.
func serveFaultyHTTP(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return
		}
		switch req.URL.Path {
		case panicPath:
			panic("a handler's fault, on purpose")
		case writePath:
			io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
			c.Write(payload()[:len(payload())/2])
			return
		}
		if req.Header.Get("Expect") != "" {
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
}
