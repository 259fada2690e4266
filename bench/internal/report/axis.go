package report

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// wideSpan is the quotient of the largest and the smallest value above which
// small values are lost on an axis that begins at 0.
const wideSpan = 20

// decades marks a logarithmic axis at 1, 10, 100 and so on, and, where fewer
// than two of these are in sight, at their doubles and fives too.
type decades struct{}

func (decades) Ticks(lo, hi float64) []plot.Tick {
	labelled := []int{1}
	if first := math.Pow(10, math.Ceil(math.Log10(lo))); first*10 > hi {
		labelled = []int{1, 2, 5}
	}
	var ticks []plot.Tick
	for base := math.Pow(10, math.Floor(math.Log10(lo))); base <= hi; base *= 10 {
		for digit := 1; digit < 10; digit++ {
			v := base * float64(digit)
			if v < lo || v > hi {
				continue
			}
			tick := plot.Tick{Value: v}
			if slices.Contains(labelled, digit) {
				tick.Label = short(v)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

// plain marks a linear axis with numbers as people write them.
type plain struct{}

func (plain) Ticks(lo, hi float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(lo, hi)
	for i, t := range ticks {
		if t.Label != "" {
			ticks[i].Label = short(t.Value)
		}
	}
	return ticks
}

// scaleCells makes axis a logarithmic and marks it at cells, which it shows in
// order. Labels that would touch are left out, the largest cell's never.
func scaleCells(a *plot.Axis, f *figure, cells []results.Cell, length vg.Length) {
	const room = 1.15
	first, last := f.position(cells[0]), f.position(cells[len(cells)-1])
	a.Scale = plot.LogScale{}
	a.Min, a.Max = first/room, last*room
	width := math.Log(a.Max / a.Min)
	labelWidth := float64(vg.Points(24)/length) * width
	var ticks plot.ConstantTicks
	next := math.Inf(1)
	for _, c := range slices.Backward(cells) {
		tick := plot.Tick{Value: f.position(c)}
		if at := math.Log(tick.Value); next-at > labelWidth {
			tick.Label, next = f.tick(c), at
		}
		ticks = append(ticks, tick)
	}
	slices.Reverse(ticks)
	a.Tick.Marker = ticks
}

// scale sets axis a for the values of m from lo to hi: from 0, unless the
// values span too much for it. It tells whether it became logarithmic.
func scale(a *plot.Axis, m *metric, lo, hi float64) bool {
	if m.fromZero || lo <= 0 || hi/lo <= wideSpan {
		const room = 1.05
		a.Min, a.Max = min(0, lo), hi*room
		a.Tick.Marker = plain{}
		return false
	}
	const room = 1.3
	a.Scale = plot.LogScale{}
	a.Min, a.Max = lo/room, hi*room
	a.Tick.Marker = decades{}
	return true
}

// newPlot returns a plot with one typeface. What its values are stands above
// it, where it is read without turning the head.
func newPlot(title string) *plot.Plot {
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font = sans(10)
	p.Title.Padding = vg.Points(6)
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font = sans(10)
		a.Label.Padding = vg.Points(3)
		a.Tick.Label.Font = sans(9.5)
		a.LineStyle.Width = vg.Points(0.6)
		a.Tick.LineStyle.Width = vg.Points(0.6)
	}
	return p
}

// nameRows makes the vertical axis of p a list of names from the bottom up.
func nameRows(p *plot.Plot, names []string) {
	if len(names) == 0 {
		return
	}
	p.NominalY(names...)
	p.Y.Tick.Length = 0
	p.Y.LineStyle.Width = 0
	p.Y.Min, p.Y.Max = -0.6, float64(len(names))-0.4
}
