package report

import (
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// linePanel draws metric m of all servers over cells.
func (b *book) linePanel(f *figure, m *metric, cells []results.Cell) (*plot.Plot, error) {
	p := newPlot(m.axis + " (" + m.direction() + ")")
	p.X.Label.Text = "connections"
	if f.shape == overSizes {
		p.X.Label.Text = "bytes of a message"
	}
	scaleCells(&p.X, f, cells, f.panelWidth())
	lo, hi := b.extent([]*metric{m}, cells)
	logarithmic := scale(&p.Y, m, lo, hi)
	if logarithmic {
		p.Title.Text += ", logarithmic"
	}
	p.Add(newGrid())
	for _, info := range drawingOrder(b.servers, false) {
		if err := b.addLine(p, f, m, cells, info.Name, logarithmic); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func newGrid() *plotter.Grid {
	grid := plotter.NewGrid()
	grid.Horizontal.Color, grid.Vertical.Color = pale, pale
	return grid
}

// extent returns the smallest and the largest median of metrics in cells.
func (b *book) extent(metrics []*metric, cells []results.Cell) (lo, hi float64) {
	var all []float64
	for _, c := range cells {
		for _, s := range b.cells[c] {
			for _, m := range metrics {
				if v, ok := s.spread(m); ok {
					all = append(all, v.Median)
				}
			}
		}
	}
	if len(all) == 0 {
		return 0, 1
	}
	return slices.Min(all), slices.Max(all)
}

// series is the values of one server: a point with a whisker for each cell.
type series struct {
	plotter.XYs
	plotter.YErrors
}

// addLine draws metric m of one server. What a logarithmic axis cannot show is
// left out.
func (b *book) addLine(p *plot.Plot, f *figure, m *metric, cells []results.Cell, server string, logarithmic bool) error {
	var s series
	for _, c := range cells {
		v, ok := b.sample(c, server).spread(m)
		if !ok || logarithmic && v.Median <= 0 {
			continue
		}
		// A whisker must not leave the panel.
		low, high := max(v.Min, p.Y.Min), min(v.Max, p.Y.Max)
		s.XYs = append(s.XYs, plotter.XY{X: f.position(c), Y: v.Median})
		s.YErrors = append(s.YErrors, struct{ Low, High float64 }{v.Median - low, high - v.Median})
	}
	if len(s.XYs) == 0 {
		return nil
	}
	line, points, err := plotter.NewLinePoints(s.XYs)
	if err != nil {
		return err
	}
	whiskers, err := plotter.NewYErrorBars(s)
	if err != nil {
		return err
	}
	l := b.look(server)
	line.LineStyle, points.GlyphStyle, whiskers.LineStyle = l.line(), l.point(), l.whisker()
	whiskers.CapWidth = vg.Points(4)
	addWithin(p, whiskers, line, points)
	return nil
}

// addWithin adds what is drawn to p without widening its axes, which are
// settled.
func addWithin(p *plot.Plot, plotters ...plot.Plotter) {
	x, y := p.X, p.Y
	p.Add(plotters...)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = x.Min, x.Max, y.Min, y.Max
}
