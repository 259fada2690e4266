package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/servers"
	"github.com/sluice-go/sluice/bench/internal/table"
)

// chosen are the servers to measure.
type chosen struct {
	Servers []string `default:"bare,net,gnet,netpoll,nbio,evio,gev,sluice" sep:"," help:"Servers to measure: ${servers}."`
}

func (c chosen) names() ([]string, error) {
	for i, name := range c.Servers {
		if servers.Echo[name] == nil {
			return nil, fmt.Errorf("no server %q, there are %s", name, strings.Join(servers.Names(), ", "))
		}
		if slices.Contains(c.Servers[:i], name) {
			return nil, fmt.Errorf("server %q is named twice", name)
		}
	}
	return c.Servers, nil
}

// timing is how long and how often to measure.
type timing struct {
	Seconds float64 `default:"2.5" help:"Measured time of one run."`
	WarmUp  float64 `default:"0.5" help:"Seconds of load before it."`
	Runs    int     `default:"5" help:"Runs, of which the medians are quoted."`
}

// Limits that keep a slip of the finger from taking days.
const (
	maxRuns    = 100
	maxSeconds = 600
)

func (t timing) check() error {
	if t.Seconds <= 0 || t.Seconds > maxSeconds || t.WarmUp < 0 || t.WarmUp > maxSeconds || t.Runs < 1 || t.Runs > maxRuns {
		return fmt.Errorf("want 1 to %d runs of more than 0 and at most %d seconds", maxRuns, maxSeconds)
	}
	return nil
}

func (t timing) config(conns, size int) load.Config {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	return load.Config{Conns: conns, Size: size, WarmUp: seconds(t.WarmUp), Measure: seconds(t.Seconds)}
}

// echoCmd measures a closed loop of messages.
type echoCmd struct {
	Conns []int `default:"100,1000,10000" sep:"," help:"Numbers of connections, each a table."`
	Size  int   `default:"1024" help:"Bytes of a message."`
	timing
	chosen
}

func (c *echoCmd) Run() error {
	return measureThroughput(loadEcho, c.Conns, c.Size, c.timing, c.chosen)
}

// churnCmd measures short connections.
type churnCmd struct {
	Conns []int `default:"100" sep:"," help:"Numbers of connections open at a time, each a table."`
	Size  int   `default:"1024" help:"Bytes of the one message of a connection."`
	timing
	chosen
}

func (c *churnCmd) Run() error {
	return measureThroughput(loadChurn, c.Conns, c.Size, c.timing, c.chosen)
}

// outcome is what came of one run of one server.
type outcome struct {
	load.Result
	perConn float64 // resident memory it grew by, per connection, in bytes
	err     error   // why there is no result
}

