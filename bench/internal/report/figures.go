package report

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/sluice-go/sluice/bench/internal/results"
)

// shape is how a figure is laid out.
type shape int

const (
	overConns shape = iota // lines over the number of connections
	overSizes              // lines over the size of messages
	bars                   // a bar for each server, with the most connections
	rows                   // a row of points for each server, with some numbers of connections
)

// The cells of a figure differ in one thing. The others are these.
const (
	usualSize     = 1 << 10 // bytes of a message
	usualConns    = 1000    // connections, when sizes differ
	broadcastSize = 128     // bytes of a message that goes to all
)

// figure is one picture and one table. Its panels stand side by side and
// share the servers.
type figure struct {
	number   int // from 1; it does not depend on what was measured
	id       string
	title    string
	scenario results.Scenario
	shape    shape
	panels   []*metric
	depth    int // requests outstanding; 0 is 1
}

// figures are all figures, in their order. A further kind of measurement is a
// further line; a figure of which nothing was measured is left out.
var figures = numbered([]figure{
	{id: "echo-rate", title: "Echo of 1 KB: rate", scenario: results.Echo, shape: overConns, panels: []*metric{&rate}},
	{id: "echo-rate-size", title: "Echo on 1,000 connections: rate", scenario: results.Echo, shape: overSizes, panels: []*metric{&rate}},
	{id: "work-rate", title: "HTTP with 100,000 steps of work, 1 KB answers: rate", scenario: results.Work, shape: overConns, panels: []*metric{&rate}},
	{id: "work-memory", title: "HTTP with 100,000 steps of work, 1 KB answers: memory", scenario: results.Work, shape: overConns, panels: []*metric{&memory}},
	{id: "echo-cpu", title: "Echo of 1 KB: server CPU", scenario: results.Echo, shape: overConns, panels: []*metric{&cpu}},
	{id: "echo-cpu-size", title: "Echo on 1,000 connections: server CPU", scenario: results.Echo, shape: overSizes, panels: []*metric{&cpu}},
	{id: "http-rate", title: "HTTP plaintext: rate", scenario: results.HTTP, shape: overConns, panels: []*metric{&rate}},
	{id: "http-cpu", title: "HTTP plaintext: server CPU", scenario: results.HTTP, shape: overConns, panels: []*metric{&cpu}},
	{id: "echo-latency", title: "Echo of 1 KB: latency", scenario: results.Echo, shape: rows, panels: []*metric{&p50, &p99, &p999}},
	{id: "http-latency", title: "HTTP plaintext: latency", scenario: results.HTTP, shape: rows, panels: []*metric{&p50, &p99, &p999}},
	{id: "idle-memory", title: "Idle TCP connections: memory", scenario: results.IdleTCP, shape: bars, panels: []*metric{&resident, &collected}},
	{id: "idle-http-memory", title: "Idle HTTP connections: memory", scenario: results.IdleHTTP, shape: bars, panels: []*metric{&resident, &collected}},
	{id: "idle-gc", title: "Idle TCP connections: garbage collection", scenario: results.IdleTCP, shape: overConns, panels: []*metric{&gcCycle, &gcPause}},
	{id: "idle-http-gc", title: "Idle HTTP connections: garbage collection", scenario: results.IdleHTTP, shape: overConns, panels: []*metric{&gcCycle, &gcPause}},
	{id: "churn", title: "Connections opened, used for one echo and closed", scenario: results.Churn, shape: bars, panels: []*metric{&churnRate, &cpu}},
	{id: "websocket", title: "WebSocket echo of 1 KB: rate and server CPU", scenario: results.WebSocket, shape: overConns, panels: []*metric{&rate, &cpu}},
	{id: "grpc", title: "gRPC unary calls of 1 KB: rate and server CPU", scenario: results.GRPC, shape: overConns, panels: []*metric{&rate, &cpu}},
	{id: "tls", title: "Echo of 1 KB over TLS: rate and server CPU", scenario: results.TLS, shape: overConns, panels: []*metric{&rate, &cpu}},
	{id: "tls-size", title: "Echo over TLS on 1,000 connections: rate and server CPU", scenario: results.TLS, shape: overSizes, panels: []*metric{&rate, &cpu}},
	{id: "https", title: "HTTPS plaintext: rate and server CPU", scenario: results.HTTPS, shape: overConns, panels: []*metric{&rate, &cpu}},
	{id: "idle-tls", title: "Idle TLS connections after 16 KB each way: memory", scenario: results.IdleTLS, shape: bars, panels: []*metric{&resident, &collected}},
	{id: "idle-https", title: "Idle HTTPS connections: memory", scenario: results.IdleHTTPS, shape: bars, panels: []*metric{&resident, &collected}},
	{id: "handshake", title: "Full TLS handshakes, with one echo each", scenario: results.Handshake, shape: bars, panels: []*metric{&churnRate, &cpu}},
	{id: "resume", title: "Resumed TLS sessions, with one echo each", scenario: results.Resume, shape: bars, panels: []*metric{&churnRate, &cpu}},
	{id: "idle-websocket", title: "Idle WebSocket connections: memory", scenario: results.IdleWebSocket, shape: bars, panels: []*metric{&resident, &collected}},
	{id: "idle-wss", title: "Idle WebSocket connections over TLS: memory", scenario: results.IdleWSS, shape: bars, panels: []*metric{&resident, &collected}},
	{id: "broadcast", title: "Broadcasts of 128 B, one at a time", scenario: results.Broadcast, shape: bars, panels: []*metric{&deliveryRate, &deliveriesPerCPU}},
	{id: "broadcast-8", title: "Broadcasts of 128 B, 8 at a time", scenario: results.Broadcast, shape: bars, panels: []*metric{&deliveryRate, &deliveriesPerCPU}, depth: 8},
})

