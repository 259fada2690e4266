package report

import (
	"bytes"
	"html"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/bench/internal/results"
)

func TestWriteMakesAReportThatNeedsNoOtherFile(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "report")
	runs := append(simulate(), runsOf(echoCell, "evio", 0)...)
	if err := Write(dir, simulatedMeta, runs); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if got, err := ReadCSV(strings.NewReader(read("runs.csv"))); err != nil || len(got) != len(runs) {
		t.Errorf("runs.csv has %d runs and error %v, want %d", len(got), err, len(runs))
	}
	page := html.UnescapeString(read("report.html"))
	for _, want := range []string{
		simulatedMeta.Machine, "v0.7.2", "2.5 s", "shuffled in each round", "Where Sluice is behind",
		"evio (echo 1 KB, 100 conns): 1 of 6 rounds failed: no route",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "http://") || strings.Contains(page, "https://") {
		t.Error("the page refers to the network")
	}
	sources := regexp.MustCompile(`src="([^"]{0,40})`).FindAllStringSubmatch(page, -1)
	for _, source := range sources {
		if !strings.HasPrefix(source[1], "data:image/svg+xml;base64,") {
			t.Errorf("the page takes %q from a file", source[1])
		}
	}
	pictures := 0
	for i := range figures {
		f := &figures[i]
		if !slices.ContainsFunc(runs, func(r results.Run) bool { return r.Scenario == f.scenario }) {
			if _, err := os.Stat(filepath.Join(dir, f.file("png"))); err == nil || strings.Contains(page, f.title) {
				t.Errorf("%s was drawn, though it was not measured", f.heading())
			}
			continue
		}
		pictures++
		if _, err := png.Decode(strings.NewReader(read(f.file("png")))); err != nil {
			t.Errorf("%s: %v", f.file("png"), err)
		}
		if svg := read(f.file("svg")); !strings.Contains(svg, f.title) || !strings.Contains(svg, "sluice") {
			t.Errorf("%s lacks its title or Sluice", f.file("svg"))
		}
	}
	if len(sources) != pictures {
		t.Errorf("the page has %d pictures, want %d", len(sources), pictures)
	}
}

