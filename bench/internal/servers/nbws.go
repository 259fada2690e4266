package servers

import (
	"net/http"

	"github.com/lesismal/nbio/nbhttp"
	"github.com/lesismal/nbio/nbhttp/websocket"
)

func nbioWebSocket() *websocket.Upgrader {
	u := websocket.NewUpgrader()
	u.OnMessage(func(c *websocket.Conn, kind websocket.MessageType, message []byte) {
		c.WriteMessage(kind, message) // an error closes c
	})
	return u
}

// nbioBroadcast sends every message to all connections.
func nbioBroadcast() *websocket.Upgrader {
	var all room[*websocket.Conn]
	u := websocket.NewUpgrader()
	u.OnOpen(func(c *websocket.Conn) {
		all.join(c)
		c.WriteMessage(websocket.BinaryMessage, nil)
	})
	u.OnClose(func(c *websocket.Conn, _ error) { all.leave(c) })
	u.OnMessage(func(_ *websocket.Conn, kind websocket.MessageType, message []byte) {
		for _, c := range all.members() {
			c.WriteMessage(kind, message) // an error closes c
		}
	})
	return u
}

// nbioClear serves what upgrader returns.
func nbioClear(upgrader func() *websocket.Upgrader) func(addr string) error {
	return func(addr string) error {
		config := nbioUpgrading(upgrader())
		config.Addrs = []string{addr}
		return runNbHTTP(config)
	}
}

// nbioSecure is nbioClear over TLS.
func nbioSecure(upgrader func() *websocket.Upgrader) func(addr string) error {
	return func(addr string) error {
		secure, err := nbioConfig(ec)
		if err != nil {
			return err
		}
		config := nbioUpgrading(upgrader())
		config.AddrsTLS, config.TLSConfig = []string{addr}, secure
		return runNbHTTP(config)
	}
}

func nbioUpgrading(u *websocket.Upgrader) nbhttp.Config {
	u.KeepaliveTime = 0 // no timer for each connection
	config := nbHTTPConfig()
	config.ReleaseWebsocketPayload = true
	config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.Upgrade(w, r, nil) // it answers if it fails
	})
	return config
}
