// Package servers holds the servers that are measured against each other,
// every one in the form that its own documentation shows, with one event
// loop. They differ in their library alone.
package servers

import (
	"maps"
	"slices"
)

// Floor is the server that all others are compared with: no library at all.
const Floor = "bare"

// readSize is what one read takes at most, in bytes, wherever a server
// chooses its own buffer. It is the size that the libraries choose.
const readSize = 64 << 10

// Echo holds, by name, the servers that send every byte back. Each listens on
// addr, an IPv4 address and port, and returns only with an error.
var Echo = map[string]func(addr string) error{
	Floor:     bare,
	"net":     netEcho,
	"gnet":    gnetEcho,
	"netpoll": netpollEcho,
	"nbio":    nbioEcho,
	"evio":    evioEcho,
	"gev":     gevEcho,
}

// Names returns the names of Echo or HTTP in order.
func Names(of map[string]func(addr string) error) []string {
	return slices.Sorted(maps.Keys(of))
}
