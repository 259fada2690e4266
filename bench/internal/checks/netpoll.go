package checks

import (
	"context"
	"time"

	"github.com/cloudwego/netpoll"
)

// sessionKey is where the context of a connection has its session.
type sessionKey struct{}

func serveNetpoll(network, addr string) error {
	l, err := netpoll.CreateListener(network, addr)
	if err != nil {
		return err
	}
	loop, err := netpoll.NewEventLoop(func(ctx context.Context, c netpoll.Connection) error {
		in, err := c.Reader().Next(c.Reader().Len())
		if err != nil {
			return err
		}
		ctx.Value(sessionKey{}).(*session).data(in)
		return c.Reader().Release()
	}, netpoll.WithOnPrepare(func(c netpoll.Connection) context.Context {
		s := &session{c: netpollConn{c}}
		c.AddCloseCallback(func(netpoll.Connection) error { s.closed(); return nil })
		return context.WithValue(context.Background(), sessionKey{}, s)
	}))
	if err != nil {
		return err
	}
	return loop.Serve(l)
}

type netpollConn struct{ c netpoll.Connection }

func (c netpollConn) write(p []byte) { c.writev([][]byte{p}) }

// writev links the pieces in the connection's buffer, which Flush sends with
// sendmsg(2).
func (c netpollConn) writev(pieces [][]byte) {
	w := c.c.Writer()
	for _, p := range pieces {
		if _, err := w.WriteBinary(p); err != nil {
			return
		}
	}
	w.Flush()
}

func (c netpollConn) close() { c.c.Close() }

func (c netpollConn) methods() []method {
	return []method{
		{"SetIdleTimeout", func() error { return c.c.SetIdleTimeout(77 * time.Second) }},
		{"Write", func() error { _, err := c.c.Write(stray); return err }},
		{"Close", c.c.Close},
	}
}
