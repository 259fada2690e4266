package checks

import "github.com/tidwall/evio"

func serveEvio(network, addr string) error {
	var events evio.Events
	events.Opened = func(c evio.Conn) ([]byte, evio.Options, evio.Action) {
		c.SetContext(&session{c: &evioConn{c: c}})
		return nil, evio.Options{}, evio.None
	}
	events.Data = func(c evio.Conn, in []byte) ([]byte, evio.Action) {
		s := c.Context().(*session)
		answer := s.c.(*evioConn)
		answer.out, answer.action = nil, evio.None
		s.data(in)
		return answer.out, answer.action
	}
	events.Closed = func(c evio.Conn, _ error) evio.Action {
		if s, ok := c.Context().(*session); ok { // not if it ends before Opened
			s.closed()
		}
		return evio.None
	}
	return evio.Serve(events, network+"://"+addr)
}

// evioConn holds what Data returns.
type evioConn struct {
	c      evio.Conn
	out    []byte
	action evio.Action
}

func (c *evioConn) write(p []byte) { c.out = append(c.out, p...) }
func (c *evioConn) close()         { c.action = evio.Close }
func (c *evioConn) wake()          { c.c.Wake() }
func (c *evioConn) methods() []method {
	return []method{{"Wake", func() error { c.c.Wake(); return nil }}}
}
