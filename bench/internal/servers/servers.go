// Package servers holds the servers that are measured against each other,
// every one in the form that its own documentation shows, with the same number
// of event loops. They differ in their library alone.
package servers

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"github.com/sluice-go/sluice"
)

// Protocol is what a server speaks.
type Protocol string

// The protocols.
const (
	Echo      Protocol = "echo"      // sends every byte back
	HTTP      Protocol = "http"      // answers PlainPath and WorkPath
	WebSocket Protocol = "websocket" // sends every binary message back, whatever the path
	GRPC      Protocol = "grpc"      // sends every message of the unary method /bench.Echo/Echo back
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

// The servers that others are compared with.
const (
	Floor    = "bare"     // no library at all
	NetHTTP  = "nethttp"  // what everybody has
	FastHTTP = "fasthttp" // what those take who want more speed
)

// readSize is what one read takes at most, in bytes, wherever a server
// chooses its own buffer. It is the size that the libraries choose.
const readSize = 64 << 10

// All holds all servers in the order of reports.
var All = slices.Concat([]Server{
	{
		Name: Floor, Protocol: Echo, Serve: bare,
		About: "Go and system calls alone: one epoll loop in a goroutine, a buffer of 64 KiB, TCP_NODELAY.",
	},
	{
		Name: "net", Protocol: Echo, Serve: netEcho,
		About: "A goroutine for every connection, with a buffer that begins at 4 KiB and doubles up to 64 KiB when a read fills it; TCP_NODELAY.",
	},
	{
		Name: "gnet", Protocol: Echo, Module: gnetModule, Serve: gnetEcho,
		About: "Event loops as asked and the main reactor that accepts; buffer of 64 KiB and TCP_NODELAY by default.",
	},
	{
		Name: "netpoll", Protocol: Echo, Module: "github.com/cloudwego/netpoll", Serve: netpollEcho,
		About: "SetNumLoops; nocopy reader and writer as in its examples.",
	},
	{
		Name: "nbio", Protocol: Echo, Module: nbioModule, Serve: nbioEcho,
		About: "NPoller; buffer of 64 KiB by default.",
	},
	{
		Name: "evio", Protocol: Echo, Module: "github.com/tidwall/evio", Serve: evioEcho,
		About: "NumLoops; ReuseInputBuffer.",
	},
	{
		Name: "gev", Protocol: Echo, Module: "github.com/Allenxuxu/gev", Serve: gevEcho,
		About: "NumLoops.",
	},
	{
		Name: "sluice", Protocol: Echo, Serve: sluiceEcho(sluice.Config{}),
		About: "The default configuration.",
	},
	{
		Name: "sluice-main", Protocol: Echo, Variant: true, Serve: sluiceEcho(sluice.Config{Accept: sluice.AcceptMain}),
		About: "Sluice with a main loop that accepts for the others.",
	},
}, sluiceDrivers(), []Server{
	{
		Name: NetHTTP, Protocol: HTTP, Serve: netHTTP,
		About: "The standard library's server with its default settings.",
	},
	{
		Name: FastHTTP, Protocol: HTTP, Module: "github.com/valyala/fasthttp", Serve: fastHTTP,
		About: "Default settings, without a Server field in answers.",
	},
	{
		Name: "hertz", Protocol: HTTP, Module: "github.com/cloudwego/hertz", Serve: hertzHTTP,
		About: "On netpoll with SetNumLoops, without a Server field in answers.",
	},
	{
		Name: "nbhttp", Protocol: HTTP, Module: nbioModule, Serve: nbHTTP,
		About: "NPoller; net/http's handler.",
	},
	{
		Name: "sluice-http", Protocol: HTTP, Serve: sluiceHTTP,
		About: "httpd with net/http's handler.",
	},
	{
		Name: "sluice-native", Protocol: HTTP, Serve: sluiceNative,
		About: "httpd with a handler on the loop, which does the work there, too.",
	},
})

// Modules that several servers show.
const (
	gnetModule = "github.com/panjf2000/gnet/v2"
	nbioModule = "github.com/lesismal/nbio"
)

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
