package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/servers"
)

// TestMain lets the test binary be its own children, as the program is, and
// adds servers with faults to those that children know.
func TestMain(m *testing.M) {
	servers.Echo["corrupting"] = corrupting
	servers.Echo["ending"] = func(string) error { return errors.New("out of order") }
	servers.HTTP["lying"] = lying
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

func testLab(t *testing.T) *lab {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	l, err := newLab(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func testConfig() load.Config {
	return load.Config{Conns: 20, Size: testSize, WarmUp: 20 * time.Millisecond, Measure: 200 * time.Millisecond}
}

func TestEveryServerEchoesWithoutErrors(t *testing.T) {
	l := testLab(t)
	for _, name := range servers.Names(servers.Echo) {
		if name == "corrupting" || name == "ending" {
			continue
		}
		for _, kind := range []string{loadLoop, loadChurn} {
			o := l.throughput(kind, name, testConfig())
			if o.err != nil {
				t.Errorf("%s, %s: %v", name, kind, o.err)
			} else if o.Requests == 0 || o.Errors != 0 || o.ServerCPU <= 0 || o.ClientCPU <= 0 {
				t.Errorf("%s, %s: %+v", name, kind, o.Result)
			}
		}
	}
}

func testHTTPConfig(t *testing.T, target string, pipeline int) load.Config {
	t.Helper()
	body, err := servers.Body(target)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig()
	cfg.HTTP = &load.HTTP{Target: target, Body: body, Pipeline: pipeline}
	return cfg
}

func TestEveryHTTPServerAnswersWithoutErrors(t *testing.T) {
	l := testLab(t)
	for _, name := range servers.Names(servers.HTTP) {
		if name == "lying" {
			continue
		}
		for _, cfg := range []load.Config{
			testHTTPConfig(t, servers.PlainPath, 1),
			testHTTPConfig(t, servers.PlainPath, 16),
			testHTTPConfig(t, servers.WorkPath+"?n=1000", 1),
		} {
			o := l.throughput(loadLoop, name, cfg)
			if o.err != nil {
				t.Errorf("%s, %+v: %v", name, cfg.HTTP, o.err)
			} else if o.Requests == 0 || o.Errors != 0 || o.ServerCPU <= 0 || o.ClientCPU <= 0 {
				t.Errorf("%s, %+v: %+v", name, cfg.HTTP, o.Result)
			}
		}
	}
}

func TestHTTPServersGiveTheSameAnswer(t *testing.T) {
	l := testLab(t)
	want := http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"13"}}
	for _, name := range servers.Names(servers.HTTP) {
		cfg := testHTTPConfig(t, servers.PlainPath, 1)
		s, err := l.start(name, cfg.HTTP)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c, err := net.Dial("tcp4", s.addr)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, header, err := cfg.HTTP.Ask(c)
		if err != nil || !maps.EqualFunc(header, want, slices.Equal) {
			t.Errorf("%s: header %v, %v, want %v and a date", name, header, err, want)
		}
		c.Close()
		s.Kill()
	}
}

func TestHTTPServersThatLieShowInTheTable(t *testing.T) {
	l := testLab(t)
	o := l.throughput(loadLoop, "lying", testHTTPConfig(t, servers.PlainPath, 1))
	if row := throughputRow("lying", nil, map[string][]outcome{"lying": {o}}); !strings.Contains(strings.Join(row, " "), "not the right one") {
		t.Errorf("row %q", row)
	}
	o = l.throughput(loadLoop, "lying", testHTTPConfig(t, servers.PlainPath, 3))
	if o.Errors != int64(testConfig().Conns) {
		t.Errorf("%d errors, want one for each of %d connections", o.Errors, testConfig().Conns)
	}
}

func TestFaultyServersShowInTheTable(t *testing.T) {
	l := testLab(t)
	names := []string{servers.Floor, "corrupting", "ending"}
	outcomes := map[string][]outcome{}
	err := l.interleave("test", names, 1, func(name string) {
		outcomes[name] = append(outcomes[name], l.throughput(loadLoop, name, testConfig()))
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := printThroughput(&b, names, []string{servers.Floor}, outcomes); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{"1.00 [1.00-1.00]", "not the right one", "out of order"} {
		if !strings.Contains(lines[i+1], want) {
			t.Errorf("line %d lacks %q:\n%s", i+1, want, b.String())
		}
	}
	if n := outcomes["corrupting"][0].Errors; n != int64(testConfig().Conns) {
		t.Errorf("%d errors of the corrupting server, want one for each of %d connections", n, testConfig().Conns)
	}
}

func TestNotesTellWhenTheTimeWasTooShort(t *testing.T) {
	l := testLab(t)
	cfg := testHTTPConfig(t, servers.WorkPath+"?n=20000000", 1)
	cfg.Measure = 30 * time.Millisecond
	o := l.throughput(loadLoop, servers.NetHTTP, cfg)
	if row := throughputRow("name", nil, map[string][]outcome{"name": {o}}); !strings.Contains(strings.Join(row, " "), "exchanges per connection") {
		t.Errorf("row %q", row)
	}
}

func TestFootprintOfTheGoroutineModelIsPlausible(t *testing.T) {
	l := testLab(t)
	f := l.footprint("net", load.Config{Conns: 500, Size: testSize})
	if f.err != nil {
		t.Fatal(f.err)
	}
	// A goroutine's smallest stack and its buffer, and not ten times that.
	if f.errors != 0 || f.collected < 4<<10 || f.collected > 64<<10 {
		t.Errorf("%+v", f)
	}
}

func TestFootprintOfIdleHTTPConnectionsIsPlausible(t *testing.T) {
	l := testLab(t)
	cfg := testHTTPConfig(t, servers.PlainPath, 1)
	cfg.Conns = 500
	f := l.footprint(servers.NetHTTP, cfg)
	if f.err != nil {
		t.Fatal(f.err)
	}
	// A goroutine's smallest stack and two buffers, and not ten times that.
	if f.errors != 0 || f.collected < 8<<10 || f.collected > 100<<10 {
		t.Errorf("%+v", f)
	}
}

func TestInterleaveRotatesTheOrder(t *testing.T) {
	var order []string
	err := testLab(t).interleave("test", []string{"a", "b", "c"}, 3, func(name string) { order = append(order, name) })
	if got := strings.Join(order, ""); err != nil || got != "abcbcacab" {
		t.Errorf("order %s, %v", got, err)
	}
}
