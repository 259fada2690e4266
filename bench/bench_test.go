package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
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
	for _, name := range servers.Names() {
		if name == "corrupting" || name == "ending" {
			continue
		}
		for _, kind := range []string{loadEcho, loadChurn} {
			o := l.throughput(kind, name, testConfig())
			if o.err != nil {
				t.Errorf("%s, %s: %v", name, kind, o.err)
			} else if o.Requests == 0 || o.Errors != 0 || o.ServerCPU <= 0 || o.ClientCPU <= 0 {
				t.Errorf("%s, %s: %+v", name, kind, o.Result)
			}
		}
	}
}

func TestFaultyServersShowInTheTable(t *testing.T) {
	l := testLab(t)
	names := []string{servers.Floor, "corrupting", "ending"}
	outcomes := map[string][]outcome{}
	err := l.interleave("test", names, 1, func(name string) {
		outcomes[name] = append(outcomes[name], l.throughput(loadEcho, name, testConfig()))
	})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := printThroughput(&b, names, outcomes); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for i, want := range []string{"1.00 [1.00-1.00]", "differs from its request", "out of order"} {
		if !strings.Contains(lines[i+1], want) {
			t.Errorf("line %d lacks %q:\n%s", i+1, want, b.String())
		}
	}
	if n := outcomes["corrupting"][0].Errors; n != int64(testConfig().Conns) {
		t.Errorf("%d errors of the corrupting server, want one for each of %d connections", n, testConfig().Conns)
	}
}

func TestFootprintOfTheGoroutineModelIsPlausible(t *testing.T) {
	l := testLab(t)
	f := l.footprint("net", 500, testSize)
	if f.err != nil {
		t.Fatal(f.err)
	}
	// A goroutine's smallest stack and its buffer, and not ten times that.
	if f.errors != 0 || f.collected < 4<<10 || f.collected > 64<<10 {
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