func measureThroughput(kind string, conns []int, size int, t timing, c chosen) error {
	names, err := c.names()
	if err != nil {
		return err
	}
	if err := t.check(); err != nil {
		return err
	}
	ctx, stop := untilInterrupted()
	defer stop()
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	l.describe(os.Stdout)
	for _, n := range conns {
		what := fmt.Sprintf("%s, %d connections, %d bytes", kind, n, size)
		outcomes := map[string][]outcome{}
		err := l.interleave(what, names, t.Runs, func(name string) {
			outcomes[name] = append(outcomes[name], l.throughput(kind, name, t.config(n, size)))
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s, medians over %d runs of %v s\n", what, t.Runs, t.Seconds)
		if err := printThroughput(os.Stdout, names, outcomes); err != nil {
			return err
		}
	}
	return nil
}

// throughput makes one run of one server.
func (l *lab) throughput(kind, name string, cfg load.Config) outcome {
	s, err := l.start(name)
	if err != nil {
		return outcome{err: err}
	}
	defer s.Kill()
	r, client, err := l.client(s, kind, cfg)
	if err != nil {
		return outcome{err: err}
	}
	client.Kill()
	return outcome{Result: r, perConn: float64(r.Resident-s.idle) / float64(cfg.Conns)}
}

var throughputHeader = []string{
	"server", "req/s", "CPU µs/req", "ratio to " + servers.Floor, "p50 ms", "p99 ms", "bytes/conn", "errors", "notes",
}

// printThroughput prints a row for each server. The ratio is that of processor
// time per request: above 1 is more than the floor needs.
func printThroughput(w io.Writer, names []string, outcomes map[string][]outcome) error {
	var rows [][]string
	for _, name := range names {
		rows = append(rows, throughputRow(name, outcomes[name], outcomes[servers.Floor]))
	}
	if err := table.Print(w, throughputHeader, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func throughputRow(name string, all, floor []outcome) []string {
	good := slices.DeleteFunc(slices.Clone(all), func(o outcome) bool { return o.err != nil || o.Requests == 0 })
	errorCount := int64(0)
	for _, o := range all {
		errorCount += o.Errors
	}
	if len(good) == 0 {
		return []string{name, "-", "-", "-", "-", "-", "-", fmt.Sprint(errorCount), notes(all, good)}
	}
	median := func(format string, value func(o outcome) float64) string {
		return fmt.Sprintf(format, spread(good, value).Median)
	}
	return []string{
		name,
		median("%.0f", func(o outcome) float64 { return o.Rate() }),
		median("%.2f", microsPerRequest),
		ratio(all, floor),
		median("%.2f", func(o outcome) float64 { return o.P50.Seconds() * 1e3 }),
		median("%.2f", func(o outcome) float64 { return o.P99.Seconds() * 1e3 }),
		median("%.0f", func(o outcome) float64 { return o.perConn }),
		fmt.Sprint(errorCount),
		notes(all, good),
	}
}

func microsPerRequest(o outcome) float64 { return o.ServerCPU.Seconds() * 1e6 / float64(o.Requests) }

func spread(outcomes []outcome, value func(o outcome) float64) table.Spread {
	var values []float64
	for _, o := range outcomes {
		values = append(values, value(o))
	}
	return table.SpreadOf(values)
}

// ratio compares the processor time per request run by run, so that what
// slowed the machine for a while slowed both.
func ratio(all, floor []outcome) string {
	var ratios []float64
	for i := range min(len(all), len(floor)) {
		if all[i].Requests > 0 && floor[i].Requests > 0 {
			ratios = append(ratios, microsPerRequest(all[i])/microsPerRequest(floor[i]))
		}
	}
	if len(ratios) == 0 {
		return "-"
	}
	s := table.SpreadOf(ratios)
	return fmt.Sprintf("%.2f [%.2f-%.2f]", s.Median, s.Min, s.Max)
}

const (
	// boundClient is the share of its core above which the client, rather
	// than the server, may be what limits the rate.
	boundClient = 0.9
	// loudNoise is the share of the two cores in other hands above which a
	// figure is marked.
	loudNoise = 0.05
)

// notes says what a reader of the figures has to know.
func notes(all, good []outcome) string {
	var texts []string
	if len(good) > 0 {
		if spread(good, func(o outcome) float64 { return o.ClientLoad() }).Median > boundClient {
			texts = append(texts, "generator-bound")
		}
		if noise := spread(good, func(o outcome) float64 { return o.Noise }).Median; noise > loudNoise {
			texts = append(texts, fmt.Sprintf("noise %.0f %%", noise*100))
		}
	}
	for _, o := range all {
		if o.FirstError != "" {
			texts = append(texts, o.FirstError)
			break
		}
	}
	if failed := len(all) - len(good); failed > 0 {
		text := fmt.Sprintf("%d of %d runs failed", failed, len(all))
		i := slices.IndexFunc(all, func(o outcome) bool { return o.err != nil })
		if i >= 0 {
			text += ": " + strings.Join(strings.Fields(all[i].err.Error()), " ")
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}
