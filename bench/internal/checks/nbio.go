package checks

import (
	"time"

	"github.com/lesismal/nbio"
)

func serveNbio(network, addr string) error {
	return nbioOf(nbio.Config{Network: network, Addrs: []string{addr}})
}

func serveNbioEdge(network, addr string) error {
	return nbioOf(nbio.Config{Network: network, Addrs: []string{addr}, EpollMod: nbio.EPOLLET})
}

func nbioOf(cfg nbio.Config) error {
	cfg.NPoller = 1 // the default asks for the machine's cores
	engine := nbio.NewEngine(cfg)
	engine.OnOpen(func(c *nbio.Conn) { c.SetSession(&session{c: nbioConn{c}}) })
	engine.OnData(func(c *nbio.Conn, in []byte) { c.Session().(*session).data(in) })
	engine.OnClose(func(c *nbio.Conn, _ error) { c.Session().(*session).closed() })
	if err := engine.Start(); err != nil {
		return err
	}
	select {}
}

type nbioConn struct{ c *nbio.Conn }

func (c nbioConn) write(p []byte)         { c.c.Write(p) }
func (c nbioConn) writev(pieces [][]byte) { c.c.Writev(pieces) }
func (c nbioConn) close()                 { c.c.Close() }

func (c nbioConn) methods() []method {
	return []method{
		{"SetNoDelay", func() error { return c.c.SetNoDelay(false) }},
		{"SetKeepAlivePeriod", func() error { return c.c.SetKeepAlivePeriod(77 * time.Second) }},
		{"SetKeepAlive", func() error { return c.c.SetKeepAlive(false) }},
		{"SetLinger", func() error { return c.c.SetLinger(1, 7) }},
		{"Write", func() error { _, err := c.c.Write(stray); return err }},
		{"Close", c.c.Close},
	}
}
