package servers

import "github.com/lesismal/nbio"

func nbioEcho(addr string) error {
	engine := nbio.NewEngine(nbio.Config{Network: "tcp", Addrs: []string{addr}, NPoller: Loops()})
	engine.OnData(func(c *nbio.Conn, in []byte) {
		c.Write(in) // copies what it cannot send at once; an error closes c
	})
	if err := engine.Start(); err != nil {
		return err
	}
	select {}
}
