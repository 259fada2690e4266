package servers

import (
	"net/http"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/websocket"
)

// sluiceWebSocket echoes messages.
func sluiceWebSocket() *websocket.Server {
	return &websocket.Server{Handler: websocket.Funcs{
		Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
			c.WriteMessage(op, data) // fails only if c is closed
		},
	}}
}

// sluiceBroadcast sends every message to all connections.
func sluiceBroadcast() *websocket.Server {
	s := new(websocket.Server)
	s.Handler = websocket.Funcs{
		Open: func(c *websocket.Conn) { c.WriteMessage(websocket.Binary, nil) },
		Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
			if s.Broadcast(websocket.Prepare(op, data)) != nil { // which the client would wait for
				_ = c.Abort()
			}
		},
	}
	return s
}

// sluiceUpgrade has httpd serve what server returns.
func sluiceUpgrade(server func() *websocket.Server) func() *httpd.Server {
	return func() *httpd.Server {
		ws := server()
		return &httpd.Server{Handler: http.HandlerFunc(ws.ServeHTTP)}
	}
}

// sluiceWebSocketLoop is httpd with the handshake on its loops.
func sluiceWebSocketLoop() *httpd.Server {
	ws := sluiceWebSocket()
	return &httpd.Server{LoopHandler: func(x *httpd.RequestCtx) bool {
		ws.ServeLoop(x)
		return true
	}}
}

// sluiceWebSocketAlone serves it on a listener of its own.
func sluiceWebSocketAlone(addr string) error {
	eng, err := sluice.New(sluice.Config{})
	if err != nil {
		return err
	}
	if _, err := eng.Listen("tcp", addr, sluiceWebSocket().Protocol()); err != nil {
		return err
	}
	return eng.Wait()
}
