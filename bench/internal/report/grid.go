package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// grid is the table of a figure: a row for each server, a column for each cell.
type grid struct {
	Corner string
	Heads  []string
	Rows   []gridRow
}

type gridRow struct {
	Server string
	Ours   bool
	Cells  []gridCell
}

// gridCell is what a table says of one server in one cell.
type gridCell struct {
	Values []gridValue // one for each metric
	Marks  string
}

type gridValue struct {
	Text   string // the median
	Spread string // from the smallest to the largest
	Ratio  string // of Sluice to this server
	Best   bool   // true exactly when no library has a better median
}

// missing stands where nothing was measured, failing where it was tried.
const (
	missing = "-"
	failing = "failed"
)

// grid makes the table of metrics over the cells of f.
func (b *book) grid(f *figure, metrics []*metric) grid {
	cells := b.cellsOf(f)
	g := grid{Corner: "connections"}
	if f.shape == overSizes {
		g.Corner = "message"
	}
	for _, c := range cells {
		g.Heads = append(g.Heads, f.label(c))
	}
	for _, info := range b.serversIn(cells, metrics) {
		row := gridRow{Server: info.Name, Ours: ours(info.Name)}
		for _, c := range cells {
			s := b.sample(c, info.Name)
			cell := gridCell{Marks: s.marks(metrics)}
			for _, m := range metrics {
				cell.Values = append(cell.Values, b.gridValue(c, m, info))
			}
			row.Cells = append(row.Cells, cell)
		}
		g.Rows = append(g.Rows, row)
	}
	return g
}

func (b *book) gridValue(c results.Cell, m *metric, info ServerInfo) gridValue {
	s := b.sample(c, info.Name)
	v, ok := s.spread(m)
	switch {
	case ok:
		return gridValue{
			Text:   exact(v.Median),
			Spread: exact(v.Min) + "–" + exact(v.Max),
			Ratio:  b.ratioTo(c, m, info.Name),
			Best:   !info.Reference && b.best(c, m) == v.Median,
		}
	case len(s.good) == 0 && s.failed > 0:
		return gridValue{Text: failing}
	}
	return gridValue{Text: missing}
}

// ratioTo returns the ratio of Sluice to a server, if they are comparable.
func (b *book) ratioTo(c results.Cell, m *metric, server string) string {
	if ours(server) {
		return ""
	}
	for _, e := range entrants[c.Scenario] {
		if e.against != nil && !slices.Contains(e.against, server) {
			continue
		}
		if x, ok := b.compare(c, m, e.server, server); ok {
			return times(x.ratio.Median)
		}
	}
	return ""
}

// best returns the best median of the libraries in cell c.
func (b *book) best(c results.Cell, m *metric) float64 {
	var best float64
	found := false
	for _, info := range b.servers {
		if v, ok := b.sample(c, info.Name).spread(m); ok && !info.Reference && (!found || m.better(v.Median, best)) {
			best, found = v.Median, true
		}
	}
	return best
}

// failures lists what did not work, a line for each server and cell.
func (b *book) failures() []string {
	var found []string
	for c, samples := range b.cells {
		for server, s := range samples {
			name := fmt.Sprintf("%s (%s)", server, describe(c))
			if s.failed > 0 {
				found = append(found, fmt.Sprintf("%s: %d of %d rounds failed: %s", name, s.failed, s.failed+len(s.good), oneLine(s.failure)))
			}
			if s.errors > 0 {
				found = append(found, fmt.Sprintf("%s: %d errors: %s", name, s.errors, oneLine(s.firstError)))
			}
		}
	}
	slices.Sort(found)
	return found
}

// oneLine returns text without line breaks.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
