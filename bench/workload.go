package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/results"
	"github.com/sluice-go/sluice/bench/internal/servers"
)

// workTarget is the article's HTTP request: a loop of so many steps before the
// answer.
const workTarget = servers.WorkPath + "?n=100000"

// speaks returns the protocol of a scenario.
func speaks(s results.Scenario) servers.Protocol {
	switch s {
	case results.HTTP, results.Work, results.IdleHTTP:
		return servers.HTTP
	case results.TLS, results.IdleTLS, results.Handshake, results.Resume, results.Storm:
		return servers.TLS
	case results.HTTPS, results.IdleHTTPS:
		return servers.HTTPS
	case results.WebSocket, results.IdleWebSocket:
		return servers.WebSocket
	case results.IdleWSS:
		return servers.WSS
	case results.Broadcast:
		return servers.Broadcast
	case results.GRPC:
		return servers.GRPC
	}
	return servers.Echo
}

// contenders returns the servers that are measured in a scenario unless others
// are named.
func contenders(s results.Scenario) []servers.Server {
	return slices.DeleteFunc(servers.Of(speaks(s)), func(of servers.Server) bool {
		return s == results.Work && of.NoWork
	})
}

// workload returns what the clients do in a cell.
func workload(c results.Cell) (kind string, cfg load.Config, err error) {
	cfg = load.Config{Conns: c.Conns, Size: c.Size, TLS: speaks(c.Scenario).Secure()}
	asking := func(target string) error {
		body, err := servers.Body(target)
		cfg.HTTP = &load.HTTP{Target: target, Body: body, Pipeline: max(1, c.Pipeline)}
		return err
	}
	switch c.Scenario {
	case results.Echo, results.TLS:
		return loadLoop, cfg, nil
	case results.HTTP, results.HTTPS:
		return loadLoop, cfg, asking(servers.PlainPath)
	case results.Work:
		return loadLoop, cfg, asking(workTarget)
	case results.WebSocket:
		cfg.WebSocket = true
		return loadLoop, cfg, nil
	case results.IdleWebSocket, results.IdleWSS:
		cfg.WebSocket = true
		return loadHold, cfg, nil
	case results.Broadcast:
		cfg.WebSocket, cfg.Window = true, max(1, c.Pipeline)
		return loadBroadcast, cfg, nil
	case results.GRPC:
		return loadGRPC, cfg, nil
	case results.IdleTCP, results.IdleTLS:
		return loadHold, cfg, nil
	case results.IdleHTTP, results.IdleHTTPS:
		return loadHold, cfg, asking(servers.PlainPath)
	case results.Churn:
		return loadChurn, cfg, nil
	case results.Handshake, results.Resume:
		cfg.Resume = c.Scenario == results.Resume
		return loadHandshakes, cfg, nil
	case results.Storm:
		return loadStorm, cfg, nil
	}
	return "", cfg, fmt.Errorf("no scenario %q", c.Scenario)
}

// timing is how long one run measures.
type timing struct {
	Seconds float64 `default:"1" help:"Measured time of one run; 20,000 connections add as much."`
	WarmUp  float64 `default:"0.3" help:"Seconds of load before it."`
}

// maxSeconds keeps a slip of the finger from taking days.
const maxSeconds = 600

func (t timing) check() error {
	if t.Seconds <= 0 || t.Seconds > maxSeconds || t.WarmUp < 0 || t.WarmUp > maxSeconds {
		return fmt.Errorf("want more than 0 and at most %d seconds", maxSeconds)
	}
	return nil
}

// fullTurn is the number of connections that doubles the measured time, so
// that each gets its turn several times. A broadcast is a turn of all.
const fullTurn = 20_000

// apply sets the times of cfg.
func (t timing) apply(cfg load.Config) load.Config {
	seconds := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	turn := float64(cfg.Conns * max(1, cfg.Window))
	cfg.WarmUp, cfg.Measure = seconds(t.WarmUp), seconds(t.Seconds*(1+turn/fullTurn))
	return cfg
}

// estimate returns about how long a run in a cell takes.
func (t timing) estimate(c results.Cell) time.Duration {
	kind, cfg, err := workload(c)
	if err != nil {
		return 0
	}
	cfg = t.apply(cfg)
	const (
		starting = 400 * time.Millisecond // and ending, of server and clients
		opening  = 150 * time.Microsecond // and closing, of a connection
		securing = time.Millisecond       // at both ends, one after the other
	)
	took := starting + time.Duration(cfg.Conns)*opening
	if cfg.TLS {
		took += time.Duration(cfg.Conns) * securing
	}
	if kind == loadHold {
		return took + idleWait
	}
	return took + cfg.WarmUp + cfg.Measure
}
