package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/results"
	"github.com/sluice-go/sluice/bench/internal/servers"
)

// TestMain lets the test binary be its own children, as the program is, and
// adds servers with faults to those that children know.
func TestMain(m *testing.M) {
	servers.All = append(servers.All,
		servers.Server{Name: "corrupting", Protocol: servers.Echo, Variant: true, Serve: corrupting},
		servers.Server{Name: "ending", Protocol: servers.Echo, Variant: true, Serve: func(string) error { return errors.New("out of order") }},
		servers.Server{Name: "lying", Protocol: servers.HTTP, Variant: true, Serve: lying},
	)
	if len(os.Args) > 1 && (os.Args[1] == "serve" || os.Args[1] == "load") {
		main()
		return
	}
	os.Exit(m.Run())
}

// corrupting changes the last byte of every read that is as long as a message
// of the tests.
func corrupting(addr string) error {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			p := make([]byte, 4096)
			for {
				n, err := c.Read(p)
				if err != nil {
					return
				}
				if n == testSize {
					p[n-1]++
				}
				c.Write(p[:n])
			}
		}()
	}
}

// lying answers as net/http does, but says something else after a while.
func lying(addr string) error {
	var answered atomic.Int64
	return http.ListenAndServe(addr, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		if answered.Add(1) < 1000 {
			io.WriteString(w, "Hello, World!")
		} else {
			io.WriteString(w, "Hello, Wordl!")
		}
	}))
}

const testSize = 1024

var testTiming = timing{Seconds: 0.15, WarmUp: 0.02}

