package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what was measured. Requests and the times are those of the
// measured time alone, latencies also those of what was under way at its end,
// errors those of the whole run.
type Result struct {
	Requests   int64
	Errors     int64
	FirstError string
	Elapsed    time.Duration
	ServerCPU  time.Duration // processor time of the server
	ClientCPU  time.Duration // processor time of all client processes
	BusiestCPU time.Duration // processor time of the busiest client process
	Busy       time.Duration // how long the cores were not idle, added up
	Cores      int           // how many cores Busy is about
	Noise      float64       // share of the cores that others used, 0 to 1
	P50        time.Duration
	P99        time.Duration
	P999       time.Duration
	Max        time.Duration
	Resident   int64 // the server's resident memory at the end, in bytes
	Latencies  Histogram
}

// ClientLoad returns the share of its core that the busiest client used, 0 to 1.
func (r Result) ClientLoad() float64 { return r.BusiestCPU.Seconds() / r.Elapsed.Seconds() }

// Merge returns what several client processes measured together. All of them
// watched the same server and the same cores, in about the same time.
func Merge(rs []Result) Result {
	if len(rs) == 0 {
		return Result{}
	}
	n := time.Duration(len(rs))
	sum := Result{Cores: rs[0].Cores, Latencies: newHistogram()}
	for _, r := range rs {
		sum.Requests += r.Requests
		sum.Errors += r.Errors
		if sum.FirstError == "" {
			sum.FirstError = r.FirstError
		}
		sum.Elapsed += r.Elapsed
		sum.ServerCPU += r.ServerCPU
		sum.ClientCPU += r.ClientCPU
		sum.BusiestCPU = max(sum.BusiestCPU, r.BusiestCPU)
		sum.Busy += r.Busy
		sum.Resident = max(sum.Resident, r.Resident)
		if r.Latencies.h != nil {
			sum.Latencies.h.Merge(r.Latencies.h)
		}
	}
	sum.Elapsed /= n
	sum.ServerCPU /= n
	sum.Busy /= n
	sum.derive()
	return sum
}

// derive sets the fields that follow from others.
func (r *Result) derive() {
	if all := r.Elapsed * time.Duration(r.Cores); all > 0 {
		others := r.Busy - r.ServerCPU - r.ClientCPU
		r.Noise = max(0, others.Seconds()/all.Seconds())
	}
	if r.Latencies.h.TotalCount() == 0 {
		return // the maximum of nothing would be half a microsecond
	}
	r.P50 = time.Duration(r.Latencies.h.ValueAtQuantile(50))
	r.P99 = time.Duration(r.Latencies.h.ValueAtQuantile(99))
	r.P999 = time.Duration(r.Latencies.h.ValueAtQuantile(99.9))
	r.Max = time.Duration(r.Latencies.h.Max())
}

// The latencies that are told apart, in nanoseconds, to two decimal digits.
const (
	minLatency = int64(time.Microsecond)
	maxLatency = int64(time.Minute)
)

// Histogram counts latencies. Its zero value has none and can only be merged
// and written.
type Histogram struct{ h *hdrhistogram.Histogram }

func newHistogram() Histogram { return Histogram{hdrhistogram.New(minLatency, maxLatency, 2)} }

// record counts a latency n times.
func (l Histogram) record(latency time.Duration, n int) {
	l.h.RecordValues(max(minLatency, min(maxLatency, int64(latency))), int64(n)) // always in range
}

// MarshalText returns the histogram compressed, in a few kilobytes at most.
func (l Histogram) MarshalText() ([]byte, error) {
	if l.h == nil {
		return nil, nil
	}
	return l.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// UnmarshalText takes what MarshalText returned.
func (l *Histogram) UnmarshalText(text []byte) (err error) {
	l.h = nil
	if len(text) > 0 {
		l.h, err = hdrhistogram.Decode(text)
	}
	return err
}
