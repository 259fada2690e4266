package checks

import (
	"fmt"
	"strings"
)

// library is a server that is checked.
type library struct {
	name  string
	http  bool // true exactly when it speaks HTTP
	serve func(network, addr string) error
	lacks map[string]string // ids of checks it has nothing for, and why
}

// Reasons why a check does not apply.
const (
	noVector = "no vectored write"
	noUnix   = "no Unix sockets"
	noWake   = "no way to wake a connection"
)

// libraries are all servers, in the order of the table. A name with a suffix
// is the library in a mode that is not its default, but that its users choose.
var libraries = []library{
	{name: "sluice", serve: serveSluice},
	{name: "sluice-main", serve: serveSluiceMain},
	{name: "net", serve: serveNet, lacks: map[string]string{
		"P2": "the goroutine of a connection is the application's own",
		"P9": noWake,
	}},
	{name: "gnet", serve: serveGnet},
	{name: "gnet-et", serve: serveGnetEdge},
	{name: "netpoll", serve: serveNetpoll, lacks: map[string]string{"P9": noWake}},
	{name: "nbio", serve: serveNbio, lacks: map[string]string{"P9": noWake}},
	{name: "nbio-et", serve: serveNbioEdge, lacks: map[string]string{"P9": noWake}},
	{name: "evio", serve: serveEvio, lacks: map[string]string{"P5": noVector, "P6": noVector}},
	{name: "gev", serve: serveGev, lacks: map[string]string{
		"P5": noVector, "P6": noVector, "P7": noUnix, "P9": noWake,
	}},

	{name: "sluice-http", http: true, serve: serveSluiceHTTP},
	{name: "sluice-native", http: true, serve: serveSluiceNative},
	{name: "nethttp", http: true, serve: serveNetHTTP},
	{name: "fasthttp", http: true, serve: serveFastHTTP},
	{name: "hertz", http: true, serve: serveHertz},
	{name: "nbhttp", http: true, serve: serveNbHTTP},
	{name: "nbhttp-mixed", http: true, serve: serveNbHTTPMixed},
}

// Servers returns the names of all servers.
func Servers() []string {
	var names []string
	for _, l := range libraries {
		names = append(names, l.name)
	}
	return names
}

func find(name string) (library, error) {
	for _, l := range libraries {
		if l.name == name {
			return l, nil
		}
	}
	return library{}, fmt.Errorf("no server %q; there are %s", name, strings.Join(Servers(), ", "))
}