func testLab(t *testing.T) *lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	l, err := newLab(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func testCell(s results.Scenario) results.Cell {
	return results.Cell{Scenario: s, Conns: 20, Size: testSize, Pipeline: 1}
}

func find(t *testing.T, name string) servers.Server {
	t.Helper()
	s, err := servers.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// installed skips what needs a program that this machine has not got.
func installed(t *testing.T, s servers.Server) {
	t.Helper()
	program := map[string]string{"c-epoll": "cc", "c-uring": "cc", "nginx": "nginx"}[s.Name]
	if _, err := exec.LookPath(program); program != "" && err != nil && os.Getenv("SLUICE_REQUIRE_TOOLS") != "1" {
		t.Skip(err)
	}
}

func TestEveryServerAnswersRightInEveryScenario(t *testing.T) {
	l := testLab(t)
	for _, scenario := range []results.Scenario{
		results.Echo, results.HTTP, results.Work, results.WebSocket, results.GRPC, results.Churn,
		results.TLS, results.HTTPS, results.Handshake, results.Resume, results.Storm, results.Broadcast,
	} {
		for _, s := range contenders(scenario) {
			t.Run(string(scenario)+"/"+s.Name, func(t *testing.T) {
				installed(t, s)
				run := l.measure(s, testCell(scenario), testTiming)
				if strings.Contains(run.Failure, "io_uring_setup") {
					t.Skip(run.Failure)
				}
				if !run.Good() || run.Errors != 0 || run.ServerCPU <= 0 || run.ClientLoad <= 0 {
					t.Errorf("%+v", run)
				}
			})
		}
	}
}

func TestSeveralClientProcessesShareTheWork(t *testing.T) {
	l := testLab(t)
	l.clientCores = append(l.clientCores, l.clientCores[0])
	for _, scenario := range []results.Scenario{results.Echo, results.Churn, results.HTTP, results.Broadcast} {
		run := l.measure(contenders(scenario)[0], testCell(scenario), testTiming)
		if !run.Good() || run.Errors != 0 {
			t.Errorf("%+v", run)
		}
	}
}

func TestHTTPServersGiveTheSameAnswer(t *testing.T) {
	l := testLab(t)
	want := http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"13"}}
	for _, of := range servers.Of(servers.HTTP) {
		t.Run(of.Name, func(t *testing.T) {
			installed(t, of)
			_, cfg, _ := workload(testCell(results.HTTP))
			s, err := l.start(of, cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Kill()
			c, err := net.Dial("tcp4", s.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, header, err := cfg.HTTP.Ask(c)
			header.Del("Server") // these two nginx cannot leave out
			header.Del("Connection")
			if err != nil || !maps.EqualFunc(header, want, slices.Equal) {
				t.Errorf("header %v, %v, want %v and a date", header, err, want)
			}
		})
	}
}

func TestFaultsOfServersShowInTheNotes(t *testing.T) {
	l := testLab(t)
	for name, want := range map[string]struct{ text, more string }{
		"corrupting": {"not the right one", "20 errors"},
		"lying":      {"not the right one", "20 errors"},
		"ending":     {"out of order", "1 of 1 runs failed"},
	} {
		s := find(t, name)
		scenario := results.Echo
		if s.Protocol == servers.HTTP {
			scenario = results.HTTP
		}
		text := notes([]results.Run{l.measure(s, testCell(scenario), testTiming)})
		if !strings.Contains(text, want.text) || !strings.Contains(text, want.more) {
			t.Errorf("%s: %q", name, text)
		}
	}
}

func TestAClientThatFailsIsAFailureOfTheRun(t *testing.T) {
	cell := testCell(results.Echo)
	cell.Conns = 100_000_000
	run := testLab(t).measure(find(t, "bare"), cell, testTiming)
	if run.Good() || !strings.Contains(run.Failure, "want numbers from") {
		t.Errorf("%+v", run)
	}
}

func TestClientsEndWithTheLab(t *testing.T) {
	l := testLab(t)
	ctx, cancel := context.WithCancel(l.ctx)
	defer cancel()
	l.ctx = ctx
	kind, cfg, _ := workload(testCell(results.Echo))
	cfg.Measure = time.Minute
	s, err := l.start(find(t, "bare"), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Kill()
	time.AfterFunc(50*time.Millisecond, cancel)
	for range 2 { // once under way, once ended before
		if _, _, err := l.clients(s, kind, cfg); err == nil {
			t.Error("no error")
		}
	}
}

func TestServersListenOnIPv4LoopbackAlone(t *testing.T) {
	for _, addr := range []string{"[::1]:7000", "192.0.2.1:7000", "7000"} {
		c := serveCmd{Name: "bare", Addr: addr}
		if err := c.Run(); err == nil || !strings.Contains(err.Error(), "IPv4 loopback") {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

func TestMemoryOfIdleConnectionsIsPlausible(t *testing.T) {
	l := testLab(t)
	for name, want := range map[string]struct{ least, most float64 }{
		"net":            {4 << 10, 64 << 10},  // a goroutine's smallest stack and its buffer, and not ten times that
		servers.NetHTTP:  {8 << 10, 100 << 10}, // with two buffers
		"sluice":         {-4 << 10, 4 << 10},
		"c-epoll":        {-4 << 10, 4 << 10},
		"sluice-native":  {-4 << 10, 4 << 10},
		servers.FastHTTP: {4 << 10, 100 << 10},
		"gws":            {4 << 10, 64 << 10},
		"nbio-wss":       {0, 100 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			s := find(t, name)
			installed(t, s)
			cell := testCell(map[servers.Protocol]results.Scenario{
				servers.Echo: results.IdleTCP, servers.HTTP: results.IdleHTTP,
				servers.WebSocket: results.IdleWebSocket, servers.WSS: results.IdleWSS,
			}[s.Protocol])
			cell.Conns = 500
			run := l.measure(s, cell, testTiming)
			if run.Failure != "" || run.Collected < want.least || run.Collected > want.most || (run.GCCycle > 0) == s.Foreign {
				t.Errorf("%+v", run)
			}
		})
	}
}

func comparing(s results.Scenario, a string, b ...string) *compareCmd {
	return &compareCmd{Scenario: s, A: a, B: b, Conns: 20, Size: testSize, Pipeline: 1, Runs: 2, timing: testTiming}
}

func TestContendingTakesProcessorTimeUntilItIsStopped(t *testing.T) {
	l := testLab(t)
	stop, err := l.contend()
	if err != nil {
		t.Fatal(err)
	}
	cell := results.Cell{Scenario: results.Echo, Conns: 1, Size: testSize}
	if run := l.measure(find(t, "bare"), cell, testTiming); !run.Good() || run.Noise < results.LoudNoise {
		t.Errorf("others have %.3f of the cores: %s", run.Noise, run.Failure)
	}
	stop()
}

func TestComparePrintsEveryServerAndItsRatio(t *testing.T) {
	c := comparing(results.Echo, "bare", "net")
	of, err := c.checked()
	if err != nil {
		t.Fatal(err)
	}
	fast := results.Run{Requests: 200, Elapsed: time.Second, ServerCPU: time.Millisecond}
	slow := results.Run{Requests: 100, Elapsed: time.Second, ServerCPU: time.Millisecond}
	runs := map[string][]results.Run{"bare": {fast, fast}, "net": {slow, {Failure: "none"}}}
	var b strings.Builder
	if err := c.print(&b, of, runs); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"1.00 [1.00-1.00]", "0.50 [0.50-0.50]", "2.00 [2.00-2.00]", "1 of 2 runs failed; none"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if err := failed(of, runs); err != nil {
		t.Error(err)
	}
	runs["net"] = runs["net"][1:]
	if err := failed(of, runs); err == nil {
		t.Error("that all runs of a server failed is no error")
	}
}

func TestCompareRefusesWhatCannotBeCompared(t *testing.T) {
	with := func(c *compareCmd, change func(c *compareCmd)) *compareCmd {
		change(c)
		return c
	}
	for want, c := range map[string]*compareCmd{
		"named twice":        comparing(results.Echo, "bare", "net", "net"),
		"no server for echo": comparing(results.Echo, "bare", "nethttp"),
		"no server for work": comparing(results.Work, "nethttp", "nginx"),
		`no server "nobody"`: comparing(results.Echo, "nobody", "net"),
		"is for HTTP and":    with(comparing(results.Echo, "bare", "net"), func(c *compareCmd) { c.Pipeline = 2 }),
		"0 connections":      with(comparing(results.Echo, "bare", "net"), func(c *compareCmd) { c.Conns = 0 }),
		"ulimit":             with(comparing(results.Echo, "bare", "net"), func(c *compareCmd) { c.Conns = 2_000_000 }),
		"101 broadcasts":     with(comparing(results.Broadcast, "gws-room", "nbio-room"), func(c *compareCmd) { c.Pipeline = 101 }),
		"message size 1":     with(comparing(results.Echo, "bare", "net"), func(c *compareCmd) { c.Size = 1 }),
		"0 runs":             with(comparing(results.Echo, "bare", "net"), func(c *compareCmd) { c.Runs = 0 }),
	} {
		if _, err := c.checked(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// The sets have to end in time on two cores.
func TestTheSetsTakeNoLongerThanPromised(t *testing.T) {
	for _, c := range []struct {
		figuresCmd
		limit time.Duration
	}{
		{figuresCmd{Quick: true}, 5 * time.Minute}, {figuresCmd{}, time.Hour},
		{figuresCmd{TLS: true}, 20 * time.Minute}, {figuresCmd{WebSocket: true}, 20 * time.Minute},
	} {
		tasks, err := c.tasks()
		if err != nil {
			t.Fatal(err)
		}
		if total := estimate(tasks, c.Rounds, c.timing()); total > c.limit {
			t.Errorf("quick %v, TLS %v, WebSocket %v: %v", c.Quick, c.TLS, c.WebSocket, total)
		}
	}
}

func TestWhatIsNotSaidFollowsFromTheScenario(t *testing.T) {
	for scenario, want := range map[results.Scenario][2]int{results.Echo: {1000, 1024}, results.Broadcast: {10_000, 128}} {
		c := compareCmd{Scenario: scenario}
		if err := c.AfterApply(); err != nil || c.Conns != want[0] || c.Size != want[1] {
			t.Errorf("%s: %v, %d connections, %d bytes, want %v", scenario, err, c.Conns, c.Size, want)
		}
		c = compareCmd{Scenario: scenario, Conns: 7, Size: 70}
		if err := c.AfterApply(); err != nil || c.Conns != 7 || c.Size != 70 {
			t.Errorf("%s: %v, %d connections, %d bytes, want 7 and 70", scenario, err, c.Conns, c.Size)
		}
	}
}

func TestBroadcastsAreMeasuredOneAndSeveralAtATime(t *testing.T) {
	c := figuresCmd{WebSocket: true, Only: []results.Scenario{results.Broadcast}}
	tasks, err := c.tasks()
	if err != nil || len(tasks) != 2 || tasks[0].Pipeline != 1 || tasks[1].Pipeline != 8 {
		t.Fatalf("%+v, %v", tasks, err)
	}
	for _, task := range tasks {
		kind, cfg, err := workload(task.Cell)
		if err != nil || kind != loadBroadcast || cfg.Window != task.Pipeline || cfg.Size != broadcastSize || cfg.Conns != broadcastConns {
			t.Errorf("%s, %+v, %v", kind, cfg, err)
		}
	}
	one, several := c.timing().apply(loadOf(tasks[0])), c.timing().apply(loadOf(tasks[1]))
	if several.Measure < 3*one.Measure {
		t.Errorf("%v for one at a time, %v for 8", one.Measure, several.Measure)
	}
}

// loadOf returns what the clients do in a task.
func loadOf(t task) load.Config {
	_, cfg, _ := workload(t.Cell)
	return cfg
}

func TestFiguresAreWrittenAndDrawnAgain(t *testing.T) {
	dir := t.TempDir()
	l := testLab(t)
	c := figuresCmd{Out: dir, Rounds: 2, Only: []results.Scenario{results.Echo}, Servers: []string{"bare", "sluice"}}
	of := []servers.Server{find(t, "bare"), find(t, "sluice"), find(t, "ending")}
	runs := l.rounds([]task{{testCell(results.Echo), of}}, c.Rounds, testTiming)
	if len(runs) != 6 {
		t.Fatalf("%d runs", len(runs))
	}
	if err := c.write(c.describe(l, runs), runs); err != nil {
		t.Fatal(err)
	}
	again := figuresCmd{From: dir, Out: filepath.Join(dir, "again"), Results: filepath.Join(dir, "RESULTS.md")}
	if err := again.redraw(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(again.Results)
	if err != nil || !strings.Contains(string(text), "sluice") || !strings.Contains(string(text), "out of order") {
		t.Errorf("%v\n%s", err, text)
	}
	first, _ := os.ReadFile(filepath.Join(dir, runsFile))
	second, err := os.ReadFile(filepath.Join(again.Out, runsFile))
	if err != nil || string(first) != string(second) {
		t.Errorf("the runs are not the same: %v", err)
	}
}
