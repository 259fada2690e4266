package report

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
)

//go:embed report.html.tmpl
var htmlSource string

var htmlTemplate = template.Must(template.New("report").Parse(htmlSource))

// htmlPage is what the template is filled with.
type htmlPage struct {
	Meta          Meta
	When          string
	Interruption  string
	Summary       summary
	Figures       []htmlFigure
	Servers       []ServerInfo
	RatioLegend   string
	VerdictLegend string
	MarkLegend    string
	RunsFile      string
}

type htmlFigure struct {
	ID, Heading, Title string
	Image              template.URL // the picture itself, so that the page needs no other file
	Tables             []htmlTable
}

type htmlTable struct {
	Metric string
	grid
}

// writeHTML writes the page with all figures.
func (b *book) writeHTML(w io.Writer) error {
	page := htmlPage{
		Meta: b.meta, When: b.meta.when(), Summary: b.summary(), Servers: b.servers,
		RatioLegend: ratioLegend, VerdictLegend: verdictLegend, MarkLegend: markLegend, RunsFile: runsFile,
	}
	if b.meta.Interrupted {
		page.Interruption = interruption
	}
	for _, f := range b.present() {
		var svg bytes.Buffer
		if err := b.writeSVG(&svg, f); err != nil {
			return err
		}
		x := htmlFigure{
			ID: f.id, Heading: f.heading(), Title: f.title,
			Image: template.URL("data:image/svg+xml;base64," + base64.StdEncoding.EncodeToString(svg.Bytes())),
		}
		for _, m := range f.panels {
			x.Tables = append(x.Tables, htmlTable{m.axis + " (" + m.direction() + ")", b.grid(f, []*metric{m})})
		}
		page.Figures = append(page.Figures, x)
	}
	return htmlTemplate.Execute(w, page)
}
