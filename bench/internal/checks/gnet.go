package checks

import (
	"time"

	"github.com/panjf2000/gnet/v2"
)

type gnetHandler struct{ gnet.BuiltinEventEngine }

func (*gnetHandler) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(&session{c: &gnetConn{c: c}})
	return nil, gnet.None
}

func (*gnetHandler) OnTraffic(c gnet.Conn) gnet.Action {
	in, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	s := c.Context().(*session)
	s.data(in)
	if s.c.(*gnetConn).closing {
		return gnet.Close
	}
	return gnet.None
}

func (*gnetHandler) OnClose(c gnet.Conn, _ error) gnet.Action {
	c.Context().(*session).closed()
	return gnet.None
}

func serveGnet(network, addr string) error {
	return gnet.Run(new(gnetHandler), network+"://"+addr)
}

func serveGnetEdge(network, addr string) error {
	return gnet.Run(new(gnetHandler), network+"://"+addr, gnet.WithEdgeTriggeredIO(true))
}

type gnetConn struct {
	c       gnet.Conn
	closing bool
}

func (c *gnetConn) write(p []byte)         { c.c.Write(p) }
func (c *gnetConn) writev(pieces [][]byte) { c.c.Writev(pieces) }
func (c *gnetConn) close()                 { c.closing = true } // OnTraffic returns gnet.Close
func (c *gnetConn) wake()                  { c.c.Wake(nil) }

// methods returns those that gnet documents as safe for concurrent use.
func (c *gnetConn) methods() []method {
	return []method{
		{"SetNoDelay", func() error { return c.c.SetNoDelay(false) }},
		{"SetKeepAlivePeriod", func() error { return c.c.SetKeepAlivePeriod(77 * time.Second) }},
		{"SetLinger", func() error { return c.c.SetLinger(7) }},
		{"AsyncWrite", func() error { return c.c.AsyncWrite(stray, nil) }},
		{"Wake", func() error { return c.c.Wake(nil) }},
		{"Close", c.c.Close},
	}
}
