package report

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// column is a column of the table of runs: one field of a Run, its unit last
// in the name.
type column struct {
	name string
	get  func(r *results.Run) string
	set  func(r *results.Run, text string) error
}

var columns = []column{
	textColumn("scenario", func(r *results.Run) *results.Scenario { return &r.Scenario }),
	intColumn("conns", func(r *results.Run) *int { return &r.Conns }),
	intColumn("size_bytes", func(r *results.Run) *int { return &r.Size }),
	intColumn("pipeline", func(r *results.Run) *int { return &r.Pipeline }),
	textColumn("server", func(r *results.Run) *string { return &r.Server }),
	intColumn("round", func(r *results.Run) *int { return &r.Round }),
	timeColumn("at", func(r *results.Run) *time.Time { return &r.At }),
	textColumn("failure", func(r *results.Run) *string { return &r.Failure }),
	intColumn("requests", func(r *results.Run) *int64 { return &r.Requests }),
	intColumn("errors", func(r *results.Run) *int64 { return &r.Errors }),
	textColumn("first_error", func(r *results.Run) *string { return &r.FirstError }),
	intColumn("elapsed_ns", func(r *results.Run) *time.Duration { return &r.Elapsed }),
	intColumn("server_cpu_ns", func(r *results.Run) *time.Duration { return &r.ServerCPU }),
	floatColumn("client_load_share", func(r *results.Run) *float64 { return &r.ClientLoad }),
	floatColumn("noise_share", func(r *results.Run) *float64 { return &r.Noise }),
	intColumn("p50_ns", func(r *results.Run) *time.Duration { return &r.P50 }),
	intColumn("p99_ns", func(r *results.Run) *time.Duration { return &r.P99 }),
	intColumn("p999_ns", func(r *results.Run) *time.Duration { return &r.P999 }),
	intColumn("max_ns", func(r *results.Run) *time.Duration { return &r.Max }),
	floatColumn("resident_bytes_per_conn", func(r *results.Run) *float64 { return &r.Resident }),
	floatColumn("collected_bytes_per_conn", func(r *results.Run) *float64 { return &r.Collected }),
	intColumn("gc_cycle_ns", func(r *results.Run) *time.Duration { return &r.GCCycle }),
	intColumn("gc_pause_ns", func(r *results.Run) *time.Duration { return &r.GCPause }),
}

// WriteCSV writes all fields of all runs, a line for each, under the names of
// the fields.
func WriteCSV(w io.Writer, runs []results.Run) error {
	out := csv.NewWriter(w)
	line := columnNames()
	if err := out.Write(line); err != nil {
		return err
	}
	for i := range runs {
		for j, c := range columns {
			line[j] = c.get(&runs[i])
		}
		if err := out.Write(line); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

// ReadCSV reads what WriteCSV wrote.
func ReadCSV(r io.Reader) ([]results.Run, error) {
	in := csv.NewReader(r)
	header, err := in.Read()
	if err != nil {
		return nil, fmt.Errorf("table of runs: %w", err)
	}
	if want := columnNames(); !slices.Equal(header, want) {
		return nil, fmt.Errorf("table of runs: the columns are %q, want %q", header, want)
	}
	var runs []results.Run
	for {
		line, err := in.Read()
		if errors.Is(err, io.EOF) {
			return runs, nil
		}
		if err != nil {
			return nil, fmt.Errorf("table of runs: %w", err)
		}
		var run results.Run
		for i, c := range columns {
			if err := c.set(&run, line[i]); err != nil {
				row, _ := in.FieldPos(i)
				return nil, fmt.Errorf("table of runs, line %d, %s: %w", row, c.name, err)
			}
		}
		runs = append(runs, run)
	}
}

func columnNames() []string {
	var names []string
	for _, c := range columns {
		names = append(names, c.name)
	}
	return names
}

func textColumn[T ~string](name string, field func(r *results.Run) *T) column {
	return column{
		name: name,
		get:  func(r *results.Run) string { return string(*field(r)) },
		set:  func(r *results.Run, text string) error { *field(r) = T(text); return nil },
	}
}

func intColumn[T ~int | ~int64](name string, field func(r *results.Run) *T) column {
	return column{
		name: name,
		get:  func(r *results.Run) string { return strconv.FormatInt(int64(*field(r)), 10) },
		set: func(r *results.Run, text string) error {
			n, err := strconv.ParseInt(text, 10, 64)
			*field(r) = T(n)
			return err
		},
	}
}

func floatColumn(name string, field func(r *results.Run) *float64) column {
	return column{
		name: name,
		get:  func(r *results.Run) string { return strconv.FormatFloat(*field(r), 'g', -1, 64) },
		set: func(r *results.Run, text string) (err error) {
			*field(r), err = strconv.ParseFloat(text, 64)
			return err
		},
	}
}

func timeColumn(name string, field func(r *results.Run) *time.Time) column {
	return column{
		name: name,
		get:  func(r *results.Run) string { return field(r).UTC().Format(time.RFC3339Nano) },
		set: func(r *results.Run, text string) (err error) {
			*field(r), err = time.Parse(time.RFC3339Nano, text)
			return err
		},
	}
}
