package report

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// What a report says of itself, in both of its forms.
const (
	ratioLegend = "A ratio is Sluice's value divided by the other's, made in each round and condensed to the median, " +
		"with the smallest and the largest in brackets. For rates above 1 is good, for everything else below 1. " +
		"Over HTTP the ratio beside net/http and nbhttp is that of sluice-http, beside the others that of sluice-native."
	verdictLegend = "Sluice is behind or ahead where all rounds agree; it is undecided where they do not, where there are fewer than 3, " +
		"where other processes had more than 10 % of the cores, or where a rate was limited by the client. Listed is the best other library of each cell; " +
		"the median and p99.9 latencies are shown but not judged, for the one is the rate once more in a closed loop and the other rests on few messages."
)

// summary is what a reader wants to know within a minute.
type summary struct {
	Headline   string
	Scores     []scoreRow
	Behind     []comparisonRow
	Undecided  []comparisonRow // with Sluice behind by the median
	FarBehind  []comparisonRow // references
	References string
	Failures   []string
}

// scoreRow is a score in words.
type scoreRow struct {
	Figure, Metric, Ours     string
	Anchor                   string // of the figure
	Ahead, Undecided, Behind int
	Range                    string
}

// comparisonRow is a comparison in words.
type comparisonRow struct {
	Cell, Metric string
	Figure       int
	Anchor       string // of the figure
	Ours, Other  string // names and values
	By, Ratio    string
	Note         string
}

func (b *book) summary() summary {
	s := b.standing()
	sum := summary{
		Headline:  headline(s.all),
		Behind:    rowsOf(with(s.all, behind)),
		Undecided: rowsOf(with(s.all, undecided)),
		FarBehind: rowsOf(s.farBehind()),
		Failures:  b.failures(),
	}
	if len(s.marked) > 0 {
		sum.References = fmt.Sprintf("References are a bare loop in Go and programs in C, which do less. Beside the best of them Sluice is ahead in %d of %d cells, "+
			"undecided in %d, and behind by more than %s in %d.",
			count(s.marked, ahead), len(s.marked), count(s.marked, undecided), share(nearReference), len(sum.FarBehind))
	}
	for _, x := range scores(s.all) {
		sum.Scores = append(sum.Scores, scoreRow{
			Figure: x.figure.heading(), Metric: x.metric.name, Ours: x.ours, Anchor: x.figure.id,
			Ahead: x.ahead, Undecided: x.undecided, Behind: x.behind,
			Range: times(x.worst) + " to " + times(x.best),
		})
	}
	return sum
}

func headline(all []comparison) string {
	if len(all) == 0 {
		return "Nothing was measured that Sluice could be compared in."
	}
	if !slices.ContainsFunc(all, func(c comparison) bool { return c.rounds >= decidingRounds }) {
		return fmt.Sprintf("A look, not a result: fewer than %d rounds were measured, and nothing is decided by them.", decidingRounds)
	}
	return fmt.Sprintf("Sluice is ahead of every comparable Go library in %d of %d cells, undecided in %d and behind in %d. "+
		"A cell is one number of connections or one size, by one measure. "+
		"Comparable with sluice and sluice-native is every library of the same protocol; with sluice-http, which takes net/http's handlers, "+
		"net/http and nbhttp are, which take them, too: fasthttp and hertz have handlers of their own.",
		count(all, ahead), len(all), count(all, undecided), count(all, behind))
}

func rowsOf(all []comparison) []comparisonRow {
	var rows []comparisonRow
	for i := range all {
		c := &all[i]
		row := comparisonRow{
			Cell: describe(c.cell), Metric: c.metric.name, Figure: c.figure.number, Anchor: c.figure.id,
			Ours:  c.ours + " " + exact(c.oursValue),
			Other: c.other + " " + exact(c.otherValue),
			By:    share(c.lead()),
			Ratio: fmt.Sprintf("%s [%s–%s]", times(c.ratio.Median), times(c.ratio.Min), times(c.ratio.Max)),
		}
		var notes []string
		if c.verdict() == undecided {
			notes = append(notes, c.why())
		}
		if c.rivals > 0 {
			notes = append(notes, fmt.Sprintf("%d more lead too", c.rivals))
		}
		row.Note = strings.Join(notes, "; ")
		rows = append(rows, row)
	}
	return rows
}

// when says when the runs were made.
func (m Meta) when() string {
	return fmt.Sprintf("%s, in %v", m.Started.Format("2006-01-02 15:04 MST"), m.Ended.Sub(m.Started).Round(time.Second))
}

// interruption is what an interrupted report begins with.
const interruption = "The measurement was stopped before its end: cells are missing, and others have fewer rounds."
