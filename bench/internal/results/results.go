// Package results holds what measurements yield: one Run for each run of one
// server. Everything that is printed, drawn or written is made from Runs.
package results

import "time"

// Scenario is a kind of measurement.
type Scenario string

// The scenarios.
const (
	Echo      Scenario = "echo"       // messages sent back, one outstanding per connection
	HTTP      Scenario = "http"       // GET /plaintext on connections that are kept
	Work      Scenario = "work"       // GET /work: a loop of 100,000 steps, then 1 KB, on connections that are kept
	WebSocket Scenario = "websocket"  // binary messages sent back
	GRPC      Scenario = "grpc"       // unary calls that send the message back
	IdleTCP   Scenario = "idle"       // connections held after one echo
	IdleHTTP  Scenario = "idle-http"  // connections held after one GET /plaintext
	Churn     Scenario = "churn"      // connections opened, used for one echo and closed
	TLS       Scenario = "tls"        // Echo over TLS 1.3
	HTTPS     Scenario = "https"      // HTTP over TLS 1.3
	IdleTLS   Scenario = "idle-tls"   // IdleTCP over TLS 1.3
	IdleHTTPS Scenario = "idle-https" // IdleHTTP over TLS 1.3
	Handshake Scenario = "handshake"  // Churn over TLS 1.3, with full handshakes
	Storm     Scenario = "storm"      // Echo over TLS 1.3 on one connection, while others do Handshake
	Resume    Scenario = "resume"     // Churn over TLS 1.3, with resumed sessions

	IdleWebSocket Scenario = "idle-websocket" // connections held after one WebSocket message each way
	IdleWSS       Scenario = "idle-wss"       // IdleWebSocket over TLS 1.3
	Broadcast     Scenario = "broadcast"      // the messages of one WebSocket connection sent to all; a request is a delivery
)

// Idle tells whether connections are held in s, and memory is what is measured.
func (s Scenario) Idle() bool {
	switch s {
	case IdleTCP, IdleHTTP, IdleTLS, IdleHTTPS, IdleWebSocket, IdleWSS:
		return true
	}
	return false
}

// Cell is what is measured: the same for all servers that are compared.
type Cell struct {
	Scenario Scenario
	Conns    int // connections open at a time
	Size     int // bytes of a message; 0 for HTTP
	Pipeline int // requests outstanding on a connection, or broadcasts to all
}

// Run is one run of one server in one cell. A value that the scenario does
// not measure is 0.
type Run struct {
	Cell
	Server string
	Round  int // from 1; runs of one round are compared with each other
	At     time.Time

	Failure    string // why there is no result; "" if there is
	Requests   int64  // answered in the measured time
	Errors     int64
	FirstError string
	Elapsed    time.Duration
	ServerCPU  time.Duration // processor time of the server's process
	ClientLoad float64       // share of its core that the busiest client used, 0 to 1
	Noise      float64       // share of the cores in use that went to other processes, 0 to 1
	P50        time.Duration
	P99        time.Duration
	P999       time.Duration
	Max        time.Duration

	Resident  float64       // memory the server grew by, per connection, in bytes
	Collected float64       // the same after a garbage collection; idle scenarios only
	GCCycle   time.Duration // a garbage collection with these connections; idle scenarios, Go servers only
	GCPause   time.Duration // the longest time that it stopped the program
}

// Good tells whether r has figures.
func (r Run) Good() bool { return r.Failure == "" && (r.Requests > 0 || r.Resident != 0) }

// Rate returns requests per second.
func (r Run) Rate() float64 {
	if r.Elapsed <= 0 {
		return 0
	}
	return float64(r.Requests) / r.Elapsed.Seconds()
}

// CPUPerRequest returns the server's processor time per request in µs.
func (r Run) CPUPerRequest() float64 {
	if r.Requests == 0 {
		return 0
	}
	return r.ServerCPU.Seconds() * 1e6 / float64(r.Requests)
}

// RequestsPerCPU returns requests per second of the server's processor time.
func (r Run) RequestsPerCPU() float64 {
	if r.ServerCPU <= 0 {
		return 0
	}
	return float64(r.Requests) / r.ServerCPU.Seconds()
}

// Exchanges returns how often the measured requests go round all connections.
func (r Run) Exchanges() float64 {
	return float64(r.Requests) / float64(max(1, r.Conns*max(1, r.Pipeline)))
}

// Limits beyond which a reader has to know of it.
const (
	// BoundClient is the share of its core above which the client, rather
	// than the server, may be what limits the rate.
	BoundClient = 0.9
	// LoudNoise is the share of the cores in other hands above which a figure
	// is doubtful.
	LoudNoise = 0.05
	// FewExchanges is how often all connections must have had their turn for a
	// rate, and above all a latency, to be that of a long run.
	FewExchanges = 2
)
