// Command bench measures Sluice side by side with other servers: requests per
// second, processor time per request, latency and memory per connection, and
// checks how they behave where it is hard. It runs on Linux, over loopback alone.
//
//	go -C bench run . figures --quick
//	go -C bench run . compare --scenario echo --a sluice --b gnet,net
//	go -C bench run . checks
//
// How it measures is said in every report, and in method.go.
package main

import (
	"context"
	"os"
	"os/signal"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/servers"
	"github.com/sluice-go/sluice/bench/internal/table"
)

type cli struct {
	Figures     figuresCmd     `cmd:"" help:"Measure all servers and draw the figures: about an hour, with --quick 3; with --tls those of TLS, with --websocket those of WebSocket."`
	List        listCmd        `cmd:"" help:"Say what the servers are."`
	Compare     compareCmd     `cmd:"" help:"Measure some servers in one place, in turn."`
	Checks      checksCmd      `cmd:"" help:"Check how libraries behave where others have failed."`
	Serve       serveCmd       `cmd:"" help:"Run one server until killed."`
	Load        loadCmd        `cmd:"" hidden:"" help:"Run one client. The other commands start it."`
	Spin        spinCmd        `cmd:"" hidden:"" help:"Only compute. --contend starts it."`
	CheckServer checkServerCmd `cmd:"" hidden:"" help:"Run one server of the checks, which start it."`
}

func main() {
	var c cli
	k := kong.Parse(&c,
		kong.Name("bench"),
		kong.Description("Measure Sluice side by side with other servers."),
		kong.Vars{"servers": strings.Join(namesOf(servers.All), ", ")},
	)
	k.FatalIfErrorf(k.Run())
}

// untilInterrupted returns a context that ends with Ctrl-C; a second one ends
// the program at once.
func untilInterrupted() (context.Context, context.CancelFunc) {
	signals := []os.Signal{unix.SIGINT, unix.SIGTERM}
	if !signal.Ignored(unix.SIGHUP) { // as under nohup
		signals = append(signals, unix.SIGHUP)
	}
	ctx, stop := signal.NotifyContext(context.Background(), signals...)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// listCmd prints what there is to measure.
type listCmd struct{}

func (listCmd) Run() error {
	var rows [][]string
	for _, s := range servers.All {
		rows = append(rows, []string{s.Name, string(s.Protocol), version(s), s.About})
	}
	return table.Print(os.Stdout, []string{"server", "protocol", "version", "set up"}, rows)
}

func namesOf(all []servers.Server) []string {
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	return names
}
