package report

import (
	"cmp"
	"maps"
	"slices"

	"github.com/sluice-go/sluice/bench/internal/results"
	"github.com/sluice-go/sluice/bench/internal/table"
)

// book holds the runs of a report in the order in which it asks for them.
type book struct {
	meta    Meta
	servers []ServerInfo // those that were run, in the order of the report
	cells   map[results.Cell]map[string]*sample
}

// sample is all runs of one server in one cell.
type sample struct {
	good       []results.Run
	failed     int    // runs without figures
	failure    string // of the first of them
	errors     int64  // in the good runs
	firstError string
}

func newBook(meta Meta, runs []results.Run) *book {
	b := &book{meta: meta, cells: map[results.Cell]map[string]*sample{}}
	seen := map[string]bool{}
	for _, r := range runs {
		seen[r.Server] = true
		r.Pipeline = max(1, r.Pipeline) // one cell, though some say 0 for one at a time
		if b.cells[r.Cell] == nil {
			b.cells[r.Cell] = map[string]*sample{}
		}
		s := b.cells[r.Cell][r.Server]
		if s == nil {
			s = &sample{}
			b.cells[r.Cell][r.Server] = s
		}
		s.add(r)
	}
	for _, info := range meta.Servers {
		if seen[info.Name] {
			b.servers = append(b.servers, info)
			delete(seen, info.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(seen)) {
		b.servers = append(b.servers, ServerInfo{Name: name})
	}
	return b
}

func (s *sample) add(r results.Run) {
	if !r.Good() {
		s.failed++
		s.failure = cmp.Or(s.failure, r.Failure, r.FirstError, "no answers")
		return
	}
	s.good = append(s.good, r)
	s.errors += r.Errors
	s.firstError = cmp.Or(s.firstError, r.FirstError)
}

// sample returns the runs of a server in a cell, none if there are none.
func (b *book) sample(c results.Cell, server string) *sample {
	if s := b.cells[c][server]; s != nil {
		return s
	}
	return &sample{}
}

// spread condenses what m makes of the good runs; false says that they did not
// measure it.
func (s *sample) spread(m *metric) (table.Spread, bool) {
	var values []float64
	for _, r := range s.good {
		if v, ok := m.of(r); ok {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return table.Spread{}, false
	}
	return table.SpreadOf(values), true
}

// ratios divides a value of s by that of other in each round that has both, for
// what slowed the machine for a while slowed both.
func (s *sample) ratios(other *sample, m *metric) []float64 {
	var ratios []float64
	for _, r := range s.good {
		i := slices.IndexFunc(other.good, func(o results.Run) bool { return o.Round == r.Round })
		if i < 0 {
			continue
		}
		a, _ := m.of(r)
		if b, _ := m.of(other.good[i]); a > 0 && b > 0 && r.Conns >= m.minConns {
			ratios = append(ratios, a/b)
		}
	}
	return ratios
}

// middle returns the median over the good runs, of which there must be one.
func (s *sample) middle(value func(r results.Run) float64) float64 {
	var values []float64
	for _, r := range s.good {
		values = append(values, value(r))
	}
	return table.SpreadOf(values).Median
}

// clientFull tells whether the client had no time left, so that the server may
// be faster than it looks.
func (s *sample) clientFull() bool {
	return len(s.good) > 0 && s.middle(func(r results.Run) float64 { return r.ClientLoad }) > results.BoundClient
}

// noise returns the share of the cores that went to other processes.
func (s *sample) noise() float64 {
	if len(s.good) == 0 {
		return 0
	}
	return s.middle(func(r results.Run) float64 { return r.Noise })
}

// markLegend says what the letters of marks mean.
const markLegend = "Marks: g = the client used more than 90 % of its core, so the rate and the latency may be its own " +
	"(the CPU per request stays true); n = more than 5 % of the cores went to other processes; " +
	"f = fewer than 2 exchanges per connection in the measured time; e = wrong or missing answers; " +
	"r = some rounds failed."

// marks returns a letter for everything that a reader of the sample's values
// of metrics has to know.
func (s *sample) marks(metrics []*metric) string {
	if len(s.good) == 0 {
		return ""
	}
	timed := slices.ContainsFunc(metrics, func(m *metric) bool { return m.paced || m == &cpu || m == &deliveriesPerCPU })
	var marks string
	if timed && s.clientFull() {
		marks += "g"
	}
	if s.noise() > results.LoudNoise {
		marks += "n"
	}
	if timed && s.middle(results.Run.Exchanges) < results.FewExchanges {
		marks += "f"
	}
	if s.errors > 0 {
		marks += "e"
	}
	if s.failed > 0 {
		marks += "r"
	}
	return marks
}
