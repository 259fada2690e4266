package checks

import (
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/buffer"
)

func serveSluice(network, addr string) error {
	return sluiceOf(sluice.Config{}, network, addr)
}

// serveSluiceMain has a loop of its own that accepts.
func serveSluiceMain(network, addr string) error {
	return sluiceOf(sluice.Config{Accept: sluice.AcceptMain}, network, addr)
}

func sluiceOf(cfg sluice.Config, network, addr string) error {
	engine, err := sluice.New(cfg)
	if err != nil {
		return err
	}
	_, err = engine.Listen(network, addr, sluice.Funcs{
		Open: func(c sluice.Conn) { c.SetContext(&session{c: sluiceConn{c}}) },
		Data: func(c sluice.Conn, in *buffer.LinkBuffer) {
			p, err := in.Next(in.Len())
			if err != nil {
				c.Abort()
				return
			}
			c.Context().(*session).data(p)
		},
		Close: func(c sluice.Conn, _ error) { c.Context().(*session).closed() },
	})
	if err != nil {
		return err
	}
	return engine.Wait()
}

type sluiceConn struct{ c sluice.Conn }

func (c sluiceConn) write(p []byte)         { c.c.Write(p) }
func (c sluiceConn) writev(pieces [][]byte) { c.c.Writev(pieces) }
func (c sluiceConn) close()                 { c.c.Close() }
func (c sluiceConn) wake()                  { c.c.Wake() }

func (c sluiceConn) methods() []method {
	return []method{
		{"SetNoDelay", func() error { return c.c.SetNoDelay(false) }},
		{"SetKeepAlive", func() error { return c.c.SetKeepAlive(77 * time.Second) }},
		{"Write", func() error { _, err := c.c.Write(stray); return err }},
		{"Writev", func() error { _, err := c.c.Writev([][]byte{stray}); return err }},
		{"Flush", c.c.Flush},
		{"Wake", c.c.Wake},
		{"PauseRead", c.c.PauseRead},
		{"CloseWrite", c.c.CloseWrite},
		{"Close", c.c.Close},
		{"Abort", c.c.Abort},
	}
}

// stray is what no client asked for.
var stray = []byte("stray")
