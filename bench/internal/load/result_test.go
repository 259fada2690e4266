package load

import (
	"encoding/json"
	"math/rand/v2"
	"testing"
	"time"
)

// planted returns the results of several processes and the latencies of all
// of them.
func planted(processes int) (rs []Result, all Histogram) {
	random := rand.New(rand.NewPCG(1, 2))
	all = newHistogram()
	for range processes {
		r := Result{Elapsed: time.Second, Latencies: newHistogram()}
		for range 20_000 {
			latency := time.Duration(random.ExpFloat64() * float64(time.Millisecond))
			r.Latencies.record(latency, 2)
			all.record(latency, 2)
		}
		rs = append(rs, r)
	}
	return rs, all
}

// throughJSON returns r as another process gets it.
func throughJSON(t *testing.T, r Result) Result {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if most := 8 << 10; len(text) > most {
		t.Errorf("a result of %d bytes, want at most %d", len(text), most)
	}
	var got Result
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMergedPercentilesAreThoseOfOneHistogram(t *testing.T) {
	rs, all := planted(3)
	for i := range rs {
		rs[i] = throughJSON(t, rs[i])
	}
	got := Merge(rs)
	want := Result{Latencies: all}
	want.derive()
	if got.P50 != want.P50 || got.P99 != want.P99 || got.P999 != want.P999 || got.Max != want.Max {
		t.Errorf("got %v %v %v %v, want %v %v %v %v", got.P50, got.P99, got.P999, got.Max, want.P50, want.P99, want.P999, want.Max)
	}
	if got.P50 >= got.P99 || got.P99 >= got.P999 || got.P999 >= got.Max {
		t.Errorf("percentiles %v %v %v %v are not in order", got.P50, got.P99, got.P999, got.Max)
	}
	if !got.Latencies.h.Equals(all.h) {
		t.Error("the merged histogram is another one")
	}
	if alone := Merge(rs[:1]); !alone.Latencies.h.Equals(rs[0].Latencies.h) {
		t.Error("a result that is merged with no other is another one")
	}
}

func TestMergeSumsWhatProcessesDidAndTakesWhatTheySaw(t *testing.T) {
	rs := []Result{
		{Requests: 10, Elapsed: 900 * time.Millisecond, ServerCPU: 800 * time.Millisecond, ClientCPU: 500 * time.Millisecond,
			BusiestCPU: 500 * time.Millisecond, Busy: 2200 * time.Millisecond, Cores: 2, Resident: 5},
		{Requests: 20, Errors: 3, FirstError: "first", Elapsed: 1100 * time.Millisecond, ServerCPU: time.Second, ClientCPU: 300 * time.Millisecond,
			BusiestCPU: 300 * time.Millisecond, Busy: 2200 * time.Millisecond, Cores: 2, Resident: 7},
		{Requests: 30, Errors: 4, FirstError: "second", Elapsed: time.Second, ServerCPU: 900 * time.Millisecond,
			BusiestCPU: 0, Busy: 2200 * time.Millisecond, Cores: 2, Resident: 6},
	}
	got := Merge(rs)
	want := Result{Requests: 60, Errors: 7, FirstError: "first", Elapsed: time.Second, ServerCPU: 900 * time.Millisecond, ClientCPU: 800 * time.Millisecond,
		BusiestCPU: 500 * time.Millisecond, Busy: 2200 * time.Millisecond, Cores: 2, Noise: 0.25, Resident: 7}
	got.Latencies = Histogram{}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if load := got.ClientLoad(); load != 0.5 {
		t.Errorf("the busiest client has a load of %v, want 0.5", load)
	}
}

func TestMergeTakesNothingAndTheResultsOfHold(t *testing.T) {
	if got := Merge(nil); got != (Result{}) {
		t.Errorf("nothing merges to %+v", got)
	}
	held := Result{Requests: 7}
	if got := Merge([]Result{throughJSON(t, held), throughJSON(t, held)}); got.Requests != 14 || got.Noise != 0 || got.Max != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestABrokenHistogramIsRefused(t *testing.T) {
	var h Histogram
	for _, text := range []string{"x", "AAAA", "HISTFAAAAA=="} {
		if err := h.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}
