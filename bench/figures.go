package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/sluice-go/sluice/bench/internal/proc"
	"github.com/sluice-go/sluice/bench/internal/report"
	"github.com/sluice-go/sluice/bench/internal/results"
	"github.com/sluice-go/sluice/bench/internal/servers"
)

// figuresCmd measures everything that the report shows.
type figuresCmd struct {
	Quick       bool               `help:"A look within five minutes: fewer cells, one round. Nothing to conclude from."`
	TLS         bool               `name:"tls" xor:"set" help:"The figures of TLS, and no others: about 15 minutes."`
	WebSocket   bool               `name:"websocket" xor:"set" help:"The figures of WebSocket, and no others: about 15 minutes."`
	Out         string             `default:"out" type:"path" help:"Where the pictures, runs.csv and report.html go."`
	Results     string             `type:"path" help:"Write the figures as Markdown to this file too."`
	Rounds      int                `help:"How often each server is measured in each cell; 5 unless --quick."`
	ServerCores int                `help:"Cores for the server, and its event loops. A third of them by default; each other core gets a client process."`
	Only        []results.Scenario `sep:"," enum:"echo,http,work,websocket,grpc,idle,idle-http,churn,tls,https,idle-tls,idle-https,handshake,resume,idle-websocket,idle-wss,broadcast" help:"Only these scenarios: ${enum}."`
	Servers     []string           `sep:"," help:"Only these servers: ${servers}."`
	From        string             `type:"existingdir" help:"Measure nothing, draw what an earlier call left in this directory again."`
}

// block is cells of one scenario: each number of connections with each size.
type block struct {
	scenario results.Scenario
	conns    []int
	sizes    []int // bytes of a message
}

// The broadcasts that are measured.
const (
	broadcastConns = 10_000
	broadcastSize  = 128 // bytes
)

// depths returns how many requests are outstanding in the cells of a scenario.
func depths(s results.Scenario) []int {
	if s == results.Broadcast {
		return []int{1, 8}
	}
	return []int{1}
}

// The cells of the full set and of the quick one, and the same of TLS and of
// WebSocket.
var (
	fullSet = []block{
		{results.Echo, []int{1, 10, 100, 1000, 10_000, 19_000}, []int{1 << 10}},
		{results.Echo, []int{1000}, []int{64, 4 << 10, 16 << 10, 64 << 10}},
		{results.Work, []int{1, 10, 100, 1000, 10_000, 19_000}, []int{0}},
		{results.HTTP, []int{1, 10, 100, 1000, 10_000, 19_000}, []int{0}},
		{results.IdleTCP, []int{10_000, 19_000}, []int{1 << 10}},
		{results.IdleHTTP, []int{10_000, 19_000}, []int{0}},
		{results.Churn, []int{100}, []int{1 << 10}},
		{results.WebSocket, []int{100, 1000, 10_000}, []int{1 << 10}},
		{results.GRPC, []int{100}, []int{1 << 10}},
	}
	quickSet = []block{
		{results.Echo, []int{10, 1000, 10_000}, []int{1 << 10}},
		{results.Echo, []int{1000}, []int{64, 16 << 10}},
		{results.Work, []int{10, 1000, 10_000}, []int{0}},
		{results.HTTP, []int{100, 1000, 10_000}, []int{0}},
		{results.IdleTCP, []int{10_000}, []int{1 << 10}},
		{results.IdleHTTP, []int{10_000}, []int{0}},
		{results.Churn, []int{100}, []int{1 << 10}},
		{results.WebSocket, []int{1000}, []int{1 << 10}},
		{results.GRPC, []int{100}, []int{1 << 10}},
	}
	fullTLS = []block{
		{results.TLS, []int{10, 100, 1000, 10_000}, []int{1 << 10}},
		{results.TLS, []int{1000}, []int{64, 16 << 10, 64 << 10}},
		{results.HTTPS, []int{10, 100, 1000}, []int{0}},
		{results.IdleTLS, []int{10_000}, []int{16 << 10}},
		{results.IdleHTTPS, []int{5000}, []int{0}},
		{results.Handshake, []int{100}, []int{1 << 10}},
		{results.Resume, []int{100}, []int{1 << 10}},
	}
	quickTLS = []block{
		{results.TLS, []int{10, 1000}, []int{1 << 10}},
		{results.TLS, []int{1000}, []int{16 << 10}},
		{results.HTTPS, []int{100}, []int{0}},
		{results.IdleTLS, []int{1000}, []int{16 << 10}},
		{results.IdleHTTPS, []int{1000}, []int{0}},
		{results.Handshake, []int{100}, []int{1 << 10}},
		{results.Resume, []int{100}, []int{1 << 10}},
	}
	fullWebSocket = []block{
		{results.WebSocket, []int{100, 1000, 10_000}, []int{1 << 10}},
		{results.IdleWebSocket, []int{10_000, 19_000}, []int{1 << 10}},
		{results.IdleWSS, []int{5000}, []int{1 << 10}},
		{results.Broadcast, []int{broadcastConns}, []int{broadcastSize}},
	}
	quickWebSocket = []block{
		{results.WebSocket, []int{1000}, []int{1 << 10}},
		{results.IdleWebSocket, []int{10_000}, []int{1 << 10}},
		{results.IdleWSS, []int{1000}, []int{1 << 10}},
		{results.Broadcast, []int{1000}, []int{broadcastSize}},
	}
)

