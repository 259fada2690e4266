package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sluice-go/sluice/bench/internal/table"
)

// printThroughput prints a row for each server. Beside the bases, processor
// time per request above 1 is more than the base needs, and a rate above 1 is
// more than it reaches.
func printThroughput(w io.Writer, names, bases []string, outcomes map[string][]outcome) error {
	header := []string{"server", "req/s", "CPU µs/req"}
	for _, base := range bases {
		header = append(header, "CPU to "+base, "rate to "+base)
	}
	header = append(header, "p50 ms", "p99 ms", "bytes/conn", "errors", "notes")
	var rows [][]string
	for _, name := range names {
		rows = append(rows, throughputRow(name, bases, outcomes))
	}
	if err := table.Print(w, header, rows); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

func throughputRow(name string, bases []string, outcomes map[string][]outcome) []string {
	all := outcomes[name]
	good := slices.DeleteFunc(slices.Clone(all), func(o outcome) bool { return o.err != nil || o.Requests == 0 })
	errorCount := int64(0)
	for _, o := range all {
		errorCount += o.Errors
	}
	median := func(format string, value func(o outcome) float64) string {
		if len(good) == 0 {
			return "-"
		}
		return fmt.Sprintf(format, spread(good, value).Median)
	}
	row := []string{
		name,
		median("%.0f", func(o outcome) float64 { return o.Rate() }),
		median("%.2f", microsPerRequest),
	}
	for _, base := range bases {
		row = append(row,
			ratio(all, outcomes[base], microsPerRequest),
			ratio(all, outcomes[base], func(o outcome) float64 { return o.Rate() }))
	}
	return append(row,
		median("%.2f", func(o outcome) float64 { return o.P50.Seconds() * 1e3 }),
		median("%.2f", func(o outcome) float64 { return o.P99.Seconds() * 1e3 }),
		median("%.0f", func(o outcome) float64 { return o.perConn }),
		fmt.Sprint(errorCount),
		notes(all, good),
	)
}

func microsPerRequest(o outcome) float64 { return o.ServerCPU.Seconds() * 1e6 / float64(o.Requests) }

func spread(outcomes []outcome, value func(o outcome) float64) table.Spread {
	var values []float64
	for _, o := range outcomes {
		values = append(values, value(o))
	}
	return table.SpreadOf(values)
}

// ratio compares a value run by run, so that what slowed the machine for a
// while slowed both.
func ratio(all, base []outcome, value func(o outcome) float64) string {
	var ratios []float64
	for i := range min(len(all), len(base)) {
		if all[i].Requests > 0 && base[i].Requests > 0 {
			ratios = append(ratios, value(all[i])/value(base[i]))
		}
	}
	if len(ratios) == 0 {
		return "-"
	}
	s := table.SpreadOf(ratios)
	return fmt.Sprintf("%.2f [%.2f-%.2f]", s.Median, s.Min, s.Max)
}

const (
	// boundClient is the share of its core above which the client, rather
	// than the server, may be what limits the rate.
	boundClient = 0.9
	// loudNoise is the share of the two cores in other hands above which a
	// figure is marked.
	loudNoise = 0.05
	// fewRounds is how often all connections must have had their turn for a
	// rate, and above all a latency, to be that of a long run.
	fewRounds = 2
)

// notes says what a reader of the figures has to know.
func notes(all, good []outcome) string {
	var texts []string
	if len(good) > 0 {
		if spread(good, func(o outcome) float64 { return o.ClientLoad() }).Median > boundClient {
			texts = append(texts, "generator-bound")
		}
		if noise := spread(good, func(o outcome) float64 { return o.Noise }).Median; noise > loudNoise {
			texts = append(texts, fmt.Sprintf("noise %.0f %%", noise*100))
		}
		if rounds := spread(good, func(o outcome) float64 { return o.rounds }).Median; rounds < fewRounds {
			texts = append(texts, fmt.Sprintf("only %.1f exchanges per connection", rounds))
		}
	}
	for _, o := range all {
		if o.FirstError != "" {
			texts = append(texts, o.FirstError)
			break
		}
	}
	if failed := len(all) - len(good); failed > 0 {
		text := fmt.Sprintf("%d of %d runs failed", failed, len(all))
		i := slices.IndexFunc(all, func(o outcome) bool { return o.err != nil })
		if i >= 0 {
			text += ": " + strings.Join(strings.Fields(all[i].err.Error()), " ")
		}
		texts = append(texts, text)
	}
	return strings.Join(texts, "; ")
}
