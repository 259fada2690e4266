package report

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/bench/internal/results"
)

var echoCell = results.Cell{Scenario: results.Echo, Conns: 100, Size: 1024, Pipeline: 1}

// runsOf returns a run in each round with so many requests a second and 10 µs
// of processor time each. A rate of 0 is a run that failed.
func runsOf(c results.Cell, server string, rates ...float64) []results.Run {
	var runs []results.Run
	for i, rate := range rates {
		r := results.Run{Cell: c, Server: server, Round: i + 1, Elapsed: time.Second, ClientLoad: 0.5}
		r.Requests = int64(rate)
		r.ServerCPU = time.Duration(r.Requests) * 10 * time.Microsecond
		if rate == 0 {
			r.Failure = "no route"
		}
		runs = append(runs, r)
	}
	return runs
}

// loaded sets the load of the client.
func loaded(load float64, runs []results.Run) []results.Run {
	for i := range runs {
		runs[i].ClientLoad = load
	}
	return runs
}

func bookOf(runs ...[]results.Run) *book {
	var all []results.Run
	for _, r := range runs {
		all = append(all, r...)
	}
	return newBook(simulatedMeta, all)
}

// byRate returns the comparisons by rate.
func byRate(all []comparison) []comparison {
	var chosen []comparison
	for _, c := range all {
		if c.metric == &rate {
			chosen = append(chosen, c)
		}
	}
	return chosen
}

func TestVerdicts(t *testing.T) {
	mine := func(rates ...float64) []results.Run { return runsOf(echoCell, "sluice", rates...) }
	theirs := func(rates ...float64) []results.Run { return runsOf(echoCell, "gnet", rates...) }
	for name, c := range map[string]struct {
		mine, theirs []results.Run
		want         verdict
		ratio        float64
	}{
		"slower in all rounds":                 {mine(90e3, 80e3, 95e3), theirs(1e5, 1e5, 1e5), behind, 0.9},
		"faster in all rounds":                 {mine(12e4, 11e4, 13e4), theirs(1e5, 1e5, 1e5), ahead, 1.2},
		"the rounds differ":                    {mine(90e3, 12e4, 95e3), theirs(1e5, 1e5, 1e5), undecided, 0.95},
		"equal":                                {mine(1e5, 1e5, 1e5), theirs(1e5, 1e5, 1e5), undecided, 1},
		"two rounds":                           {mine(90e3, 80e3), theirs(1e5, 1e5), undecided, 0.85},
		"slower, the client full":              {loaded(0.95, mine(9e4, 9e4, 9e4)), theirs(1e5, 1e5, 1e5), undecided, 0.9},
		"slower, the other's client full":      {mine(9e4, 9e4, 9e4), loaded(0.95, theirs(1e5, 1e5, 1e5)), behind, 0.9},
		"faster, the other's client full":      {mine(2e5, 2e5, 2e5), loaded(0.95, theirs(1e5, 1e5, 1e5)), undecided, 2},
		"rounds are paired, whatever the mean": {mine(10e3, 20e3, 40e3, 0), theirs(9e3, 18e3, 36e3, 1e6), ahead, 10.0 / 9},
	} {
		got := byRate(bookOf(c.mine, c.theirs).standing().all)
		if len(got) != 1 {
			t.Errorf("%s: %d comparisons, want 1", name, len(got))
			continue
		}
		if v := got[0].verdict(); v != c.want || math.Abs(got[0].ratio.Median-c.ratio) > 1e-9 {
			t.Errorf("%s: %v with ratio %v, want %v with %v", name, v, got[0].ratio.Median, c.want, c.ratio)
		}
	}
}

func TestCPUDecidesWhereTheClientIsFull(t *testing.T) {
	mine := loaded(0.99, runsOf(echoCell, "sluice", 1e5, 1e5, 1e5))
	for i := range mine {
		mine[i].ServerCPU /= 2
	}
	b := bookOf(mine, loaded(0.99, runsOf(echoCell, "gnet", 11e4, 11e4, 11e4)))
	for _, c := range b.standing().all {
		want := map[*metric]verdict{&rate: undecided, &cpu: ahead}[c.metric]
		if c.verdict() != want {
			t.Errorf("%s: %v, want %v", c.metric.name, c.verdict(), want)
		}
	}
	if s := b.summary(); len(s.Undecided) != 1 || !strings.Contains(s.Undecided[0].Note, "core was full") {
		t.Errorf("undecided are %+v, want the rate, with its reason", s.Undecided)
	}
}

