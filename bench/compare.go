package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/sluice-go/sluice/bench/internal/results"
	"github.com/sluice-go/sluice/bench/internal/servers"
	"github.com/sluice-go/sluice/bench/internal/table"
)

// compareCmd measures servers side by side in one cell.
type compareCmd struct {
	Scenario    results.Scenario `required:"" enum:"echo,http,work,websocket,grpc,idle,idle-http,churn,tls,https,idle-tls,idle-https,handshake,resume,storm,idle-websocket,idle-wss,broadcast" help:"What is measured: ${enum}."`
	A           string           `required:"" help:"The server that the others are compared with: ${servers}."`
	B           []string         `required:"" sep:"," help:"The others."`
	Conns       int              `help:"Connections open at a time; 1,000 by default, in a broadcast 10,000."`
	Size        int              `help:"Bytes of a message; 1,024 by default, in a broadcast 128. HTTP answers have their own."`
	Pipeline    int              `default:"1" help:"HTTP requests outstanding on a connection, or broadcasts to all."`
	Runs        int              `default:"5" help:"How often each is measured, in turn: A B A B."`
	ServerCores int              `help:"Cores for the server, and its event loops; a third of them by default."`
	Contend     bool             `help:"Share the server's cores with a program that only computes, so that the server is the limit and not the client. It counts as noise, and the schedulers of Go and of the kernel disturb each other: compare like with like."`
	timing
}

// AfterApply sets what was not said.
func (c *compareCmd) AfterApply() error {
	conns, size := 1000, 1<<10
	if c.Scenario == results.Broadcast {
		conns, size = broadcastConns, broadcastSize
	}
	c.Conns, c.Size = cmp.Or(c.Conns, conns), cmp.Or(c.Size, size)
	return nil
}

func (c *compareCmd) Run() error {
	of, err := c.checked()
	if err != nil {
		return err
	}
	return inLab(c.ServerCores, func(l *lab) error { return c.measure(l, of) })
}

func (c *compareCmd) measure(l *lab, of []servers.Server) error {
	cell := results.Cell{Scenario: c.Scenario, Conns: c.Conns, Size: c.Size, Pipeline: c.Pipeline}
	runs := map[string][]results.Run{}
	if c.Contend {
		stop, err := l.contend()
		if err != nil {
			return err
		}
		defer stop()
	}
	for i := range c.Runs {
		fmt.Fprintf(os.Stderr, "run %d of %d\n", i+1, c.Runs)
		for _, s := range of {
			run := l.measure(s, cell, c.timing)
			if l.ctx.Err() != nil {
				fmt.Fprintln(os.Stderr, "interrupted; what was measured is kept")
				return c.print(os.Stdout, of, runs)
			}
			runs[s.Name] = append(runs[s.Name], run)
		}
	}
	return errors.Join(c.print(os.Stdout, of, runs), failed(of, runs))
}

// failed returns an error if there is a server without a result.
func failed(of []servers.Server, runs map[string][]results.Run) error {
	for _, s := range of {
		if !slices.ContainsFunc(runs[s.Name], results.Run.Good) {
			return fmt.Errorf("%s: all runs failed", s.Name)
		}
	}
	return nil
}

// checked returns A and then the others, or why they cannot be compared so.
func (c *compareCmd) checked() ([]servers.Server, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.Runs < 1 || c.Runs > maxRounds {
		return nil, fmt.Errorf("%d runs, want 1 to %d", c.Runs, maxRounds)
	}
	if c.Pipeline != 1 && !slices.Contains([]servers.Protocol{servers.HTTP, servers.HTTPS, servers.Broadcast}, speaks(c.Scenario)) {
		return nil, fmt.Errorf("--pipeline is for HTTP and broadcasts, not for %s", c.Scenario)
	}
	_, cfg, err := workload(results.Cell{Scenario: c.Scenario, Conns: c.Conns, Size: c.Size, Pipeline: c.Pipeline})
	if err == nil {
		err = cfg.Check() // as if one client had all connections, since the server has
	}
	if err != nil {
		return nil, err
	}
	var all []servers.Server
	for i, name := range append([]string{c.A}, c.B...) {
		s, err := servers.Find(name)
		if err != nil {
			return nil, err
		}
		if slices.Contains(c.B[:max(0, i-1)], name) || i > 0 && name == c.A {
			return nil, fmt.Errorf("server %q is named twice", name)
		}
		if s.Protocol != speaks(c.Scenario) || c.Scenario == results.Work && s.NoWork {
			return nil, fmt.Errorf("%s is no server for %s; there are %s", name, c.Scenario, strings.Join(namesOf(contenders(c.Scenario)), ", "))
		}
		all = append(all, s)
	}
	return all, nil
}

