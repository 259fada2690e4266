package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/proc"
	"github.com/sluice-go/sluice/bench/internal/servers"
	"github.com/sluice-go/sluice/bench/internal/table"
)

// idleWait is how long connections are idle before memory is read: longer than
// what servers wait before they give buffers back.
const idleWait = 2 * time.Second

// idleCmd measures what an idle connection costs.
type idleCmd struct {
	Conns int  `default:"19000" help:"Connections held open."`
	Size  int  `default:"1024" help:"Bytes of the one message exchanged on each."`
	HTTP  bool `name:"http" help:"Measure HTTP servers, after one request for /plaintext on each connection."`
	Runs  int  `default:"3" help:"Runs, of which the medians are quoted."`
	chosen
}

// footprint is the memory per connection of one run, in bytes.
type footprint struct {
	resident  float64
	collected float64 // after a garbage collection
	errors    int64
	err       error
}

func (c *idleCmd) Run() error {
	names, cfg, exchange, err := c.plan()
	if err != nil {
		return err
	}
	if c.Runs < 1 || c.Runs > maxRuns {
		return fmt.Errorf("%d runs, want 1 to %d", c.Runs, maxRuns)
	}
	ctx, stop := untilInterrupted()
	defer stop()
	l, err := newLab(ctx)
	if err != nil {
		return err
	}
	l.describe(os.Stdout)
	footprints := map[string][]footprint{}
	what := fmt.Sprintf("idle, %d connections after one %s", c.Conns, exchange)
	err = l.interleave(what, names, c.Runs, func(name string) {
		footprints[name] = append(footprints[name], l.footprint(name, cfg))
	})
	if err != nil {
		return err
	}
	fmt.Printf("%s, user space memory in bytes per connection, medians over %d runs\n", what, c.Runs)
	var rows [][]string
	for _, name := range names {
		rows = append(rows, footprintRow(name, footprints[name]))
	}
	return table.Print(os.Stdout, []string{"server", "RSS", "RSS after GC", "errors", "notes"}, rows)
}

// plan returns the servers, what to do to them, and what that is called.
func (c *idleCmd) plan() (names []string, cfg load.Config, exchange string, err error) {
	if !c.HTTP {
		names, err = c.echo()
		return names, load.Config{Conns: c.Conns, Size: c.Size}, fmt.Sprintf("echo of %d bytes", c.Size), err
	}
	body, err := servers.Body(servers.PlainPath)
	if err != nil {
		return nil, cfg, "", err
	}
	names, err = c.http()
	cfg = load.Config{Conns: c.Conns, HTTP: &load.HTTP{Target: servers.PlainPath, Body: body, Pipeline: 1}}
	return names, cfg, "GET " + servers.PlainPath, err
}

// footprint makes one run of one server.
func (l *lab) footprint(name string, cfg load.Config) footprint {
	s, err := l.start(name, cfg.HTTP)
	if err != nil {
		return footprint{err: err}
	}
	defer s.Kill()
	r, client, err := l.client(s, loadHold, cfg)
	if err != nil {
		return footprint{err: err}
	}
	defer client.Kill()
	time.Sleep(idleWait)
	raw, err := proc.Resident(s.PID())
	if err != nil {
		return footprint{err: err}
	}
	after, err := s.collected(l.ctx)
	if err != nil {
		return footprint{err: err}
	}
	perConn := func(bytes int64) float64 { return float64(bytes-s.idle) / float64(cfg.Conns) }
	return footprint{resident: perConn(raw), collected: perConn(after), errors: r.Errors}
}

func footprintRow(name string, all []footprint) []string {
	good := slices.DeleteFunc(slices.Clone(all), func(f footprint) bool { return f.err != nil })
	var texts []string
	if i := slices.IndexFunc(all, func(f footprint) bool { return f.err != nil }); i >= 0 {
		texts = append(texts, fmt.Sprintf("%d of %d runs failed: %v", len(all)-len(good), len(all), all[i].err))
	}
	if len(good) == 0 {
		return []string{name, "-", "-", "-", strings.Join(texts, "; ")}
	}
	median := func(value func(f footprint) float64) string {
		var values []float64
		for _, f := range good {
			values = append(values, value(f))
		}
		return fmt.Sprintf("%.0f", table.SpreadOf(values).Median)
	}
	errorCount := int64(0)
	for _, f := range good {
		errorCount += f.errors
	}
	return []string{
		name,
		median(func(f footprint) float64 { return f.resident }),
		median(func(f footprint) float64 { return f.collected }),
		fmt.Sprint(errorCount),
		strings.Join(texts, "; "),
	}
}