func TestTheWorstRivalIsListed(t *testing.T) {
	b := bookOf(
		runsOf(echoCell, "sluice", 9e4, 9e4, 9e4),
		runsOf(echoCell, "sluice-epoll", 2e5, 2e5, 2e5),
		runsOf(echoCell, "gnet", 95e3, 95e3, 95e3),
		runsOf(echoCell, "nbio", 5e5, 8e4, 5e5), // faster by the median, but not always
		runsOf(echoCell, "gev", 1e5, 1e5, 1e5),
		runsOf(echoCell, "c-epoll", 12e4, 12e4, 12e4),
		runsOf(echoCell, "bare", 91e3, 91e3, 91e3))
	s := b.standing()
	lost := with(s.all, behind)
	if len(lost) != 1 || lost[0].other != "gev" || lost[0].rivals != 2 {
		t.Errorf("behind are %+v, want one beside gev with 2 rivals more", lost)
	}
	far := s.farBehind()
	if len(far) != 1 || far[0].other != "c-epoll" {
		t.Errorf("far behind references are %+v, want c-epoll alone", far)
	}
}

func TestReferencesWithinReachAreNotListed(t *testing.T) {
	b := bookOf(runsOf(echoCell, "sluice", 92e3, 92e3, 92e3), runsOf(echoCell, "c-epoll", 1e5, 1e5, 1e5))
	if far := b.standing().farBehind(); len(far) != 0 {
		t.Errorf("far behind are %+v, want none at 8 %%", far)
	}
}

func TestEntrantsMeetTheirLike(t *testing.T) {
	c := results.Cell{Scenario: results.HTTP, Conns: 100, Pipeline: 1}
	all := byRate(bookOf(
		runsOf(c, "sluice-http", 5e4, 5e4, 5e4),
		runsOf(c, "sluice-native", 9e4, 9e4, 9e4),
		runsOf(c, "nethttp", 4e4, 4e4, 4e4),
		runsOf(c, "fasthttp", 8e4, 8e4, 8e4)).standing().all)
	got := map[string]string{}
	for _, c := range all {
		got[c.ours] = c.other
	}
	if len(all) != 2 || got["sluice-http"] != "nethttp" || got["sluice-native"] != "fasthttp" {
		t.Errorf("compared are %v, want sluice-http with nethttp and sluice-native with fasthttp", got)
	}
}

func TestMemoryOfFewConnectionsIsNotJudged(t *testing.T) {
	var runs [][]results.Run
	for _, conns := range []int{10, 10000} {
		c := results.Cell{Scenario: results.IdleTCP, Conns: conns}
		for server, bytes := range map[string]float64{"sluice": 500, "gnet": 400} {
			for round := range 3 {
				runs = append(runs, []results.Run{{Cell: c, Server: server, Round: round + 1, Resident: bytes}})
			}
		}
	}
	lost := with(bookOf(runs...).standing().all, behind)
	if len(lost) != 1 || lost[0].cell.Conns != 10000 || lost[0].metric != &resident {
		t.Errorf("behind are %+v, want the memory of 10,000 connections alone", lost)
	}
}

func TestMarks(t *testing.T) {
	c := results.Cell{Scenario: results.Echo, Conns: 1000, Size: 1024, Pipeline: 1}
	loud := runsOf(c, "net", 1e5, 1e5, 1e5)
	wrong := runsOf(c, "evio", 1e5, 1e5, 1e5)
	for i := range loud {
		loud[i].Noise, wrong[i].Errors = 0.2, 1
	}
	b := bookOf(loud, wrong,
		runsOf(c, "sluice", 1e5, 1e5, 1e5),
		loaded(0.95, runsOf(c, "gnet", 1e5, 1e5, 1e5)),
		runsOf(c, "nbio", 1e5, 0, 1e5),
		runsOf(c, "gev", 1500, 1500, 1500))
	for server, want := range map[string]string{"sluice": "", "net": "n", "gnet": "g", "nbio": "r", "gev": "f", "evio": "e", "absent": ""} {
		if got := b.sample(c, server).marks([]*metric{&rate}); got != want {
			t.Errorf("%s is marked %q, want %q", server, got, want)
		}
	}
	if got := b.sample(c, "gnet").marks([]*metric{&memory}); got != "" {
		t.Errorf("memory with a full client is marked %q, want no mark", got)
	}
}
