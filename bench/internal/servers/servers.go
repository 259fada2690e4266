// Package servers holds the servers that are measured against each other,
// every one in the form that its own documentation shows, with the same number
// of event loops. They differ in their library alone.
package servers

import (
	"fmt"
	"runtime"
	"strings"
)

// Protocol is what a server speaks.
type Protocol string

// The protocols.
const (
	Echo      Protocol = "echo"      // sends every byte back
	HTTP      Protocol = "http"      // answers PlainPath and WorkPath
	WebSocket Protocol = "websocket" // sends every binary message back, whatever the path
	WSS       Protocol = "wss"       // WebSocket over TLS

	// Broadcast has all WebSocket connections, whatever the path, in one room.
	// Every one gets an empty binary message as soon as it is in it, so that a
	// client knows, and every binary message goes to all, its sender included.
	Broadcast Protocol = "broadcast"

	TLS   Protocol = "tls"   // Echo over TLS
	HTTPS Protocol = "https" // HTTP over TLS
	GRPC  Protocol = "grpc"  // sends every message of the unary method /bench.Echo/Echo back
)

// Server is a server and all that a measurement has to know of it.
type Server struct {
	Name     string // unique
	Protocol Protocol

	// Module is the path of the Go module that the server shows, whose version
	// goes into reports. "" for the standard library, Sluice itself and other
	// programs.
	Module string

	// Variant is true exactly when the server is measured only if it is named.
	Variant bool

	// Serve listens on addr, an IPv4 address and port, with as many loops as
	// Loops says, and returns only with an error. nil for other programs.
	Serve func(addr string) error

	// Command, if it is not nil, returns the command line of the program that
	// is to be started instead of this one with Serve. dir is a directory in
	// which it compiles or writes what it needs, once for all starts.
	Command func(dir, addr string) ([]string, error)

	// Foreign is true exactly when the server is no Go program: it has no
	// garbage collection and does not know SIGUSR1.
	Foreign bool

	// NoWork is true exactly when an HTTP server has no WorkPath.
	NoWork bool

	// About is a sentence for reports: loops, buffers and options.
	About string
}

// Secure tells whether p is spoken over TLS.
func (p Protocol) Secure() bool { return p == TLS || p == HTTPS || p == WSS }

// The servers that others are compared with.
const (
	Bare     = "bare"     // no library at all
	NetHTTP  = "nethttp"  // what everybody has
	FastHTTP = "fasthttp" // what those take who want more speed
)

// readSize is what one read takes at most, in bytes, wherever a server
// chooses its own buffer. It is the size that the libraries choose.
const readSize = 64 << 10

// Find returns the server with a name.
func Find(name string) (Server, error) {
	var names []string
	for _, s := range All {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Server{}, fmt.Errorf("no server %q; there are %s", name, strings.Join(names, ", "))
}

// Of returns the servers of a protocol, without variants.
func Of(p Protocol) []Server {
	var of []Server
	for _, s := range All {
		if s.Protocol == p && !s.Variant {
			of = append(of, s)
		}
	}
	return of
}

// Loops returns how many event loops a server has: one for each processor that
// Go may use.
func Loops() int { return runtime.GOMAXPROCS(0) }
