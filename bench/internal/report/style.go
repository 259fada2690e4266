package report

import (
	"image/color"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// look is how a server is drawn, in every figure alike.
type look struct {
	color  color.RGBA
	glyph  draw.GlyphDrawer
	dashes []vg.Length
}

var (
	red    = rgb(0xd6, 0x1f, 0x26)
	blue   = rgb(0x1f, 0x5f, 0xb4)
	teal   = rgb(0x00, 0x9c, 0xa6)
	green  = rgb(0x2e, 0x8b, 0x3d)
	orange = rgb(0xf0, 0x8c, 0x00)
	purple = rgb(0x7a, 0x3f, 0xa8)
	brown  = rgb(0x8a, 0x5a, 0x3b)
	pink   = rgb(0xe0, 0x6a, 0xa8)
	black  = rgb(0x20, 0x20, 0x20)
	grey   = rgb(0x70, 0x70, 0x70)
	pale   = rgb(0xdc, 0xdc, 0xdc) // of grids
	silver = rgb(0xa0, 0xa0, 0xa0)

	dashed = []vg.Length{vg.Points(5), vg.Points(3)}
	dotted = []vg.Length{vg.Points(1.5), vg.Points(2.5)}
)

// looks are the servers that are known. Red is Sluice's alone, grey are the
// references, and servers on one library share its colour.
var looks = map[string]look{
	"sluice":            {red, draw.CircleGlyph{}, nil},
	"sluice-native":     {red, draw.CircleGlyph{}, nil},
	"sluice-http":       {red, draw.BoxGlyph{}, dashed},
	"sluice-tls":        {red, draw.CircleGlyph{}, nil},
	"sluice-native-tls": {red, draw.CircleGlyph{}, nil},
	"sluice-http-tls":   {red, draw.BoxGlyph{}, dashed},
	"net-tls":           {blue, draw.BoxGlyph{}, nil},
	"nethttp-tls":       {blue, draw.BoxGlyph{}, nil},
	"nbio-tls":          {orange, draw.SquareGlyph{}, nil},
	"nbhttp-tls":        {orange, draw.SquareGlyph{}, nil},
	"fasthttp-tls":      {pink, draw.PyramidGlyph{}, nil},
	"net":               {blue, draw.BoxGlyph{}, nil},
	"nethttp":           {blue, draw.BoxGlyph{}, nil},
	"gnet":              {teal, draw.PyramidGlyph{}, nil},
	"gnet-poll_opt":     {teal, draw.TriangleGlyph{}, dashed},
	"netpoll":           {green, draw.RingGlyph{}, nil},
	"hertz":             {green, draw.RingGlyph{}, nil},
	"netpoll-pool":      {green, draw.PlusGlyph{}, dashed},
	"nbio":              {orange, draw.SquareGlyph{}, nil},
	"nbhttp":            {orange, draw.SquareGlyph{}, nil},
	"evio":              {purple, diamond{}, nil},
	"gev":               {brown, wedge{}, nil},
	"fasthttp":          {pink, draw.PyramidGlyph{}, nil},
	"sluice-ws":         {red, draw.CircleGlyph{}, nil},
	"sluice-wss":        {red, draw.CircleGlyph{}, nil},
	"sluice-room":       {red, draw.CircleGlyph{}, nil},
	"gws":               {purple, draw.PyramidGlyph{}, nil},
	"gws-tls":           {purple, draw.PyramidGlyph{}, nil},
	"gws-room":          {purple, draw.PyramidGlyph{}, nil},
	"gorilla":           {brown, draw.BoxGlyph{}, nil},
	"gorilla-tls":       {brown, draw.BoxGlyph{}, nil},
	"gorilla-room":      {brown, draw.BoxGlyph{}, nil},
	"nbio-ws":           {orange, draw.SquareGlyph{}, nil},
	"nbio-wss":          {orange, draw.SquareGlyph{}, nil},
	"nbio-room":         {orange, draw.SquareGlyph{}, nil},
	"grpcgo":            {blue, draw.BoxGlyph{}, nil},
	"bare":              {grey, draw.CrossGlyph{}, dashed},
	"c-epoll":           {black, draw.TriangleGlyph{}, dashed},
	"c-uring":           {silver, draw.BoxGlyph{}, dashed},
	"nginx":             {black, draw.TriangleGlyph{}, dashed},
}

// The looks of servers that are not known, dotted, by their place.
var (
	spareColors = []color.RGBA{green, purple, teal, brown, pink, orange, blue}
	spareGlyphs = []draw.GlyphDrawer{draw.SquareGlyph{}, draw.PlusGlyph{}, draw.RingGlyph{}, draw.CrossGlyph{}, draw.TriangleGlyph{}}
)

// diamond and wedge are glyphs for those of the plot package that are too thin
// to be seen on a line.
type diamond struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (diamond) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	r := s.Radius * 1.2
	fillPolygon(c, s.Color, at, vg.Point{X: -r}, vg.Point{Y: r}, vg.Point{X: r}, vg.Point{Y: -r})
}

type wedge struct{}

// DrawGlyph implements draw.GlyphDrawer.
func (wedge) DrawGlyph(c *draw.Canvas, s draw.GlyphStyle, at vg.Point) {
	r := s.Radius
	fillPolygon(c, s.Color, at, vg.Point{X: -r, Y: r * 0.8}, vg.Point{X: r, Y: r * 0.8}, vg.Point{Y: -r * 1.1})
}

func fillPolygon(c *draw.Canvas, fill color.Color, at vg.Point, corners ...vg.Point) {
	var p vg.Path
	p.Move(at.Add(corners[0]))
	for _, corner := range corners[1:] {
		p.Line(at.Add(corner))
	}
	p.Close()
	c.SetColor(fill)
	c.Fill(p)
}

func rgb(r, g, b uint8) color.RGBA { return color.RGBA{r, g, b, 0xff} }

// lookOf returns how server name is drawn, the one at place i of the report.
func lookOf(name string, i int) look {
	if l, ok := looks[name]; ok {
		return l
	}
	l := look{spareColors[i%len(spareColors)], spareGlyphs[i%len(spareGlyphs)], dotted}
	if ours(name) {
		l.color = red
	}
	return l
}

// ours tells whether server name is Sluice, in one of its forms.
func ours(name string) bool { return name == "sluice" || strings.HasPrefix(name, "sluice-") }

// line returns the style of the server's line; Sluice's is the thickest.
func (l look) line() draw.LineStyle {
	width := vg.Points(1.1)
	if l.color == red {
		width = vg.Points(2.4)
	}
	return draw.LineStyle{Color: l.color, Width: width, Dashes: l.dashes}
}

// point returns the style of the server's points.
func (l look) point() draw.GlyphStyle {
	radius := vg.Points(3)
	if l.color == red {
		radius = vg.Points(3.8)
	}
	return draw.GlyphStyle{Color: l.color, Radius: radius, Shape: l.glyph}
}

// whisker returns the style of the lines from the smallest to the largest
// value: faint, for they are many.
func (l look) whisker() draw.LineStyle {
	const strength = 0x60
	c := color.NRGBA{l.color.R, l.color.G, l.color.B, strength}
	return draw.LineStyle{Color: c, Width: vg.Points(0.8)}
}
