package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/servers"
)

// chosen are the servers to measure.
type chosen struct {
	Servers []string `sep:"," help:"Servers to measure: ${echo_servers}; for HTTP: ${http_servers}. By default one of each library."`
}

// The servers that are measured when none are named.
var (
	defaultEcho = []string{servers.Floor, "net", "gnet", "netpoll", "nbio", "evio", "gev", "sluice"}
	defaultHTTP = []string{servers.NetHTTP, servers.FastHTTP, "hertz", "nbhttp", "sluice-http", "sluice-native"}
)

func (c chosen) echo() ([]string, error) { return c.among(servers.Echo, defaultEcho) }
func (c chosen) http() ([]string, error) { return c.among(servers.HTTP, defaultHTTP) }

func (c chosen) among(all map[string]func(addr string) error, byDefault []string) ([]string, error) {
	if len(c.Servers) == 0 {
		return byDefault, nil
	}
	for i, name := range c.Servers {
		if all[name] == nil {
			return nil, fmt.Errorf("no server %q, there are %s", name, strings.Join(servers.Names(all), ", "))
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

// apply sets the times of cfg.
func (t timing) apply(cfg load.Config) load.Config {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	cfg.WarmUp, cfg.Measure = seconds(t.WarmUp), seconds(t.Seconds)
	return cfg
}

// echoCmd measures a closed loop of messages.
type echoCmd struct {
	Conns []int `default:"100,1000,10000" sep:"," help:"Numbers of connections, each a table."`
	Size  int   `default:"1024" help:"Bytes of a message."`
	timing
	chosen
}

func (c *echoCmd) Run() error {
	names, err := c.echo()
	if err != nil {
		return err
	}
	return throughput{
		what:   fmt.Sprintf("echo of %d bytes", c.Size),
		kind:   loadLoop,
		load:   load.Config{Size: c.Size},
		conns:  c.Conns,
		names:  names,
		bases:  []string{servers.Floor},
		timing: c.timing,
	}.measure()
}

// churnCmd measures short connections.
type churnCmd struct {
	Conns []int `default:"100" sep:"," help:"Numbers of connections open at a time, each a table."`
	Size  int   `default:"1024" help:"Bytes of the one message of a connection."`
	timing
	chosen
}

func (c *churnCmd) Run() error {
	names, err := c.echo()
	if err != nil {
		return err
	}
	return throughput{
		what:   fmt.Sprintf("churn with an echo of %d bytes", c.Size),
		kind:   loadChurn,
		load:   load.Config{Size: c.Size},
		conns:  c.Conns,
		names:  names,
		bases:  []string{servers.Floor},
		timing: c.timing,
	}.measure()
}

// httpCmd measures a closed loop of HTTP requests on connections that are kept.
type httpCmd struct {
	Conns    []int    `default:"100,1000,10000,19000" sep:"," help:"Numbers of connections, each a table."`
	Path     string   `default:"/plaintext" help:"What to ask for: /plaintext, or /work?n=100000 for so many steps before the answer."`
	Pipeline int      `default:"1" help:"Requests sent at a time on a connection."`
	Base     []string `default:"nethttp,fasthttp" sep:"," help:"Servers that the others are compared with, if they are measured."`
	timing
	chosen
}

func (c *httpCmd) Run() error {
	names, err := c.http()
	if err != nil {
		return err
	}
	bases, err := chosen{Servers: c.Base}.http()
	if err != nil {
		return err
	}
	bases = slices.DeleteFunc(slices.Clone(bases), func(base string) bool { return !slices.Contains(names, base) })
	body, err := servers.Body(c.Path)
	if err != nil {
		return err
	}
	return throughput{
		what:   fmt.Sprintf("GET %s, %d at a time", c.Path, c.Pipeline),
		kind:   loadLoop,
		load:   load.Config{HTTP: &load.HTTP{Target: c.Path, Body: body, Pipeline: c.Pipeline}},
		conns:  c.Conns,
		names:  names,
		bases:  bases,
		timing: c.timing,
	}.measure()
}

// throughput is a series of measurements: a table for each number of
// connections.
type throughput struct {
	what  string      // for the reader
	kind  string      // of load
	load  load.Config // without connections and times
	conns []int
	names []string // servers
	bases []string // those that all are compared with
	timing
}

// outcome is what came of one run of one server.
type outcome struct {
	load.Result
	perConn float64 // resident memory it grew by, per connection, in bytes
	rounds  float64 // how often the measured requests go round all connections
	err     error   // why there is no result
}

func (t throughput) measure() error {
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
	cfg := t.apply(t.load)
	for _, cfg.Conns = range t.conns {
		what := fmt.Sprintf("%s, %d connections", t.what, cfg.Conns)
		outcomes := map[string][]outcome{}
		err := l.interleave(what, t.names, t.Runs, func(name string) {
			outcomes[name] = append(outcomes[name], l.throughput(t.kind, name, cfg))
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s, medians over %d runs of %v s\n", what, t.Runs, t.Seconds)
		if err := printThroughput(os.Stdout, t.names, t.bases, outcomes); err != nil {
			return err
		}
	}
	return nil
}

// throughput makes one run of one server.
func (l *lab) throughput(kind, name string, cfg load.Config) outcome {
	s, err := l.start(name, cfg.HTTP)
	if err != nil {
		return outcome{err: err}
	}
	defer s.Kill()
	r, client, err := l.client(s, kind, cfg)
	if err != nil {
		return outcome{err: err}
	}
	client.Kill()
	round := cfg.Conns
	if cfg.HTTP != nil {
		round *= cfg.HTTP.Pipeline
	}
	return outcome{
		Result:  r,
		perConn: float64(r.Resident-s.idle) / float64(cfg.Conns),
		rounds:  float64(r.Requests) / float64(round),
	}
}
