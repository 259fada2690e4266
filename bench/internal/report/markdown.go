package report

import (
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// WriteResults writes the page for the repository in Markdown. Its pictures
// are the files figure-*.svg that Write makes; imageDir is where they are, seen
// from the page.
func WriteResults(w io.Writer, meta Meta, runs []results.Run, imageDir string) error {
	b := newBook(meta, runs)
	var p page
	p.head(meta)
	p.summary(b.summary())
	p.line("## Figures", "", ratioLegend+" In the tables the ratio to a server stands behind its value.", "", markLegend, "")
	for _, figures := range b.sections() {
		p.section(b, figures, imageDir)
	}
	p.servers(b.servers)
	p.method(meta)
	_, err := io.WriteString(w, p.String())
	return err
}

// page is a page in Markdown.
type page struct{ strings.Builder }

func (p *page) line(lines ...string) {
	for _, line := range lines {
		p.WriteString(line + "\n")
	}
}

// table writes rows under heads, and a blank line behind them. A head that
// begins with a space is of a column of numbers.
func (p *page) table(heads []string, rows [][]string) {
	rule := make([]string, len(heads))
	for i, head := range heads {
		rule[i] = "---"
		if strings.HasPrefix(head, " ") {
			rule[i] = "---:"
		}
	}
	for _, row := range append([][]string{heads, rule}, rows...) {
		cells := make([]string, len(row))
		for i, cell := range row {
			cells[i] = strings.ReplaceAll(strings.TrimSpace(cell), "|", `\|`)
		}
		p.line("| " + strings.Join(cells, " | ") + " |")
	}
	p.line("")
}

func (p *page) head(meta Meta) {
	p.line("# Results", "",
		"Written by `"+meta.Command+"`; the next run overwrites what is edited here.", "",
		"- machine: "+meta.Machine, "- when: "+meta.when())
	for _, s := range meta.Settings {
		p.line("- " + s.Name + ": " + s.Value)
	}
	p.line("")
	if meta.Interrupted {
		p.line("**"+interruption+"**", "")
	}
}

func (p *page) summary(s summary) {
	p.line("## Where Sluice is behind", "", s.Headline, "")
	p.comparisons("No cell is decided against Sluice.", s.Behind)
	if len(s.Undecided) > 0 {
		p.line("### Undecided, with Sluice behind by the median", "")
		p.comparisons("", s.Undecided)
	}
	if s.References != "" {
		p.line("### Beside the references", "", s.References, "")
		p.comparisons("", s.FarBehind)
	}
	if len(s.Failures) > 0 {
		p.line("### What failed", "")
		for _, text := range s.Failures {
			p.line("- " + text)
		}
		p.line("")
	}
	if len(s.Scores) == 0 {
		return
	}
	p.line("## Where it stands", "", verdictLegend, "")
	var rows [][]string
	for _, x := range s.Scores {
		rows = append(rows, []string{x.Figure, x.Metric, x.Ours, fmt.Sprint(x.Ahead), fmt.Sprint(x.Undecided), fmt.Sprint(x.Behind), x.Range})
	}
	p.table([]string{"figure", "measure", "server", " ahead", " undecided", " behind", " ratio to the best other, worst to best"}, rows)
}

// comparisons writes a table of them, or none if there are none and none says
// nothing.
func (p *page) comparisons(none string, all []comparisonRow) {
	if len(all) == 0 {
		if none != "" {
			p.line(none, "")
		}
		return
	}
	var rows [][]string
	for _, x := range all {
		rows = append(rows, []string{x.Cell, x.Metric, fmt.Sprint(x.Figure), x.Ours, x.Other, x.By, x.Ratio, x.Note})
	}
	p.table([]string{"cell", "measure", " figure", "Sluice", "best other", " behind by", " ratio", "note"}, rows)
}

// sections returns the figures, those together that have the same cells and
// one metric each: the rate and what it costs are read side by side.
func (b *book) sections() [][]*figure {
	var sections [][]*figure
	for _, f := range b.present() {
		i := slices.IndexFunc(sections, func(s []*figure) bool {
			return len(f.panels) == 1 && len(s[0].panels) == 1 && slices.Equal(b.cellsOf(s[0]), b.cellsOf(f))
		})
		if i < 0 {
			sections = append(sections, []*figure{f})
			continue
		}
		sections[i] = append(sections[i], f)
	}
	return sections
}

// section writes the pictures of figures that share their cells, and a table
// of all their metrics.
func (p *page) section(b *book, figures []*figure, imageDir string) {
	var metrics []*metric
	var headings, pictures, names []string
	for _, f := range figures {
		headings = append(headings, f.heading())
		pictures = append(pictures, fmt.Sprintf("![%s](%s)", f.heading(), path.Join(imageDir, f.file("svg"))))
		for _, m := range f.panels {
			metrics = append(metrics, m)
			names = append(names, m.name)
		}
	}
	g := b.grid(figures[0], metrics)
	p.line("### "+strings.Join(headings, "; "), "")
	p.line(pictures...)
	p.line("")
	heads := []string{strings.Join(names, " / ") + "; " + g.Corner}
	for _, head := range g.Heads {
		heads = append(heads, " "+head)
	}
	var rows [][]string
	for _, r := range g.Rows {
		row := []string{emphasis(r.Server, r.Ours)}
		for _, c := range r.Cells {
			row = append(row, c.markdown(metrics))
		}
		rows = append(rows, row)
	}
	p.table(heads, rows)
}

// markdown returns the values of metrics, with the ratios of those in which
// they are quoted.
func (c gridCell) markdown(metrics []*metric) string {
	var values []string
	for i, v := range c.Values {
		text := emphasis(v.Text, v.Best)
		if metrics[i].quoted && v.Ratio != "" {
			text += " (" + v.Ratio + ")"
		}
		values = append(values, text)
	}
	text := strings.Join(values, " / ")
	if c.Marks != "" {
		text += " <sup>" + c.Marks + "</sup>"
	}
	return text
}

func emphasis(text string, strong bool) string {
	if strong {
		return "**" + text + "**"
	}
	return text
}

func (p *page) servers(servers []ServerInfo) {
	p.line("## Servers", "")
	var rows [][]string
	for _, info := range servers {
		about := info.About
		if info.Reference {
			about += " A reference."
		}
		rows = append(rows, []string{emphasis(info.Name, ours(info.Name)), info.Version, about})
	}
	p.table([]string{"server", "version", "set up"}, rows)
}

func (p *page) method(meta Meta) {
	p.line("## Method", "")
	for _, text := range meta.Method {
		p.line("- " + text)
	}
}