// print prints a row for each server. Beside A, processor time or memory above
// 1 is more than A needs, and a rate above 1 is more than it reaches.
func (c *compareCmd) print(w io.Writer, of []servers.Server, runs map[string][]results.Run) error {
	fmt.Fprintf(w, "%s, %d connections, medians over %d runs; ratios to %s, made run by run: the median and, in brackets, the spread\n", c.Scenario, c.Conns, c.Runs, c.A)
	header, values := columns(c.Scenario, c.A)
	var rows [][]string
	for _, s := range of {
		row := []string{s.Name}
		for _, v := range values {
			row = append(row, middle(v.format, runs[s.Name], v.of))
			if v.compared {
				row = append(row, ratio(runs[s.Name], runs[c.A], v.of))
			}
		}
		rows = append(rows, append(row, notes(runs[s.Name])))
	}
	return table.Print(w, header, rows)
}

// column is one figure of a run.
type column struct {
	name, format string
	of           func(r results.Run) float64
	compared     bool // true exactly when the ratio to A is printed too
}

func columns(s results.Scenario, a string) (header []string, of []column) {
	of = []column{
		{"req/s", "%.0f", results.Run.Rate, true},
		{"CPU µs/req", "%.2f", results.Run.CPUPerRequest, true},
		{"p50 ms", "%.2f", func(r results.Run) float64 { return r.P50.Seconds() * 1e3 }, false},
		{"p99 ms", "%.2f", func(r results.Run) float64 { return r.P99.Seconds() * 1e3 }, false},
		{"p99.9 ms", "%.2f", func(r results.Run) float64 { return r.P999.Seconds() * 1e3 }, false},
		{"bytes/conn", "%.0f", func(r results.Run) float64 { return r.Resident }, false},
	}
	if s == results.Broadcast { // a request is a delivery, a latency that of the last one of a message
		of[0].name = "deliveries/s"
		of[1] = column{"per CPU s", "%.0f", results.Run.RequestsPerCPU, true}
	}
	if s.Idle() {
		of = []column{
			{"bytes/conn", "%.0f", func(r results.Run) float64 { return r.Resident }, true},
			{"after GC", "%.0f", func(r results.Run) float64 { return r.Collected }, false},
			{"GC ms", "%.2f", func(r results.Run) float64 { return r.GCCycle.Seconds() * 1e3 }, false},
			{"pause ms", "%.3f", func(r results.Run) float64 { return r.GCPause.Seconds() * 1e3 }, false},
		}
	}
	header = []string{"server"}
	for _, c := range of {
		header = append(header, c.name)
		if c.compared {
			header = append(header, "÷ "+a)
		}
	}
	return append(header, "notes"), of
}

// median returns that of the good runs; false if there is none.
func median(runs []results.Run, of func(r results.Run) float64) (float64, bool) {
	var values []float64
	for _, r := range runs {
		if r.Good() {
			values = append(values, of(r))
		}
	}
	if len(values) == 0 {
		return 0, false
	}
	return table.SpreadOf(values).Median, true
}

func middle(format string, runs []results.Run, of func(r results.Run) float64) string {
	v, ok := median(runs, of)
	if !ok {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

// ratio compares run by run, so that what slowed the machine for a while slowed
// both.
func ratio(runs, base []results.Run, of func(r results.Run) float64) string {
	var ratios []float64
	for i := range min(len(runs), len(base)) {
		if runs[i].Good() && base[i].Good() && of(base[i]) != 0 {
			ratios = append(ratios, of(runs[i])/of(base[i]))
		}
	}
	if len(ratios) == 0 {
		return "-"
	}
	s := table.SpreadOf(ratios)
	return fmt.Sprintf("%.2f [%.2f-%.2f]", s.Median, s.Min, s.Max)
}

// notes says what a reader of the figures has to know.
func notes(runs []results.Run) string {
	var texts []string
	if load, _ := median(runs, func(r results.Run) float64 { return r.ClientLoad }); load > results.BoundClient {
		texts = append(texts, "the client's core is full")
	}
	if noise, _ := median(runs, func(r results.Run) float64 { return r.Noise }); noise > results.LoudNoise {
		texts = append(texts, fmt.Sprintf("noise %.0f %%", noise*100))
	}
	rate, _ := median(runs, results.Run.Rate)
	if n, _ := median(runs, results.Run.Exchanges); rate > 0 && n < results.FewExchanges {
		texts = append(texts, fmt.Sprintf("only %.1f exchanges per connection", n))
	}
	failed, errors, first := 0, int64(0), ""
	for _, r := range runs {
		errors += r.Errors
		first = firstOf(first, r.Failure, r.FirstError)
		if !r.Good() {
			failed++
		}
	}
	if failed > 0 {
		texts = append(texts, fmt.Sprintf("%d of %d runs failed", failed, len(runs)))
	}
	if errors > 0 {
		texts = append(texts, fmt.Sprintf("%d errors", errors))
	}
	if first != "" {
		texts = append(texts, strings.Join(strings.Fields(first), " "))
	}
	return strings.Join(texts, "; ")
}

// firstOf returns the first text that says something.
func firstOf(texts ...string) string {
	i := slices.IndexFunc(texts, func(s string) bool { return s != "" })
	if i < 0 {
		return ""
	}
	return texts[i]
}
