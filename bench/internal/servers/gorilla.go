package servers

import (
	"net/http"

	"github.com/gorilla/websocket"
)

func gorillaEcho() http.HandlerFunc {
	var upgrader websocket.Upgrader
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		go gorillaEchoes(c) // so that what net/http has of the connection can go
	}
}

func gorillaEchoes(c *websocket.Conn) {
	defer c.Close()
	for {
		kind, message, err := c.ReadMessage()
		if err != nil {
			return
		}
		if err := c.WriteMessage(kind, message); err != nil {
			return
		}
	}
}

// gorillaQueue is how many messages wait for a connection before it is given
// up, as in the library's chat example.
const gorillaQueue = 256

// gorillaMember is a connection in a room.
type gorillaMember struct {
	conn *websocket.Conn
	send chan *websocket.PreparedMessage
	done chan struct{} // closed when it has left
}

func (m *gorillaMember) write() {
	for {
		select {
		case message := <-m.send:
			if err := m.conn.WritePreparedMessage(message); err != nil {
				m.conn.Close() // which ends the reading
			}
		case <-m.done:
			return
		}
	}
}

// read sends every message to all.
func (m *gorillaMember) read(all *room[*gorillaMember]) {
	defer close(m.done)
	defer m.conn.Close()
	defer all.leave(m)
	for {
		kind, message, err := m.conn.ReadMessage()
		if err != nil {
			return
		}
		prepared, err := websocket.NewPreparedMessage(kind, message)
		if err != nil {
			return
		}
		for _, to := range all.members() {
			select {
			case to.send <- prepared:
			default:
				to.conn.Close()
			}
		}
	}
}

func gorillaBroadcast() http.HandlerFunc {
	var upgrader websocket.Upgrader
	var all room[*gorillaMember]
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // it has answered
		}
		m := &gorillaMember{c, make(chan *websocket.PreparedMessage, gorillaQueue), make(chan struct{})}
		all.join(m)
		if err := c.WriteMessage(websocket.BinaryMessage, nil); err != nil {
			c.Close()
		}
		go m.write()
		go m.read(&all)
	}
}
