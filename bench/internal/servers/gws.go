package servers

import (
	"net/http"

	"github.com/lxzan/gws"
)

type gwsHandler struct{ gws.BuiltinEventHandler }

func (*gwsHandler) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.WriteMessage(m.Opcode, m.Bytes()) // an error ends ReadLoop
}

func gwsEcho(addr string) error {
	upgrader := gws.NewUpgrader(new(gwsHandler), nil)
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			return // it has answered
		}
		go c.ReadLoop() // so that what net/http has of the connection can go
	}))
}
