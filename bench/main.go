// Command bench measures Sluice side by side with other servers: requests per
// second, processor time per request, latency and memory per connection. It
// runs on Linux, over loopback alone.
//
//	go -C bench run . echo --conns 100,1000,10000
//	go -C bench run . http --pipeline 16
//	go -C bench run . http --path '/work?n=100000'
//	go -C bench run . idle
//	go -C bench run . idle --http
//	go -C bench run . churn
//
// Every server is this program again as a child process, bound to one core,
// with GOMAXPROCS=1 and one event loop. The client is another one, bound to
// another core. The figures of different servers come from the same run:
// each run goes through all servers, in an order that rotates, and the ratios
// are those of one run. A ratio tells more than the figure beside it.
//
// The client sends a message on a connection when the reply to the one before
// has come back whole and right: equal to the message from an echo server, from
// an HTTP server the answer that was asked for. With --pipeline it sends several
// requests at a time and waits for all answers; the latency is of each, since
// they were sent. So latency and rate are two sides of one
// thing: with n requests on the way the mean latency is n divided by the rate. A rate
// marked "generator-bound" is the client's, whose core was full; processor
// time per request still is the server's, though a server that waits now and
// then works in smaller batches. "noise" is the share of the two cores that
// went to other processes; with more than a little of it nothing is certain.
// "only N exchanges per connection" asks for more --seconds.
//
// Processor time is user and system time of the whole server process in the
// measured seconds. Sending over loopback includes the receiving side's
// protocol work, for the client as for the server.
package main

import (
	"context"
	"os/signal"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/servers"
)

type cli struct {
	Echo  echoCmd  `cmd:"" help:"Closed-loop echo: throughput, processor time, latency."`
	HTTP  httpCmd  `cmd:"" name:"http" help:"Closed-loop HTTP requests: throughput, processor time, latency."`
	Idle  idleCmd  `cmd:"" help:"Resident memory per idle connection."`
	Churn churnCmd `cmd:"" help:"Connections opened, used once and closed, per second."`
	Serve serveCmd `cmd:"" help:"Run one server until killed."`
	Load  loadCmd  `cmd:"" hidden:"" help:"Run one client. The other commands start it."`
}

func main() {
	var c cli
	k := kong.Parse(&c,
		kong.Name("bench"),
		kong.Description("Measure Sluice side by side with other servers."),
		kong.Vars{
			"echo_servers": strings.Join(servers.Names(servers.Echo), ", "),
			"http_servers": strings.Join(servers.Names(servers.HTTP), ", "),
		},
	)
	k.FatalIfErrorf(k.Run())
}

// untilInterrupted returns a context that ends with Ctrl-C.
func untilInterrupted() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
}
