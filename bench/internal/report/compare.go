package report

import (
	"cmp"
	"slices"

	"github.com/sluice-go/sluice/bench/internal/results"
	"github.com/sluice-go/sluice/bench/internal/table"
)

const (
	// decidingRounds is the fewest rounds whose spread says something.
	decidingRounds = 3
	// nearReference is how far behind a reference Sluice may be and still
	// count as near it: the references do less, and in C.
	nearReference = 0.10
	// disturbing is the share of the cores in other hands above which a
	// comparison decides nothing.
	disturbing = 0.10
)

// entrant is a form of Sluice and the servers that it is comparable with.
type entrant struct {
	server  string
	against []string // nil is every server of the scenario
}

// entrants says which forms of Sluice stand for it. A handler for net/http is
// compared with servers that take the same handler, one on the loop with all.
// A scenario that Sluice does not serve has none.
var entrants = map[results.Scenario][]entrant{
	results.Echo:      {{"sluice", nil}},
	results.IdleTCP:   {{"sluice", nil}},
	results.Churn:     {{"sluice", nil}},
	results.HTTP:      {{"sluice-http", []string{"nethttp", "nbhttp"}}, {"sluice-native", nil}},
	results.Work:      {{"sluice-http", []string{"nethttp", "nbhttp"}}, {"sluice-native", nil}},
	results.IdleHTTP:  {{"sluice-http", []string{"nethttp", "nbhttp"}}, {"sluice-native", nil}},
	results.WebSocket: {{"sluice-ws", nil}},
	results.Broadcast: {{"sluice-room", nil}},
	results.TLS:       {{"sluice-tls", nil}},
	results.IdleTLS:   {{"sluice-tls", nil}},
	results.IdleWSS:   {{"sluice-wss", nil}},
	results.Handshake: {{"sluice-tls", nil}},
	results.Resume:    {{"sluice-tls", nil}},
	results.HTTPS:     {{"sluice-http-tls", []string{"nethttp-tls", "nbhttp-tls"}}, {"sluice-native-tls", nil}},
	results.IdleHTTPS: {{"sluice-http-tls", []string{"nethttp-tls", "nbhttp-tls"}}, {"sluice-native-tls", nil}},

	results.IdleWebSocket: {{"sluice-ws", nil}},
}

// verdict is what a comparison says of Sluice.
type verdict int

const (
	ahead     verdict = iota
	undecided         // the rounds differ about it, or are too few, or it was the client that was too slow
	behind
)

func (v verdict) String() string { return [...]string{"ahead", "undecided", "behind"}[v] }

// comparison is Sluice beside one other server, in one cell by one metric.
type comparison struct {
	figure      *figure // the first that shows it
	cell        results.Cell
	metric      *metric
	ours, other string
	oursValue   float64
	otherValue  float64
	ratio       table.Spread // of Sluice to the other, of the same rounds
	rounds      int
	full        bool // true exactly when the slower one's client had no time left, so that the rate decides nothing
	disturbed   bool // true exactly when other processes had much of the cores
	rivals      int  // other servers that are ahead of Sluice here by the median
}

// lead returns by how much Sluice is better, as a share; negative is behind.
func (c *comparison) lead() float64 { return c.metric.lead(c.ratio.Median) }

func (c *comparison) verdict() verdict {
	switch {
	case c.rounds < decidingRounds, c.disturbed, c.full, c.ratio.Min <= 1 && c.ratio.Max >= 1:
		return undecided
	case c.lead() < 0:
		return behind
	}
	return ahead
}

// why says why a comparison is undecided.
func (c *comparison) why() string {
	switch {
	case c.rounds < decidingRounds:
		return "too few rounds"
	case c.disturbed:
		return "other processes had much of the cores"
	case c.full:
		return "the client's core was full; the CPU per request decides"
	}
	return "within the spread of the rounds"
}

// compare puts ours beside other; false says that no round has both.
func (b *book) compare(c results.Cell, m *metric, ours, other string) (comparison, bool) {
	s, o := b.sample(c, ours), b.sample(c, other)
	ratios := s.ratios(o, m)
	if len(ratios) == 0 {
		return comparison{}, false
	}
	sv, _ := s.spread(m)
	ov, _ := o.spread(m)
	result := comparison{
		cell: c, metric: m, ours: ours, other: other,
		oursValue: sv.Median, otherValue: ov.Median,
		ratio: table.SpreadOf(ratios), rounds: len(ratios),
	}
	slower := s
	if result.lead() > 0 {
		slower = o
	}
	result.full = m.paced && slower.clientFull()
	result.disturbed = max(s.noise(), o.noise()) > disturbing
	return result, true
}

