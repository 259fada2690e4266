package report

import (
	"fmt"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// dotConns are the numbers of connections of which a figure in rows shows a
// panel each: in a closed loop latency grows as they do, so that over all of
// them the lines of the servers lie on each other.
var dotConns = []int{1000, 10000}

// dotGlyphs tell the metrics of a row apart.
var dotGlyphs = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}}

// dotCells returns those of cells that have a panel.
func dotCells(cells []results.Cell) []results.Cell {
	var chosen []results.Cell
	for _, c := range cells {
		if slices.Contains(dotConns, c.Conns) {
			chosen = append(chosen, c)
		}
	}
	if len(chosen) == 0 {
		return cells[len(cells)-1:]
	}
	return chosen
}

// dotPanel draws a row for each server in cell c, a point for each metric, the
// servers ranked by the metric that is judged.
func (b *book) dotPanel(metrics []*metric, c results.Cell) (*plot.Plot, error) {
	p := newPlot(fmt.Sprintf("%s (%s)", describe(c), metrics[0].direction()))
	p.X.Label.Text = "ms"
	lo, hi := b.extent(metrics, []results.Cell{c})
	logarithmic := scale(&p.X, metrics[0], lo, hi)
	p.Add(newGrid())
	judged := metrics[max(0, slices.IndexFunc(metrics, func(m *metric) bool { return m.judged }))]
	var names []string
	for row, x := range b.ranked(judged, c) {
		names = append(names, x.server)
		var xys plotter.XYs
		for i, m := range metrics {
			v, ok := b.sample(c, x.server).spread(m)
			if !ok || logarithmic && v.Median <= 0 {
				continue
			}
			at := plotter.XY{X: v.Median, Y: float64(row)}
			xys = append(xys, at)
			point, err := plotter.NewScatter(plotter.XYs{at})
			if err != nil {
				return nil, err
			}
			point.GlyphStyle = b.look(x.server).dot(i)
			addWithin(p, point)
		}
		line, err := plotter.NewLine(xys)
		if err != nil {
			return nil, err
		}
		line.LineStyle = draw.LineStyle{Color: b.look(x.server).color, Width: vg.Points(1.2)}
		addWithin(p, line)
	}
	nameRows(p, names)
	return p, nil
}

// dot returns the style of the point of metric i in a row.
func (l look) dot(i int) draw.GlyphStyle {
	return draw.GlyphStyle{Color: l.color, Radius: vg.Points(3.6), Shape: dotGlyphs[i%len(dotGlyphs)]}
}

// dotSample is the example of a metric's points in the legend.
type dotSample int

// Thumbnail implements plot.Thumbnailer.
func (i dotSample) Thumbnail(c *draw.Canvas) {
	c.DrawGlyph(look{color: black}.dot(int(i)), c.Center())
}