// The rounds and times of the two sets.
const (
	fullRounds  = 5
	quickRounds = 1
	maxRounds   = 100
)

var (
	fullTiming  = timing{Seconds: 0.7, WarmUp: 0.3}
	quickTiming = timing{Seconds: 0.4, WarmUp: 0.2}
)

func (c *figuresCmd) Run() error {
	if c.From != "" {
		return c.redraw()
	}
	tasks, err := c.tasks()
	if err != nil {
		return err
	}
	return inLab(c.ServerCores, func(l *lab) error { return c.measure(l, tasks) })
}

func (c *figuresCmd) measure(l *lab, tasks []task) error {
	began, of := time.Now(), revision()
	runs := l.rounds(tasks, c.Rounds, c.timing())
	if len(runs) == 0 {
		return context.Cause(l.ctx)
	}
	meta := c.describe(l, runs)
	meta.Settings = append(meta.Settings, report.Setting{Name: "Sluice", Value: of})
	meta.Started, meta.Ended, meta.Interrupted = began, time.Now(), l.ctx.Err() != nil
	return c.write(meta, runs)
}

// task is a cell with the servers that are compared in it.
type task struct {
	results.Cell
	servers []servers.Server
}

// tasks returns what is to be measured.
func (c *figuresCmd) tasks() ([]task, error) {
	set := c.set()
	if c.Rounds == 0 {
		c.Rounds = fullRounds
		if c.Quick {
			c.Rounds = quickRounds
		}
	}
	if c.Rounds < 1 || c.Rounds > maxRounds {
		return nil, fmt.Errorf("%d rounds, want 1 to %d", c.Rounds, maxRounds)
	}
	for _, name := range c.Servers {
		if _, err := servers.Find(name); err != nil {
			return nil, err
		}
	}
	var all []task
	for _, b := range set {
		if len(c.Only) > 0 && !slices.Contains(c.Only, b.scenario) {
			continue
		}
		of := slices.DeleteFunc(contenders(b.scenario), func(s servers.Server) bool {
			return len(c.Servers) > 0 && !slices.Contains(c.Servers, s.Name)
		})
		if len(of) == 0 {
			continue
		}
		for _, cell := range b.cells() {
			all = append(all, task{cell, of})
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing to measure: none of the servers %v belongs to the scenarios %v", c.Servers, c.Only)
	}
	return all, nil
}

// cells returns the cells of b.
func (b block) cells() []results.Cell {
	var all []results.Cell
	for _, conns := range b.conns {
		for _, size := range b.sizes {
			for _, depth := range depths(b.scenario) {
				all = append(all, results.Cell{Scenario: b.scenario, Conns: conns, Size: size, Pipeline: depth})
			}
		}
	}
	return all
}

func (c *figuresCmd) set() []block {
	switch {
	case c.TLS && c.Quick:
		return quickTLS
	case c.TLS:
		return fullTLS
	case c.WebSocket && c.Quick:
		return quickWebSocket
	case c.WebSocket:
		return fullWebSocket
	case c.Quick:
		return quickSet
	}
	return fullSet
}

func (c *figuresCmd) timing() timing {
	if c.Quick {
		return quickTiming
	}
	return fullTiming
}

// count returns how many runs the tasks are.
func count(tasks []task) int {
	n := 0
	for _, task := range tasks {
		n += len(task.servers)
	}
	return n
}

// estimate returns about how long the tasks take.
func estimate(tasks []task, rounds int, t timing) time.Duration {
	total := time.Duration(0)
	for _, task := range tasks {
		total += t.estimate(task.Cell) * time.Duration(len(task.servers)*rounds)
	}
	return total
}

// rounds measures every task once a round, its servers in an order that is
// drawn anew each time. It ends early with the context of the lab.
func (l *lab) rounds(tasks []task, rounds int, t timing) []results.Run {
	total := estimate(tasks, rounds, t)
	fmt.Fprintf(os.Stderr, "this takes about %v; Ctrl-C ends it early and keeps what is done\n", total.Round(time.Minute))
	out := io.Writer(os.Stderr)
	if !term.IsTerminal(int(os.Stderr.Fd())) {
		out = io.Discard // a log gets a line for each cell instead
	}
	bar := progressbar.NewOptions64(total.Milliseconds(),
		progressbar.OptionSetWriter(out),
		progressbar.OptionSetWidth(30),
		progressbar.OptionSetPredictTime(true),
		progressbar.OptionSetElapsedTime(true),
		progressbar.OptionThrottle(200*time.Millisecond),
		progressbar.OptionOnCompletion(func() { fmt.Fprintln(os.Stderr) }),
	)
	var runs []results.Run
	for round := range rounds {
		for _, task := range tasks {
			if out == io.Discard {
				fmt.Fprintf(os.Stderr, "round %d of %d, %s, %d connections, %d bytes\n", round+1, rounds, task.Scenario, task.Conns, task.Size)
			}
			for _, i := range rand.Perm(len(task.servers)) {
				of := task.servers[i]
				bar.Describe(fmt.Sprintf("round %d of %d, %s, %d connections, %-13s", round+1, rounds, task.Scenario, task.Conns, of.Name))
				run := l.measure(of, task.Cell, t)
				run.Round = round + 1
				if l.ctx.Err() != nil {
					fmt.Fprintf(os.Stderr, "\ninterrupted; %d of %d runs are kept\n", len(runs), count(tasks)*rounds)
					return runs
				}
				runs = append(runs, run)
				_ = bar.Add64(t.estimate(task.Cell).Milliseconds()) // a bar that cannot be drawn stops nothing
			}
		}
	}
	return runs
}

// describe returns what the report says beside the figures.
func (c *figuresCmd) describe(l *lab, runs []results.Run) report.Meta {
	t := c.timing()
	meta := report.Meta{
		Machine: proc.Machine(),
		Command: "go -C bench run . " + strings.Join(os.Args[1:], " "),
		Settings: []report.Setting{
			{Name: "set", Value: map[bool]string{false: "full", true: "quick"}[c.Quick] + map[bool]string{true: ", of TLS"}[c.TLS] + map[bool]string{true: ", of WebSocket"}[c.WebSocket]},
			{Name: "rounds", Value: fmt.Sprint(c.Rounds)},
			{Name: "measured time of a run", Value: fmt.Sprintf("%v s, and as much again for every %d connections, or deliveries of the broadcasts under way", t.Seconds, fullTurn)},
			{Name: "warm-up before it, not measured", Value: fmt.Sprintf("%v s", t.WarmUp)},
			{Name: "cores", Value: l.layout()},
		},
		Method: method,
	}
	measured := map[string]bool{}
	for _, r := range runs {
		measured[r.Server] = true
	}
	for _, s := range servers.All {
		if measured[s.Name] {
			meta.Servers = append(meta.Servers, report.ServerInfo{
				Name: s.Name, Version: version(s), About: s.About,
				Reference: s.Foreign || s.Name == servers.Bare,
			})
		}
	}
	return meta
}

// version returns the version of the library that a server shows.
func version(s servers.Server) string {
	if s.Module == "" {
		return ""
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, m := range info.Deps {
		if m.Path == s.Module {
			return m.Version
		}
	}
	return "unknown"
}

// revision names the state of Sluice that is measured, if git knows it.
func revision() string {
	out, err := exec.Command("git", "describe", "--always", "--dirty", "--tags").Output()
	if err != nil {
		return "unknown revision"
	}
	return "revision " + strings.TrimSpace(string(out))
}

// The files of a report that it can be drawn again from: report.Write makes
// the one, and the other keeps its report.Meta.
const (
	runsFile = "runs.csv"
	metaFile = "meta.json"
)

func (c *figuresCmd) write(meta report.Meta, runs []results.Run) error {
	if err := report.Write(c.Out, meta, runs); err != nil {
		return err
	}
	text, err := json.MarshalIndent(meta, "", "\t")
	if err == nil {
		err = os.WriteFile(filepath.Join(c.Out, metaFile), text, 0o644)
	}
	if err != nil {
		return err
	}
	fmt.Println("written:", filepath.Join(c.Out, "report.html"))
	if c.Results == "" {
		return nil
	}
	images, err := filepath.Rel(filepath.Dir(c.Results), c.Out)
	if err != nil {
		return err
	}
	f, err := os.Create(c.Results)
	if err != nil {
		return err
	}
	if err := report.WriteResults(f, meta, runs, images); err != nil {
		f.Close()
		return err
	}
	fmt.Println("written:", c.Results)
	return f.Close()
}

// redraw writes the report of runs that were measured before.
func (c *figuresCmd) redraw() error {
	text, err := os.ReadFile(filepath.Join(c.From, metaFile))
	if err != nil {
		return err
	}
	var meta report.Meta
	if err := json.Unmarshal(text, &meta); err != nil {
		return fmt.Errorf("%s: %w", metaFile, err)
	}
	f, err := os.Open(filepath.Join(c.From, runsFile))
	if err != nil {
		return err
	}
	defer f.Close()
	runs, err := report.ReadCSV(f)
	if err != nil {
		return fmt.Errorf("%s: %w", runsFile, err)
	}
	return c.write(meta, runs)
}
