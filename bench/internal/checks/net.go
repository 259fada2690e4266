package checks

import (
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// acceptPause is how long a goroutine that accepts waits for descriptors, as
// net/http's does.
const acceptPause = 50 * time.Millisecond

// serveNet is Go's own model: a goroutine for every connection.
func serveNet(network, addr string) error {
	l, err := net.Listen(network, addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		switch {
		case errors.Is(err, unix.EMFILE):
			time.Sleep(acceptPause)
			continue
		case err != nil:
			return err
		}
		go serveNetConn(c)
	}
}

func serveNetConn(c net.Conn) {
	defer c.Close()
	s := &session{c: netConn{c}}
	defer s.closed()
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			s.data(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

type netConn struct{ c net.Conn }

func (c netConn) write(p []byte) { c.c.Write(p) }
func (c netConn) close()         { c.c.Close() }

func (c netConn) writev(pieces [][]byte) {
	bufs := net.Buffers(pieces)
	bufs.WriteTo(c.c)
}

func (c netConn) methods() []method {
	tcp := c.c.(*net.TCPConn)
	return []method{
		{"SetNoDelay", func() error { return tcp.SetNoDelay(false) }},
		{"SetKeepAlivePeriod", func() error { return tcp.SetKeepAlivePeriod(77 * time.Second) }},
		{"SetLinger", func() error { return tcp.SetLinger(7) }},
		{"Write", func() error { _, err := tcp.Write(stray); return err }},
		{"CloseWrite", tcp.CloseWrite},
		{"Close", tcp.Close},
	}
}
