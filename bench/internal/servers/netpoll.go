package servers

import (
	"context"

	"github.com/cloudwego/netpoll"
)

func netpollEcho(addr string) error {
	if err := netpoll.SetNumLoops(Loops()); err != nil {
		return err
	}
	l, err := netpoll.CreateListener("tcp", addr)
	if err != nil {
		return err
	}
	loop, err := netpoll.NewEventLoop(func(_ context.Context, c netpoll.Connection) error {
		in, err := c.Reader().Next(c.Reader().Len())
		if err != nil {
			return err
		}
		if _, err := c.Writer().WriteBinary(in); err != nil {
			return err
		}
		if err := c.Writer().Flush(); err != nil {
			return err
		}
		return c.Reader().Release()
	})
	if err != nil {
		return err
	}
	return loop.Serve(l)
}
