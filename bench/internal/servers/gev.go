package servers

import (
	"errors"

	"github.com/Allenxuxu/gev"
)

type gevHandler struct{}

func (gevHandler) OnConnect(*gev.Connection) {}
func (gevHandler) OnClose(*gev.Connection)   {}
func (gevHandler) OnMessage(_ *gev.Connection, _ any, in []byte) any {
	return in
}

func gevEcho(addr string) error {
	s, err := gev.NewServer(gevHandler{}, gev.Network("tcp"), gev.Address(addr), gev.NumLoops(Loops()))
	if err != nil {
		return err
	}
	setNoDelay()
	s.Start()
	return errors.New("gev stopped")
}
