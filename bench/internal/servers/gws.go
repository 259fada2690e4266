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

func gwsEcho() http.HandlerFunc { return gwsUpgrade(new(gwsHandler)) }

// gwsRoom sends every message to all connections.
type gwsRoom struct {
	gws.BuiltinEventHandler
	room room[*gws.Conn]
}

func (h *gwsRoom) OnOpen(c *gws.Conn) {
	h.room.join(c)
	c.WriteMessage(gws.OpcodeBinary, nil)
}

func (h *gwsRoom) OnClose(c *gws.Conn, _ error) { h.room.leave(c) }

func (h *gwsRoom) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	b := gws.NewBroadcaster(m.Opcode, m.Bytes())
	defer b.Close()
	for _, c := range h.room.members() {
		b.Broadcast(c) // an error ends its ReadLoop
	}
}

func gwsBroadcast() http.HandlerFunc { return gwsUpgrade(new(gwsRoom)) }

func gwsUpgrade(h gws.Event) http.HandlerFunc {
	upgrader := gws.NewUpgrader(h, nil)
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r)
		if err != nil {
			return // it has answered
		}
		go c.ReadLoop() // so that what net/http has of the connection can go
	}
}
