// Command sluice runs Sluice's servers, to try them and to measure them.
//
//	sluice serve --echo tcp://127.0.0.1:7000 --http 127.0.0.1:8080
//	sluice version
package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sluice-go/sluice"
)

// cli is the command line.
type cli struct {
	Serve   serveCmd   `cmd:"" help:"Run servers until interrupted."`
	Version versionCmd `cmd:"" help:"Print the version, the Go release and the drivers of this system."`
}

func main() {
	parser := newParser(os.Stdout, os.Stderr)
	ctx, err := parser.Parse(os.Args[1:])
	parser.FatalIfErrorf(err)
	ctx.FatalIfErrorf(ctx.Run())
}

// newParser makes the parser of the command line.
func newParser(stdout, stderr io.Writer) *kong.Kong {
	return kong.Must(&cli{},
		kong.Name("sluice"),
		kong.Description("Servers for very many connections."),
		kong.Writers(stdout, stderr),
		kong.UsageOnError(),
		kong.BindTo(stdout, (*io.Writer)(nil)),
		kong.Vars{"echo_default": echoDefault, "http_default": httpDefault, "drivers": strings.Join(append([]string{"auto"}, sluice.Drivers()...), ",")},
	)
}

// versionCmd is "sluice version".
type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(out io.Writer) error {
	version := "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
	}
	_, err := fmt.Fprintf(out, "sluice %s, %s %s/%s, drivers: %s\n",
		version, runtime.Version(), runtime.GOOS, runtime.GOARCH, strings.Join(sluice.Drivers(), ", "))
	return err
}
