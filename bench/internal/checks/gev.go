package checks

import (
	"errors"

	"github.com/Allenxuxu/gev"
)

type gevHandler struct{}

func (gevHandler) OnConnect(c *gev.Connection) { c.SetContext(&session{c: gevConn{c}}) }
func (gevHandler) OnClose(c *gev.Connection)   { c.Context().(*session).closed() }

func (gevHandler) OnMessage(c *gev.Connection, _ any, in []byte) any {
	c.Context().(*session).data(in)
	return nil
}

func serveGev(network, addr string) error {
	// NumLoops is by default the number of the machine's cores.
	s, err := gev.NewServer(gevHandler{}, gev.Network(network), gev.Address(addr), gev.NumLoops(1))
	if err != nil {
		return err
	}
	s.Start()
	return errors.New("Start returned")
}

type gevConn struct{ c *gev.Connection }

// write gives Send a copy, since it sends later.
func (c gevConn) write(p []byte) { c.c.Send(append([]byte(nil), p...)) }
func (c gevConn) close()         { c.c.Close() }

func (c gevConn) methods() []method {
	return []method{
		{"Send", func() error { return c.c.Send(stray) }},
		{"Close", c.c.Close},
		{"ShutdownWrite", c.c.ShutdownWrite},
	}
}