func numbered(all []figure) []figure {
	for i := range all {
		all[i].number = i + 1
	}
	return all
}

// file returns the name of the figure's picture in a format.
func (f *figure) file(format string) string {
	return fmt.Sprintf("figure-%02d-%s.%s", f.number, f.id, format)
}

func (f *figure) heading() string { return fmt.Sprintf("Figure %d. %s", f.number, f.title) }

// holds tells whether cell c belongs to the figure.
func (f *figure) holds(c results.Cell) bool {
	if c.Scenario != f.scenario || c.Pipeline != max(1, f.depth) {
		return false
	}
	if f.shape == overSizes {
		return c.Conns == usualConns
	}
	switch c.Scenario {
	case results.Echo, results.WebSocket, results.GRPC, results.TLS:
		return c.Size == usualSize
	case results.Broadcast:
		return c.Size == broadcastSize
	}
	return true
}

// cellsOf returns the cells of figure f in which one of its metrics was measured,
// in the order of its axis.
func (b *book) cellsOf(f *figure) []results.Cell {
	var cells []results.Cell
	for c := range b.cells {
		if f.holds(c) && slices.ContainsFunc(f.panels, func(m *metric) bool { return b.measured(c, m) }) {
			cells = append(cells, c)
		}
	}
	slices.SortFunc(cells, func(a, b results.Cell) int {
		return cmp.Or(cmp.Compare(a.Conns, b.Conns), cmp.Compare(a.Size, b.Size))
	})
	return cells
}

// measured tells whether m says something of cell c for any server.
func (b *book) measured(c results.Cell, m *metric) bool {
	for _, s := range b.cells[c] {
		if _, ok := s.spread(m); ok {
			return true
		}
	}
	return false
}

// serversIn returns the servers with a value for one of the metrics in one of
// the cells.
func (b *book) serversIn(cells []results.Cell, panels []*metric) []ServerInfo {
	return slices.DeleteFunc(slices.Clone(b.servers), func(info ServerInfo) bool {
		for _, c := range cells {
			for _, m := range panels {
				if _, ok := b.sample(c, info.Name).spread(m); ok {
					return false
				}
			}
		}
		return true
	})
}

// present returns the figures of which something was measured.
func (b *book) present() []*figure {
	var present []*figure
	for i := range figures {
		if len(b.cellsOf(&figures[i])) > 0 {
			present = append(present, &figures[i])
		}
	}
	return present
}

// label returns what distinguishes cell c from the others of the figure.
func (f *figure) label(c results.Cell) string {
	if f.shape == overSizes {
		return size(c.Size)
	}
	return grouped(c.Conns)
}

// position returns the place of cell c on the figure's axis.
func (f *figure) position(c results.Cell) float64 {
	if f.shape == overSizes {
		return float64(c.Size)
	}
	return float64(c.Conns)
}

// tick returns the label of cell c there, which has little room.
func (f *figure) tick(c results.Cell) string {
	if f.shape == overSizes {
		return size(c.Size)
	}
	return short(float64(c.Conns))
}

// describe names a cell in full.
func describe(c results.Cell) string {
	text := string(c.Scenario)
	if c.Size > 0 {
		text += " " + size(c.Size)
	}
	text += ", " + grouped(c.Conns) + " conn"
	if c.Conns != 1 {
		text += "s"
	}
	if c.Pipeline > 1 {
		text += fmt.Sprintf(", %d at a time", c.Pipeline)
	}
	return text
}
