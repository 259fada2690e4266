package report

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/sluice-go/sluice/bench/internal/results"
	"github.com/sluice-go/sluice/bench/internal/table"
)

// bar is one server's value.
type bar struct {
	server string
	value  table.Spread
}

// barPanel draws metric m in cell c as a bar for each server, its value behind
// it.
func (b *book) barPanel(m *metric, c results.Cell) (*plot.Plot, error) {
	p := newPlot(m.axis + " (" + m.direction() + ")")
	all := b.ranked(m, c)
	var names []string
	for i, x := range all {
		chart, err := plotter.NewBarChart(plotter.Values{max(0, x.value.Median)}, vg.Points(15))
		if err != nil {
			return nil, err
		}
		chart.Horizontal, chart.XMin = true, float64(i)
		chart.Color = b.look(x.server).color
		chart.LineStyle.Width = 0
		p.Add(chart)
		names = append(names, x.server)
	}
	if err := addValues(p, all); err != nil {
		return nil, err
	}
	nameRows(p, names)
	p.X.Tick.Marker = plain{}
	p.X.Min, p.X.Max = 0, 1
	for _, x := range all {
		// Behind the longest bar its value needs room.
		const room = 1.18
		p.X.Max = max(p.X.Max, max(x.value.Median, x.value.Max)*room)
	}
	return p, nil
}

// ranked returns the values of m in cell c from the worst to the best, which
// is from the bottom to the top of a panel.
func (b *book) ranked(m *metric, c results.Cell) []bar {
	var all []bar
	for _, info := range b.servers {
		if v, ok := b.sample(c, info.Name).spread(m); ok {
			all = append(all, bar{info.Name, v})
		}
	}
	slices.SortStableFunc(all, func(x, y bar) int {
		switch {
		case m.better(x.value.Median, y.value.Median):
			return 1
		case m.better(y.value.Median, x.value.Median):
			return -1
		}
		return 0
	})
	return all
}

// addValues writes the value of each bar behind it, and draws its whisker.
func addValues(p *plot.Plot, all []bar) error {
	if len(all) == 0 {
		return nil
	}
	var ends plotter.XYLabels
	var whiskers struct {
		plotter.XYs
		plotter.XErrors
	}
	for i, x := range all {
		median, low, high := max(0, x.value.Median), max(0, x.value.Min), max(0, x.value.Max)
		ends.XYs = append(ends.XYs, plotter.XY{X: high, Y: float64(i)})
		ends.Labels = append(ends.Labels, exact(x.value.Median))
		whiskers.XYs = append(whiskers.XYs, plotter.XY{X: median, Y: float64(i)})
		whiskers.XErrors = append(whiskers.XErrors, struct{ Low, High float64 }{median - low, high - median})
	}
	labels, err := plotter.NewLabels(ends)
	if err != nil {
		return err
	}
	labels.Offset = vg.Point{X: vg.Points(4), Y: vg.Points(1)}
	for i := range labels.TextStyle {
		labels.TextStyle[i].Font = sans(9.5)
		labels.TextStyle[i].YAlign = draw.YCenter
	}
	errorBars, err := plotter.NewXErrorBars(whiskers)
	if err != nil {
		return err
	}
	errorBars.LineStyle.Color = black
	errorBars.LineStyle.Width = vg.Points(0.8)
	p.Add(labels, errorBars)
	return nil
}
