package servers

import (
	"maps"
	"net/http"
	"slices"
	"sync"
)

// webSocketServers are those of WebSocket, of WSS and of Broadcast. Sluice's
// rows of each stand behind those of its peers.
var webSocketServers = slices.Concat(webSocketEchoes, secureWebSocketEchoes, rooms)

// Modules that several of them show.
const (
	gwsModule     = "github.com/lxzan/gws"
	gorillaModule = "github.com/gorilla/websocket"
)

var webSocketEchoes = []Server{
	{
		Name: "gws", Protocol: WebSocket, Module: gwsModule, Serve: inClear(gwsEcho),
		About: "Upgrader behind net/http, ReadLoop in a goroutine of its own as in its example; read buffer of 4 KiB per connection by default, " +
			"no compression; TCP_NODELAY, which package net sets.",
	},
	{
		Name: "gorilla", Protocol: WebSocket, Module: gorillaModule, Serve: inClear(gorillaEcho),
		About: "Upgrader behind net/http, ReadMessage and WriteMessage as in its example, in a goroutine of its own as in its chat example; net/http's buffers of 4 KiB per connection by default, " +
			"no compression; TCP_NODELAY, which package net sets.",
	},
	{
		Name: "nbio-ws", Protocol: WebSocket, Module: nbioModule, Serve: nbioClear(nbioWebSocket),
		About: "nbhttp with NPoller and IOModNonBlocking, its default, and its Upgrader, without deadlines, as the others have none; ReleaseWebsocketPayload; " +
			"handlers on the loops by ServerExecutor, which takes a third to a half less processor time than its default of pooled goroutines; " +
			"read buffer of 64 KiB per loop and TCP_NODELAY, its defaults; no compression.",
	},
	{
		Name: "sluice-ws", Protocol: WebSocket, Serve: sluiceClear(sluiceUpgrade(sluiceWebSocket)),
		About: "A websocket.Server behind httpd, with its defaults: pings after 30 s without a byte, no compression; " +
			"read buffer of 64 KiB per loop and TCP_NODELAY.",
	},
	{
		Name: "sluice-ws-loop", Protocol: WebSocket, Variant: true, Serve: sluiceClear(sluiceWebSocketLoop),
		About: "As sluice-ws, with the handshake in a LoopHandler, for which no http.Request is made.",
	},
	{
		Name: "sluice-ws-alone", Protocol: WebSocket, Variant: true, Serve: sluiceWebSocketAlone,
		About: "As sluice-ws, on a listener of its own, without httpd.",
	},
}

var secureWebSocketEchoes = []Server{
	{
		Name: "gws-tls", Protocol: WSS, Module: gwsModule, Serve: overTLS(gwsEcho),
		About: "As gws, with crypto/tls.",
	},
	{
		Name: "gorilla-tls", Protocol: WSS, Module: gorillaModule, Serve: overTLS(gorillaEcho),
		About: "As gorilla, with crypto/tls.",
	},
	{
		Name: "nbio-wss", Protocol: WSS, Module: nbioModule, Serve: nbioSecure(nbioWebSocket),
		About: "As nbio-ws, with nbio's fork of the crypto/tls of Go 1.16.",
	},
	{
		Name: "sluice-wss", Protocol: WSS, Serve: sluiceHTTPS(sluiceUpgrade(sluiceWebSocket)),
		About: "As sluice-ws, with httpd's TLSConfig.",
	},
}

var rooms = []Server{
	{
		Name: "gws-room", Protocol: Broadcast, Module: gwsModule, Serve: inClear(gwsBroadcast),
		About: "As gws, with its Broadcaster, which makes the frame once and has a goroutine write it to each connection.",
	},
	{
		Name: "gorilla-room", Protocol: Broadcast, Module: gorillaModule, Serve: inClear(gorillaBroadcast),
		About: "As gorilla, with a PreparedMessage, and, as in its chat example, a goroutine for each connection that writes what comes over a channel of 256.",
	},
	{
		Name: "nbio-room", Protocol: Broadcast, Module: nbioModule, Serve: nbioClear(nbioBroadcast),
		About: "As nbio-ws, with WriteMessage for each connection, which does not block and makes the frame each time; it has nothing for broadcasts.",
	},
	{
		Name: "sluice-room", Protocol: Broadcast, Serve: sluiceClear(sluiceUpgrade(sluiceBroadcast)),
		About: "As sluice-ws, with Prepare and Server.Broadcast, which make the frame once and link it into each connection.",
	},
}

// room holds the connections of a server, all in one.
type room[C comparable] struct {
	mu     sync.Mutex
	all    map[C]struct{}
	listed []C // the same; nil when it has to be made anew
}

func (r *room[C]) join(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all == nil {
		r.all = map[C]struct{}{}
	}
	r.all[c] = struct{}{}
	r.listed = nil
}

func (r *room[C]) leave(c C) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, c)
	r.listed = nil
}

// members returns all of them; it is not to be changed.
func (r *room[C]) members() []C {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.listed == nil {
		r.listed = slices.Collect(maps.Keys(r.all))
	}
	return r.listed
}

// inClear serves what handler returns with net/http.
func inClear(handler func() http.HandlerFunc) func(addr string) error {
	return func(addr string) error { return http.ListenAndServe(addr, handler()) }
}

// overTLS is inClear over TLS.
func overTLS(handler func() http.HandlerFunc) func(addr string) error {
	return func(addr string) error {
		config, err := serverTLS(ec)
		if err != nil {
			return err
		}
		s := &http.Server{Addr: addr, Handler: handler(), TLSConfig: config}
		return s.ListenAndServeTLS("", "")
	}
}
