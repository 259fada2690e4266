package report

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// simulated is a full measurement that never was, with values of the size that
// real ones have.
type simulated struct {
	rand  *rand.Rand
	start time.Time
	runs  []results.Run
}

// speeds are the servers and what each costs, as a multiple of Sluice.
var (
	echoSpeeds = map[string]float64{
		"bare": 0.97, "c-epoll": 0.93, "c-uring": 0.9, "net": 1.2, "gnet": 1.12, "gnet-poll_opt": 1.08,
		"netpoll": 1.25, "nbio": 1.15, "evio": 1.4, "gev": 1.05, "sluice": 1,
	}
	httpSpeeds = map[string]float64{
		"nethttp": 2.1, "fasthttp": 1.25, "hertz": 1.4, "nbhttp": 2.6, "nginx": 1.1, "sluice-http": 1.4, "sluice-native": 1,
	}
	footprints = map[string]float64{
		"bare": 30, "c-epoll": 25, "c-uring": 60, "net": 7730, "gnet": 544, "gnet-poll_opt": 540, "netpoll": 11670,
		"nbio": 627, "evio": 1700, "gev": 635, "sluice": 210, "nethttp": 19910, "hertz": 19440, "fasthttp": 16540,
		"nbhttp": 1330, "nginx": 900, "sluice-http": 390, "sluice-native": 260,
	}
)

const simulatedRounds = 5

var simulatedMeta = Meta{
	Machine:  "2 cores of a simulated processor",
	Started:  time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC),
	Ended:    time.Date(2026, 11, 23, 8, 55, 0, 0, time.UTC),
	Command:  "go -C bench run . figures",
	Settings: []Setting{{"set", "full"}, {"rounds", "5"}, {"measured", "2.5 s"}},
	Method:   []string{"The server and the client have different cores.", "The order of servers is shuffled in each round."},
	Servers: []ServerInfo{
		{"bare", "", "An epoll loop in Go without any library.", true},
		{"c-epoll", "", "An epoll loop in C.", true},
		{"c-uring", "", "An io_uring loop in C.", true},
		{"net", "go1.26.8", "A goroutine for each connection.", false},
		{"gnet", "v2.9.7", "One loop.", false},
		{"gnet-poll_opt", "v2.9.7", "The same, built with poll_opt.", false},
		{"netpoll", "v0.7.2", "SetNumLoops(1).", false},
		{"nbio", "v1.6.8", "NPoller 1.", false},
		{"evio", "v1.0.8", "NumLoops 1.", false},
		{"gev", "v0.5.0", "One worker.", false},
		{"sluice", "", "One loop, the driver it picks.", false},
		{"nethttp", "go1.26.8", "The standard library.", false},
		{"fasthttp", "v1.77.0", "As its examples.", false},
		{"hertz", "v0.10.4", "On netpoll.", false},
		{"nbhttp", "v1.6.8", "A net/http handler.", false},
		{"nginx", "1.28", "One worker.", true},
		{"sluice-http", "", "A net/http handler.", false},
		{"sluice-native", "", "A handler on the loop.", false},
	},
}

// simulate makes all runs of a full set.
func simulate() []results.Run {
	s := &simulated{rand: rand.New(rand.NewPCG(1, 2)), start: simulatedMeta.Started}
	for round := 1; round <= simulatedRounds; round++ {
		for _, conns := range []int{1, 10, 100, 1000, 5000, 10000, 19000} {
			s.exchange(round, results.Cell{Scenario: results.Echo, Conns: conns, Size: 1024}, echoSpeeds, 6)
			s.exchange(round, results.Cell{Scenario: results.HTTP, Conns: conns}, httpSpeeds, 8)
			s.exchange(round, results.Cell{Scenario: results.Work, Conns: conns}, httpSpeeds, 40)
		}
		for _, size := range []int{64, 512, 4096, 16384, 65536} {
			s.exchange(round, results.Cell{Scenario: results.Echo, Conns: 1000, Size: size}, echoSpeeds, 5+float64(size)/1500)
		}
		for _, conns := range []int{1000, 10000, 19000} {
			s.hold(round, results.Cell{Scenario: results.IdleTCP, Conns: conns}, echoSpeeds)
			s.hold(round, results.Cell{Scenario: results.IdleHTTP, Conns: conns}, httpSpeeds)
		}
		s.exchange(round, results.Cell{Scenario: results.Churn, Conns: 100, Size: 1024}, echoSpeeds, 60)
	}
	return s.runs
}

func (s *simulated) noisy(v float64) float64 { return v * (1 + 0.03*s.rand.NormFloat64()) }

func (s *simulated) duration(v float64, unit time.Duration) time.Duration {
	return time.Duration(s.noisy(v) * float64(unit))
}

// run begins a run of a server.
func (s *simulated) run(round int, c results.Cell, server string) results.Run {
	s.start = s.start.Add(3 * time.Second)
	c.Pipeline = 1
	return results.Run{Cell: c, Server: server, Round: round, At: s.start, Noise: 0.01, ClientLoad: 0.8}
}

// exchange adds runs of servers that need micros µs of processor time for a
// request, times their speeds.
func (s *simulated) exchange(round int, c results.Cell, speeds map[string]float64, micros float64) {
	for _, info := range simulatedMeta.Servers {
		speed, ok := speeds[info.Name]
		if !ok {
			continue
		}
		r := s.run(round, c, info.Name)
		crowd := 1 + math.Log10(float64(c.Conns))/6
		cost := s.noisy(micros * speed * crowd)
		rate := min(1e6/cost, float64(c.Conns)*25000)
		r.Elapsed = 2500 * time.Millisecond
		r.Requests = int64(rate * r.Elapsed.Seconds())
		r.ServerCPU = time.Duration(float64(r.Requests) * cost * 1e3)
		r.P50 = s.duration(float64(c.Conns)/rate, time.Second)
		r.P99, r.P999, r.Max = r.P50*3, r.P50*5, r.P50*9
		r.Resident = s.noisy(footprints[info.Name] + 3e5/float64(c.Conns))
		s.runs = append(s.runs, r)
	}
}

// hold adds runs with idle connections.
func (s *simulated) hold(round int, c results.Cell, speeds map[string]float64) {
	for _, info := range simulatedMeta.Servers {
		if _, ok := speeds[info.Name]; !ok {
			continue
		}
		r := s.run(round, c, info.Name)
		r.Resident = s.noisy(footprints[info.Name])
		if !info.Reference {
			r.Collected = r.Resident * 0.9
			r.GCCycle = s.duration(0.2+footprints[info.Name]*float64(c.Conns)/5e6, time.Millisecond)
			r.GCPause = s.duration(40, time.Microsecond)
		}
		s.runs = append(s.runs, r)
	}
}
