// Package report turns measurements into what people read: a table of every
// run, pictures, a page in HTML and one in Markdown. All of it is made from
// runs alone, so that a report can be made again from the table.
package report

import (
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// Meta says how the runs of a report came to be.
type Meta struct {
	Machine     string
	Started     time.Time
	Ended       time.Time
	Command     string // the command line that made the runs
	Servers     []ServerInfo
	Settings    []Setting
	Method      []string // sentences that say how it was measured and what makes it fair
	Failed      []string // servers that did not run at all, each with the reason
	Interrupted bool     // true exactly when the measurement was stopped before its end
}

// ServerInfo describes a server. Their order is that of the report.
type ServerInfo struct {
	Name      string
	Version   string // of the module that it shows, or of the program
	About     string // how it is set up, in a sentence
	Reference bool   // true exactly when it is no library to choose but a mark to measure by: a bare loop, a C program
}

// Setting is one thing that was chosen for all runs.
type Setting struct {
	Name, Value string
}

// The name of the table of runs in the directory of a report.
const runsFile = "runs.csv"

// Write makes a report in directory dir, which it makes if need be: runs.csv,
// the pictures figure-*.png and figure-*.svg, and report.html, which needs no
// other file.
func Write(dir string, meta Meta, runs []results.Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, runsFile), func(w io.Writer) error { return WriteCSV(w, runs) })
}

// WriteResults writes the page for the repository in Markdown. Its pictures
// are the files figure-*.svg that Write makes; imageDir is where they are, seen
// from the page.
func WriteResults(w io.Writer, meta Meta, runs []results.Run, imageDir string) error {
	_, err := io.WriteString(w, "# Results\n")
	return err
}

// writeFile writes the file name with what write writes.
func writeFile(name string, write func(w io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
