package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/bench/internal/results"
)

func TestReadCSVReadsWhatWriteCSVWrote(t *testing.T) {
	runs := append(simulate(), results.Run{
		Cell:   results.Cell{Scenario: results.GRPC, Conns: 3, Size: 7, Pipeline: 16},
		Server: "a, \"b\"", Round: 2, At: time.Date(2026, 1, 2, 3, 4, 5, 678, time.UTC),
		Failure: "it said:\n\tno, \"never\"", Requests: 1 << 40, Errors: 5, FirstError: "µ",
		Elapsed: 1, ServerCPU: 2, ClientLoad: 1.0 / 3, Noise: 1e-9, P50: 3, P99: 4, P999: 5, Max: 6,
		Resident: -1.5, Collected: 1e10 / 3, GCCycle: 7, GCPause: 8,
	})
	var table bytes.Buffer
	if err := WriteCSV(&table, runs); err != nil {
		t.Fatal(err)
	}
	read, err := ReadCSV(&table)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(read, runs) {
		t.Errorf("%d runs were read that differ from the %d that were written; the last is\n%+v, want\n%+v",
			len(read), len(runs), read[len(read)-1], runs[len(runs)-1])
	}
}

func TestReadCSVSaysWhatIsWrong(t *testing.T) {
	var table bytes.Buffer
	if err := WriteCSV(&table, simulate()[:2]); err != nil {
		t.Fatal(err)
	}
	good := table.String()
	for name, c := range map[string]struct{ text, want string }{
		"nothing":         {"", "EOF"},
		"other columns":   {strings.Replace(good, "conns", "connections", 1), `"connections"`},
		"no number":       {strings.Replace(good, ",1024,", ",many,", 1), "line 2, size_bytes"},
		"too few columns": {good + "echo,1\n", "wrong number of fields"},
	} {
		if _, err := ReadCSV(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.want)
		}
	}
}
