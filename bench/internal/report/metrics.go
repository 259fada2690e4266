package report

import (
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// metric is one thing that a run measures.
type metric struct {
	name     string // for sentences and columns
	axis     string // with the unit
	higher   bool   // true exactly when more is better
	paced    bool   // true exactly when a client without time to spare spoils it
	fromZero bool   // true exactly when its axis begins at 0 whatever the values
	judged   bool   // true exactly when being behind in it is listed
	marked   bool   // true exactly when the references are compared by it too
	quoted   bool   // true exactly when the ratio stands beside it in short tables too
	orZero   bool   // true exactly when 0 is a value, too: memory that does not grow
	minConns int    // fewer connections say nothing about it
	value    func(r results.Run) float64
}

// The metrics. A value of 0 says that the run did not measure it, unless orZero.
// The median latency is not judged, since in a closed loop it is the rate once more, and
// neither is p99.9, for which a run has few messages.
var (
	rate = metric{
		name: "requests/s", axis: "requests per second", higher: true, paced: true, fromZero: true, judged: true, marked: true,
		value: results.Run.Rate,
	}
	churnRate = metric{
		name: "connections/s", axis: "connections opened and closed per second", higher: true, paced: true, fromZero: true, judged: true, marked: true,
		value: results.Run.Rate,
	}
	cpu = metric{
		name: "CPU µs/request", axis: "server CPU per request, µs", fromZero: true, judged: true, marked: true, quoted: true,
		value: results.Run.CPUPerRequest,
	}
	deliveryRate = metric{
		name: "deliveries/s", axis: "deliveries per second", higher: true, paced: true, fromZero: true, judged: true, marked: true,
		value: results.Run.Rate,
	}
	deliveriesPerCPU = metric{
		name: "deliveries/s of CPU", axis: "deliveries per second of server CPU", higher: true, fromZero: true, judged: true, marked: true, quoted: true,
		value: results.Run.RequestsPerCPU,
	}
	p50 = metric{
		name: "p50 ms", axis: "p50 latency, ms", paced: true,
		value: func(r results.Run) float64 { return inMs(r.P50) },
	}
	p99 = metric{
		name: "p99 ms", axis: "p99 latency, ms", paced: true, judged: true,
		value: func(r results.Run) float64 { return inMs(r.P99) },
	}
	p999 = metric{
		name: "p99.9 ms", axis: "p99.9 latency, ms", paced: true,
		value: func(r results.Run) float64 { return inMs(r.P999) },
	}
	resident = metric{
		name: "bytes/connection", axis: "resident bytes per connection", judged: true, quoted: true, orZero: true, minConns: memoryConns,
		value: func(r results.Run) float64 { return r.Resident },
	}
	collected = metric{
		name: "bytes/connection after a collection", axis: "resident bytes per connection, collected", judged: true, orZero: true, minConns: memoryConns,
		value: func(r results.Run) float64 { return r.Collected },
	}
	memory = metric{
		name: "MB", axis: "resident memory of all connections, MB", judged: true, minConns: memoryConns,
		value: func(r results.Run) float64 { return r.Resident * float64(r.Conns) / 1e6 },
	}
	gcCycle = metric{
		name: "GC cycle ms", axis: "garbage collection, ms", judged: true,
		value: func(r results.Run) float64 { return inMs(r.GCCycle) },
	}
	gcPause = metric{
		name: "GC pause ms", axis: "longest pause of it, ms", judged: true,
		value: func(r results.Run) float64 { return inMs(r.GCPause) },
	}
)

// memoryConns is the fewest connections at which memory says something of
// them: below, it is what the server keeps anyway.
const memoryConns = 1000

func inMs(d time.Duration) float64 { return d.Seconds() * 1e3 }

// direction says which values are good.
func (m *metric) direction() string {
	if m.higher {
		return "higher is better"
	}
	return "lower is better"
}

// of returns what r says of m; false if nothing.
func (m *metric) of(r results.Run) (float64, bool) {
	v := m.value(r)
	return v, r.Conns >= m.minConns && (v != 0 || m.orZero)
}

// better tells whether a is a better value than b.
func (m *metric) better(a, b float64) bool {
	if m.higher {
		return a > b
	}
	return a < b
}

// lead returns by how much Sluice is better, as a share of the other's value,
// if ratio is Sluice's value divided by the other's. It is negative if Sluice
// is behind.
func (m *metric) lead(ratio float64) float64 {
	if m.higher {
		return ratio - 1
	}
	return 1 - ratio
}

// significant is how many digits of a value are shown: more would be noise.
const significant = 3

// scaled rounds v and splits it into a number and its unit.
func scaled(v float64) (float64, string) {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', significant, 64), 64)
	switch abs := math.Abs(rounded); {
	case err != nil:
		return v, ""
	case abs >= 1e6:
		return rounded / 1e6, "M"
	case abs >= 1e3:
		return rounded / 1e3, "k"
	}
	return rounded, ""
}

// short returns v in the way people write it: 812, 9.8k, 112k.
func short(v float64) string {
	number, unit := scaled(v)
	return strconv.FormatFloat(number, 'f', -1, 64) + unit
}

// exact returns v with zeros at its end, so that the values of a table have
// one precision: 812, 9.80k, 112k.
func exact(v float64) string {
	number, unit := scaled(v)
	decimals := 0
	if number != 0 {
		decimals = significant - 1 - int(math.Floor(math.Log10(math.Abs(number))))
	}
	return strconv.FormatFloat(number, 'f', max(0, decimals), 64) + unit
}

// grouped returns n with its thousands set apart: 19,000.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// size returns a number of bytes as it is spoken of: 64 B, 1 KB, 64 KB.
func size(bytes int) string {
	if bytes >= 1<<10 && bytes%(1<<10) == 0 {
		return strconv.Itoa(bytes>>10) + " KB"
	}
	return strconv.Itoa(bytes) + " B"
}

// times returns a ratio, with two digits after the point.
func times(ratio float64) string { return strconv.FormatFloat(ratio, 'f', 2, 64) }

// share returns v as percent.
func share(v float64) string {
	if v != 0 && math.Abs(v) < 0.01 {
		return "<1 %"
	}
	return fmt.Sprintf("%.0f %%", math.Abs(v)*100)
}
