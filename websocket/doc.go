// Package websocket serves WebSocket (RFC 6455) with permessage-deflate (RFC
// 7692) on the event loops of package sluice, and dials it.
//
// A connection that waits costs a few hundred bytes and no goroutine. What
// happens on it is told to a Handler, on its loop:
//
//	srv := &websocket.Server{Handler: websocket.Funcs{
//		Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
//			_ = c.WriteMessage(op, data)
//		},
//	}}
//	http.Handle("/ws", srv)
//	log.Fatal(httpd.ListenAndServe(":8080", nil))
//
// A Server is an http.Handler for package httpd; Server.Upgrade does the same
// within a handler of one's own. Or it serves a listener of its own, where no
// http.Request is made: Server.ListenAndServe, and Server.Protocol for
// sluice.Engine.Listen.
//
// A message for many is made once, with Prepare, and linked into every
// connection's queue: Group.Broadcast, Server.Broadcast. Backlog says what
// happens to those that do not keep up.
//
// Callbacks must not block, as those of a sluice.Handler: work that may belongs
// into Conn.Offload. Code that prefers to wait for messages uses Conn.Blocking or
// Server.UpgradeBlocking. GORILLA.md lists what replaces what of gorilla/websocket.
package websocket