// closest returns the comparison that is worst for Sluice among those of
// entrant e with libraries, or with references; false says that there is none.
func (b *book) closest(c results.Cell, m *metric, e entrant, references bool) (comparison, bool) {
	var all []comparison
	for _, info := range b.servers {
		if info.Reference != references || ours(info.Name) || !references && e.against != nil && !slices.Contains(e.against, info.Name) {
			continue
		}
		if x, ok := b.compare(c, m, e.server, info.Name); ok {
			all = append(all, x)
		}
	}
	if len(all) == 0 {
		return comparison{}, false
	}
	worst := slices.MinFunc(all, worstFirst)
	for _, other := range all {
		if other.lead() < 0 && other.other != worst.other {
			worst.rivals++
		}
	}
	return worst, true
}

// worstFirst orders comparisons: those that are decided against Sluice, then
// those that are not decided, each by how far behind Sluice is.
func worstFirst(a, b comparison) int {
	return cmp.Or(cmp.Compare(b.verdict(), a.verdict()), cmp.Compare(a.lead(), b.lead()))
}

// standing is how Sluice does: every cell and judged metric once, beside the
// server that is best there.
type standing struct {
	all    []comparison // with libraries
	marked []comparison // with references
}

func (b *book) standing() standing {
	type key struct {
		cell   results.Cell
		metric string
		ours   string
	}
	seen := map[key]bool{}
	var s standing
	for _, f := range b.present() {
		for _, c := range b.cellsOf(f) {
			for _, m := range f.panels {
				for _, e := range entrants[f.scenario] {
					k := key{c, m.name, e.server}
					if !m.judged || seen[k] {
						continue
					}
					seen[k] = true
					if x, ok := b.closest(c, m, e, false); ok {
						x.figure = f
						s.all = append(s.all, x)
					}
					// The references are marks of speed, for what is
					// fast: they keep nothing for a connection, and
					// know no net/http.
					if x, ok := b.closest(c, m, e, true); ok && m.marked && e.against == nil {
						x.figure = f
						s.marked = append(s.marked, x)
					}
				}
			}
		}
	}
	return s
}

// with returns the comparisons of verdict v in which Sluice is behind by the
// median, unless v is that it is ahead, the worst first.
func with(all []comparison, v verdict) []comparison {
	chosen := slices.DeleteFunc(slices.Clone(all), func(c comparison) bool {
		return c.verdict() != v || v != ahead && c.lead() >= 0
	})
	slices.SortStableFunc(chosen, worstFirst)
	return chosen
}

// count returns how many comparisons have verdict v.
func count(all []comparison, v verdict) int {
	n := 0
	for i := range all {
		if all[i].verdict() == v {
			n++
		}
	}
	return n
}

// farBehind returns the comparisons with references in which Sluice is behind
// by more than nearReference, and decidedly so.
func (s standing) farBehind() []comparison {
	return slices.DeleteFunc(with(s.marked, behind), func(c comparison) bool { return c.lead() >= -nearReference })
}

// score is how Sluice does in one metric of one figure.
type score struct {
	figure                   *figure
	metric                   *metric
	ours                     string
	ahead, undecided, behind int
	worst, best              float64 // ratio to the best other
}

// scores condenses comparisons, in the order of the figures.
func scores(all []comparison) []score {
	var list []score
	for i := range all {
		c := &all[i]
		j := slices.IndexFunc(list, func(s score) bool {
			return s.figure == c.figure && s.metric == c.metric && s.ours == c.ours
		})
		if j < 0 {
			j = len(list)
			list = append(list, score{figure: c.figure, metric: c.metric, ours: c.ours, worst: c.ratio.Median, best: c.ratio.Median})
		}
		s := &list[j]
		switch c.verdict() {
		case ahead:
			s.ahead++
		case undecided:
			s.undecided++
		case behind:
			s.behind++
		}
		if c.metric.better(s.worst, c.ratio.Median) {
			s.worst = c.ratio.Median
		}
		if c.metric.better(c.ratio.Median, s.best) {
			s.best = c.ratio.Median
		}
	}
	return list
}
