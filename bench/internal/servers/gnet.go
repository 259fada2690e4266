package servers

import "github.com/panjf2000/gnet/v2"

type gnetHandler struct{ gnet.BuiltinEventEngine }

func (*gnetHandler) OnTraffic(c gnet.Conn) gnet.Action {
	in, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if _, err := c.Write(in); err != nil {
		return gnet.Close
	}
	return gnet.None
}

func gnetEcho(addr string) error {
	return gnet.Run(new(gnetHandler), "tcp4://"+addr, gnet.WithNumEventLoop(Loops()))
}