func resultsPage(t *testing.T, meta Meta, runs []results.Run) string {
	t.Helper()
	var b bytes.Buffer
	if err := WriteResults(&b, meta, runs, "figures"); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestResultsPageListsWhereSluiceIsBehindFirst(t *testing.T) {
	page := resultsPage(t, simulatedMeta, append(simulate(), slices.Concat(
		runsOf(results.Cell{Scenario: results.Echo, Conns: 777, Size: 1024}, "sluice", 5e4, 5e4, 5e4),
		runsOf(results.Cell{Scenario: results.Echo, Conns: 777, Size: 1024}, "netpoll", 9e4, 9e4, 9e4))...))
	row := regexp.MustCompile(`\| echo 1 KB, 777 conns \| requests/s \| 1 \| sluice 50.0k \| netpoll 90.0k \| 44 % \| 0.56 \[0.56–0.56\] \|`)
	at := row.FindStringIndex(page)
	if at == nil || at[0] > strings.Index(page, "## Where it stands") || at[0] > strings.Index(page, "## Figures") {
		t.Errorf("the page does not begin with the cell that is behind:\n%s", page[:min(len(page), 3000)])
	}
	for _, want := range []string{
		simulatedMeta.Machine, "2026-11-23 08:00 UTC, in 55m0s", "`go -C bench run . figures`", "- rounds: 5",
		"| netpoll | v0.7.2 | SetNumLoops(1). |", "- The order of servers is shuffled in each round.", "figures/figure-01-echo-rate.svg",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, interruption) {
		t.Error("the page says that it was interrupted")
	}
}

func TestResultsPageOfAnInterruptedMeasurement(t *testing.T) {
	meta := simulatedMeta
	meta.Interrupted = true
	for _, runs := range [][]results.Run{
		nil,
		runsOf(echoCell, "net", 1e5),
		runsOf(echoCell, "sluice", 1e5),
		runsOf(echoCell, "sluice", 0),
		simulate()[:20],
	} {
		if page := resultsPage(t, meta, runs); !strings.Contains(page, interruption) {
			t.Errorf("with %d runs the page does not say that it was interrupted", len(runs))
		}
		if err := Write(t.TempDir(), meta, runs); err != nil {
			t.Errorf("with %d runs: %v", len(runs), err)
		}
	}
}

func TestBroadcastsAreInAFigureForEachDepth(t *testing.T) {
	one := results.Cell{Scenario: results.Broadcast, Conns: 10_000, Size: 128, Pipeline: 1}
	eight, other := one, one
	eight.Pipeline, other.Pipeline = 8, 3
	page := resultsPage(t, simulatedMeta, slices.Concat(
		runsOf(one, "sluice-room", 4e5, 4e5, 4e5), runsOf(one, "gws-room", 2e5, 2e5, 2e5),
		runsOf(eight, "sluice-room", 5e5, 5e5, 5e5), runsOf(eight, "gws-room", 25e4, 25e4, 25e4),
		runsOf(other, "gws-room", 1e5, 1e5, 1e5)))
	for _, want := range []string{
		"Figure 27. Broadcasts of 128 B, one at a time | deliveries/s | sluice-room | 1 | 0 | 0 | 2.00 to 2.00 |",
		"| gws-room | 200k / **100k** (1.00) |", // deliveries/s of CPU, which runsOf makes the same
		"Figure 28. Broadcasts of 128 B, 8 at a time | deliveries/s | sluice-room | 1 | 0 | 0 | 2.00 to 2.00 |",
		"| gws-room | 250k / **100k** (1.00) |",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestTablesTellMissingFromFailed(t *testing.T) {
	other := echoCell
	other.Conns = 200
	page := resultsPage(t, simulatedMeta, slices.Concat(
		runsOf(echoCell, "sluice", 1e5), runsOf(other, "sluice", 1e5),
		runsOf(echoCell, "gnet", 5e4), runsOf(other, "gnet", 0),
		runsOf(echoCell, "gev", 4e4)))
	for _, want := range []string{
		"| gnet | 50.0k / **10.0** (1.00) | failed / failed |",
		"| gev | 40.0k / **10.0** (1.00) | - / - |",
		"gnet (echo 1 KB, 200 conns): 1 of 1 rounds failed: no route",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
}

func TestNumbersArePlain(t *testing.T) {
	for _, c := range []struct {
		v            float64
		short, exact string
	}{
		{0, "0", "0"}, {1, "1", "1.00"}, {0.12, "0.12", "0.120"}, {0.04087, "0.0409", "0.0409"}, {9.5, "9.5", "9.50"},
		{812.4, "812", "812"}, {999.9, "1k", "1.00k"}, {1000, "1k", "1.00k"}, {19000, "19k", "19.0k"}, {123456, "123k", "123k"},
		{1.5e6, "1.5M", "1.50M"}, {-2500, "-2.5k", "-2.50k"}, {0.0005, "0.0005", "0.000500"},
	} {
		if short(c.v) != c.short || exact(c.v) != c.exact {
			t.Errorf("%v is written %s and %s, want %s and %s", c.v, short(c.v), exact(c.v), c.short, c.exact)
		}
	}
	for v, want := range map[int]string{7: "7", 999: "999", 1000: "1,000", 19000: "19,000", 1234567: "1,234,567"} {
		if got := grouped(v); got != want {
			t.Errorf("grouped(%d) = %q, want %q", v, got, want)
		}
	}
	for v, want := range map[int]string{64: "64 B", 1024: "1 KB", 1500: "1500 B", 65536: "64 KB"} {
		if got := size(v); got != want {
			t.Errorf("size(%d) = %q, want %q", v, got, want)
		}
	}
}
