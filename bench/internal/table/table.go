// Package table condenses repeated measurements and prints them.
package table

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Spread is the middle and the ends of several values.
type Spread struct {
	Median, Min, Max float64
}

// SpreadOf returns the Spread of values, of which there must be one at least.
// The median of an even number of values is the mean of the two middle ones.
func SpreadOf(values []float64) Spread {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return Spread{
		Median: (sorted[(n-1)/2] + sorted[n/2]) / 2,
		Min:    sorted[0],
		Max:    sorted[n-1],
	}
}

// Print writes rows under header, two spaces apart: the first and the last
// column to the left, the others to the right. Every row is as long as header.
func Print(w io.Writer, header []string, rows [][]string) error {
	all := append([][]string{header}, rows...)
	widths := make([]int, len(header))
	for _, row := range all {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	last := len(header) - 1
	var b strings.Builder
	for _, row := range all {
		var line strings.Builder
		fmt.Fprintf(&line, "%-*s", widths[0], row[0])
		for i, cell := range row[1:last] {
			fmt.Fprintf(&line, "  %*s", widths[i+1], cell)
		}
		line.WriteString("  " + row[last])
		b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
