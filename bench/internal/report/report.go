// Package report turns measurements into what people read: a table of every
// run, pictures, a page in HTML and one in Markdown. All of it is made from
// runs alone, so that a report can be made again from the table.
package report

import (
	"errors"
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

// The files in the directory of a report, beside the pictures.
const (
	runsFile = "runs.csv"
	pageFile = "report.html"
)

// Write makes a report in directory dir, which it makes if need be: runs.csv,
// the pictures figure-*.png and figure-*.svg, and report.html, which needs no
// other file.
func Write(dir string, meta Meta, runs []results.Run) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := writeFile(dir, runsFile, func(w io.Writer) error { return WriteCSV(w, runs) }); err != nil {
		return err
	}
	b := newBook(meta, runs)
	for _, f := range b.present() {
		err := errors.Join(
			writeFile(dir, f.file("png"), func(w io.Writer) error { return b.writePNG(w, f) }),
			writeFile(dir, f.file("svg"), func(w io.Writer) error { return b.writeSVG(w, f) }))
		if err != nil {
			return err
		}
	}
	return writeFile(dir, pageFile, b.writeHTML)
}

// writeFile writes the file name in directory dir with what write writes.
func writeFile(dir, name string, write func(w io.Writer) error) error {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
