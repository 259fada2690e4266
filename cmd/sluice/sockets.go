package main

import (
	"cmp"
	"context"
	"net/http"

	"github.com/sluice-go/sluice/websocket"
)

// sockets are the WebSocket servers of --http and --https.
type sockets struct {
	echo *websocket.Server
	room *room
}

func newSockets() *sockets {
	return &sockets{
		echo: &websocket.Server{
			Handler:     websocket.Funcs{Message: echoMessage},
			Compression: &websocket.Compression{},
		},
		room: newRoom(),
	}
}

// echoMessage sends a message back. Reading pauses by itself while the peer does not
// take its answers.
func echoMessage(c *websocket.Conn, op websocket.Opcode, data []byte) {
	if c.WriteMessage(op, data) != nil { // an echo has no gaps
		_ = c.Close(websocket.PolicyViolation, "take the answers before you send more")
	}
}

// handle adds the servers to mux.
func (s *sockets) handle(mux *http.ServeMux) {
	mux.Handle("/ws", s.echo)
	mux.HandleFunc("GET /chat", chatPage)
	mux.Handle("/chat/ws", s.room.server)
}

// socketStats are the counters of the WebSocket servers.
type socketStats struct {
	Echo websocket.Stats
	Chat websocket.Stats
}

func (s *sockets) stats() socketStats {
	return socketStats{Echo: s.echo.Stats(), Chat: s.room.server.Stats()}
}

// Shutdown closes the connections with the status 1001 and waits for their end.
func (s *sockets) Shutdown(ctx context.Context) error {
	echo := make(chan error, 1)
	go func() { echo <- s.echo.Shutdown(ctx) }()
	return cmp.Or(s.room.server.Shutdown(ctx), <-echo)
}
