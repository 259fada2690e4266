package report

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/plot"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// Real measurements have holes: no memory that grew, one cell only, zeros.
func TestOddValuesAreDrawn(t *testing.T) {
	var runs []results.Run
	for i, bytesPerConn := range []float64{-300, 0.001, 5e6} {
		for _, scenario := range []results.Scenario{results.IdleTCP, results.Work} {
			runs = append(runs, results.Run{
				Cell:   results.Cell{Scenario: scenario, Conns: 1000},
				Server: []string{"sluice", "net", "another"}[i], Round: 1, Resident: bytesPerConn, GCCycle: 1,
			})
		}
	}
	b := newBook(Meta{}, append(runs, runsOf(results.Cell{Scenario: results.Churn, Conns: 1}, "gev", 1e5)...))
	drawn := b.present()
	if len(drawn) != 4 {
		t.Errorf("%d figures are drawn, want memory twice, garbage collection and churn", len(drawn))
	}
	for _, f := range drawn {
		var picture bytes.Buffer
		if err := b.writePNG(&picture, f); err != nil {
			t.Errorf("%s: %v", f.heading(), err)
		}
		picture.Reset()
		if err := b.writeSVG(&picture, f); err != nil || bytes.Contains(picture.Bytes(), []byte("NaN")) {
			t.Errorf("%s: error %v, or a position that is no number", f.heading(), err)
		}
	}
}

func labels(ticks []plot.Tick) []string {
	var texts []string
	for _, tick := range ticks {
		if tick.Label != "" {
			texts = append(texts, tick.Label)
		}
	}
	return texts
}

func TestAxesHavePlainNumbers(t *testing.T) {
	for _, c := range []struct {
		name   string
		ticker plot.Ticker
		lo, hi float64
		want   []string
	}{
		{"decades", decades{}, 0.5, 20000, []string{"1", "10", "100", "1k", "10k"}},
		{"parts of a decade", decades{}, 15, 700, []string{"20", "50", "100", "200", "500"}},
		{"linear", plain{}, 0, 150000, []string{"0", "50k", "100k", "150k"}},
	} {
		if got := labels(c.ticker.Ticks(c.lo, c.hi)); !slices.Equal(got, c.want) {
			t.Errorf("%s: labels %q, want %q", c.name, got, c.want)
		}
	}
}

func TestLabelsOfCellsDoNotTouch(t *testing.T) {
	var cells []results.Cell
	for _, conns := range []int{1, 10, 9000, 9500, 10000, 19000, 19500} {
		cells = append(cells, results.Cell{Scenario: results.Echo, Conns: conns, Size: 1024})
	}
	var a plot.Axis
	scaleCells(&a, &figures[0], cells, onePanel)
	ticks := a.Tick.Marker.Ticks(a.Min, a.Max)
	if want := []string{"1", "10", "10k", "19.5k"}; !slices.Equal(labels(ticks), want) || len(ticks) != len(cells) {
		t.Errorf("%d ticks with labels %q, want %d with %q", len(ticks), labels(ticks), len(cells), want)
	}
}

func TestServersLookDifferent(t *testing.T) {
	b := newBook(simulatedMeta, simulate())
	for _, scenario := range []results.Scenario{results.Echo, results.HTTP} {
		seen := map[any]string{}
		for _, info := range b.serversIn([]results.Cell{{Scenario: scenario, Conns: 100, Size: sizeOf(scenario), Pipeline: 1}}, []*metric{&rate}) {
			l := b.look(info.Name)
			type face struct{ color, glyph any }
			if other := seen[face{l.color, l.glyph}]; other != "" {
				t.Errorf("%s and %s look alike", info.Name, other)
			}
			seen[face{l.color, l.glyph}] = info.Name
			if (l.color == red) != ours(info.Name) {
				t.Errorf("%s: red is Sluice's", info.Name)
			}
		}
		if len(seen) < 5 {
			t.Errorf("%s: only %d servers were looked at", scenario, len(seen))
		}
	}
}

func sizeOf(scenario results.Scenario) int {
	if scenario == results.Echo {
		return usualSize
	}
	return 0
}

func TestValuesThatSpanMuchGetALogarithmicAxis(t *testing.T) {
	for _, c := range []struct {
		m      *metric
		lo, hi float64
		want   bool
	}{
		{&memory, 1, 100, true}, {&memory, 10, 100, false}, {&memory, -1, 100, false}, {&rate, 1, 1e6, false},
	} {
		var a plot.Axis
		if got := scale(&a, c.m, c.lo, c.hi); got != c.want || math.IsNaN(a.Min) || !got && a.Min > 0 {
			t.Errorf("%s from %v to %v: logarithmic is %v, the axis begins at %v", c.m.name, c.lo, c.hi, got, a.Min)
		}
	}
}
