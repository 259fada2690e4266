package report

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// The sizes of a picture.
const (
	pictureHeight = 4.8 * vg.Inch
	onePanel      = 6.8 * vg.Inch // the width of the only panel
	manyPanels    = 4.3 * vg.Inch // the width of one of several
	legendWidth   = 1.45 * vg.Inch
	headHeight    = 0.5 * vg.Inch
	margin        = 0.12 * vg.Inch
	panelGap      = 0.2 * vg.Inch
	pngDPI        = 120
)

func sans(points float64) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(points)}
}

// writePNG draws figure f as points.
func (b *book) writePNG(w io.Writer, f *figure) error {
	c := vgimg.NewWith(vgimg.UseWH(b.width(f), pictureHeight), vgimg.UseDPI(pngDPI), vgimg.UseBackgroundColor(color.White))
	if err := b.draw(f, draw.New(c)); err != nil {
		return err
	}
	_, err := vgimg.PngCanvas{Canvas: c}.WriteTo(w)
	return err
}

// writeSVG draws figure f as lines, on white whatever the page is.
func (b *book) writeSVG(w io.Writer, f *figure) error {
	c := vgsvg.New(b.width(f), pictureHeight)
	dc := draw.New(c)
	dc.SetColor(color.White)
	dc.Fill(dc.Rectangle.Path())
	if err := b.draw(f, dc); err != nil {
		return err
	}
	var svg bytes.Buffer
	if _, err := c.WriteTo(&svg); err != nil {
		return err
	}
	// Where the typeface is missing one of the same widths must do.
	const family = "font-family:Liberation Sans"
	_, err := w.Write(bytes.ReplaceAll(svg.Bytes(), []byte(family), []byte(family+",Arial,Helvetica,sans-serif")))
	return err
}

// panelCount returns how many panels f has at most.
func (f *figure) panelCount() int {
	if f.shape == rows {
		return len(dotConns)
	}
	return len(f.panels)
}

func (f *figure) panelWidth() vg.Length {
	if f.panelCount() == 1 {
		return onePanel
	}
	return manyPanels
}

// form returns how f is laid out here: lines that would be single points are
// bars.
func (b *book) form(f *figure) shape {
	if f.shape != rows && len(b.cellsOf(f)) == 1 {
		return bars
	}
	return f.shape
}

func (b *book) width(f *figure) vg.Length {
	width := vg.Length(f.panelCount()) * f.panelWidth()
	if b.form(f) != bars {
		width += legendWidth
	}
	return width
}

// draw puts the title on top, the panels below it and the legend to their
// right, where it covers nothing.
func (b *book) draw(f *figure, c draw.Canvas) error {
	cells := b.cellsOf(f)
	panels, legend, err := b.panels(f, cells)
	if err != nil {
		return fmt.Errorf("%s: %w", f.heading(), err)
	}
	c = draw.Crop(c, margin, -margin, margin, -margin)
	b.drawHead(f, cells, c)
	body := draw.Crop(c, 0, 0, 0, -headHeight)
	if b.form(f) != bars {
		legend.Draw(draw.Crop(body, body.Size().X-legendWidth+panelGap, 0, 0, 0))
		body = draw.Crop(body, 0, -legendWidth, 0, 0)
	}
	tiles := draw.Tiles{Rows: 1, Cols: len(panels), PadX: panelGap}
	for i, canvas := range plot.Align([][]*plot.Plot{panels}, tiles, body)[0] {
		panels[i].Draw(canvas)
	}
	return nil
}

// panels returns the panels of f, from left to right, and their legend.
func (b *book) panels(f *figure, cells []results.Cell) ([]*plot.Plot, plot.Legend, error) {
	var all []*plot.Plot
	legend := newLegend()
	add := func(p *plot.Plot, err error) error {
		all = append(all, p)
		return err
	}
	switch b.form(f) {
	case bars:
		most := cells[len(cells)-1]
		for _, m := range b.metricsIn(f, cells[len(cells)-1:]) {
			if err := add(b.barPanel(m, most)); err != nil {
				return nil, legend, err
			}
		}
	case rows:
		for _, c := range dotCells(cells) {
			if err := add(b.dotPanel(f.panels, c)); err != nil {
				return nil, legend, err
			}
		}
		for i, m := range f.panels {
			legend.Add(m.name, dotSample(i))
		}
	default:
		for _, m := range b.metricsIn(f, cells) {
			if err := add(b.linePanel(f, m, cells)); err != nil {
				return nil, legend, err
			}
		}
		for _, info := range drawingOrder(b.serversIn(cells, f.panels), true) {
			legend.Add(info.Name, lineSample{b.look(info.Name)})
		}
	}
	return all, legend, nil
}

// metricsIn returns the metrics of f that were measured in one of cells.
func (b *book) metricsIn(f *figure, cells []results.Cell) []*metric {
	return slices.DeleteFunc(slices.Clone(f.panels), func(m *metric) bool {
		return !slices.ContainsFunc(cells, func(c results.Cell) bool { return b.measured(c, m) })
	})
}

// drawHead writes the title and, smaller, how the values came to be.
func (b *book) drawHead(f *figure, cells []results.Cell, c draw.Canvas) {
	title := text.Style{Font: sans(13), Color: black, YAlign: text.YTop, Handler: plot.DefaultTextHandler}
	c.FillText(title, vg.Point{X: c.Min.X, Y: c.Max.Y}, f.heading())
	note := title
	note.Font, note.Color = sans(9), grey
	line := "Median of the rounds; whiskers from the smallest to the largest."
	switch b.form(f) {
	case bars:
		line = describe(cells[len(cells)-1]) + ". " + line
	case rows:
		line = "Median of the rounds; the best p99 on top."
	}
	if len(entrants[f.scenario]) == 0 {
		line += " Sluice does not serve this yet."
	}
	c.FillText(note, vg.Point{X: c.Min.X, Y: c.Max.Y - vg.Points(17)}, line)
}

func newLegend() plot.Legend {
	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	legend.TextStyle.Font = sans(10)
	legend.ThumbnailWidth = vg.Points(26)
	legend.Padding = vg.Points(3)
	return legend
}

// lineSample is the example of a server's line in the legend.
type lineSample struct{ look }

// Thumbnail implements plot.Thumbnailer.
func (s lineSample) Thumbnail(c *draw.Canvas) {
	y := c.Center().Y
	c.StrokeLine2(s.line(), c.Min.X, y, c.Max.X, y)
	c.DrawGlyph(s.point(), c.Center())
}

// drawingOrder returns servers with Sluice first or last, so that nothing
// covers it, and the references at the other end.
func drawingOrder(servers []ServerInfo, sluiceFirst bool) []ServerInfo {
	rank := func(info ServerInfo) int {
		switch {
		case ours(info.Name):
			return 0
		case info.Reference:
			return 2
		}
		return 1
	}
	ordered := slices.Clone(servers)
	slices.SortStableFunc(ordered, func(a, b ServerInfo) int { return rank(a) - rank(b) })
	if !sluiceFirst {
		slices.Reverse(ordered)
	}
	return ordered
}

func (b *book) look(name string) look {
	return lookOf(name, slices.IndexFunc(b.servers, func(info ServerInfo) bool { return info.Name == name }))
}
