// Package checks asks servers of several libraries the same questions of
// behaviour, each of which has an answer that loses nothing and harms nobody:
// what happens when descriptors run out, when a handler panics, when a peer is
// slow. Every question is put to a server in a process of its own, on one
// core, with the library's own defaults.
package checks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-go/sluice/bench/internal/proc"
)

// Verdict is what a check says of a server.
type Verdict string

// The verdicts.
const (
	Pass      Verdict = "pass"
	Fail      Verdict = "fail"
	NA        Verdict = "n/a"
	Undecided Verdict = "?" // the check could not be made here
)

// Outcome is one check of one server.
type Outcome struct {
	Check   string
	Server  string
	Verdict Verdict
	Detail  string // why, unless it is Pass
}

// Check is one question.
type Check struct {
	ID    string // such as "P1"
	About string // what must happen

	http  bool // true exactly when it can be put to HTTP servers
	core  bool // true exactly when it can be put to the servers of the core
	setup func(*Setup)
	run   func(ctx context.Context, s *subject) error
}

// All are the checks.
var All = []Check{
	{
		ID: "P1", core: true, http: true, run: outOfDescriptors,
		About: "With 48 descriptors and 80 clients the server goes on serving those it has, without spinning, and accepts again when descriptors are free.",
		setup: func(s *Setup) { s.Files = 48 },
	},
	{
		ID: "P2", core: true, http: true, run: panics,
		About: "A handler that panics costs its own connection, and no other.",
	},
	{
		ID: "P3", core: true, http: true, run: writeThenClose,
		About: "A handler writes 8 MiB and closes; a client that begins to read late gets all of them.",
	},
	{
		ID: "P4", core: true, run: halfClose,
		About: "A client sends 3 MiB and ends its direction; a slow handler, on sockets with receive buffers of 2 MiB, gets all of them.",
		setup: func(s *Setup) { s.ReceiveBuffer = receiveBuffer },
	},
	{
		ID: "P5", core: true, run: func(ctx context.Context, s *subject) error { return written(ctx, s, opLargePieces, payload()) },
		About: "One vectored write of 4 pieces of 2 MiB, of which the socket takes a part at first, arrives whole.",
	},
	{
		ID: "P6", core: true, run: func(ctx context.Context, s *subject) error {
			return written(ctx, s, opSmallPieces, payload()[:smallPieces*smallPiece])
		},
		About: "One vectored write of 2,000 pieces, which is more than the system takes in one call, arrives whole.",
	},
	{
		ID: "P7", core: true, run: func(ctx context.Context, s *subject) error { return written(ctx, s, opWrite, payload()) },
		About: "One write of 8 MiB to a Unix socket arrives whole.",
		setup: func(s *Setup) { s.Network = "unix" },
	},
	{
		ID: "P8", core: true, run: staleHandle,
		About: "No method of a connection that has ended reaches the connection that uses its descriptor number now.",
	},
	{
		ID: "P9", core: true, run: wakesItself,
		About: "A connection that wakes itself in every callback does not keep its loop from serving others.",
	},
	{
		ID: "P10", http: true, run: strictness,
		About: "A request whose body or target two servers could see differently is refused, a malformed one is told so, and Expect: 100-continue is answered.",
	},
}

// IDs returns the ids of all checks.
func IDs() []string {
	var ids []string
	for _, c := range All {
		ids = append(ids, c.ID)
	}
	return ids
}

// Run puts the checks with these ids to the servers with these names; an
// empty list means all. It tells progress before each.
func Run(ctx context.Context, names, ids []string, progress func(check, server string)) ([]Outcome, error) {
	for _, name := range names {
		if !slices.Contains(Servers(), name) {
			return nil, fmt.Errorf("no server %q; there are %s", name, strings.Join(Servers(), ", "))
		}
	}
	for _, id := range ids {
		if !slices.Contains(IDs(), id) {
			return nil, fmt.Errorf("no check %q; there are %s", id, strings.Join(IDs(), ", "))
		}
	}
	cores, err := proc.Cores()
	if err != nil {
		return nil, err
	}
	var outcomes []Outcome
	for _, check := range All {
		for _, l := range libraries {
			if len(names) > 0 && !slices.Contains(names, l.name) || len(ids) > 0 && !slices.Contains(ids, check.ID) {
				continue
			}
			progress(check.ID, l.name)
			outcomes = append(outcomes, check.ask(ctx, l, cores[:1]))
			if ctx.Err() != nil {
				return outcomes, ctx.Err()
			}
		}
	}
	return outcomes, nil
}

// ask puts the check to one server.
func (check Check) ask(ctx context.Context, l library, cores []int) Outcome {
	o := Outcome{Check: check.ID, Server: l.name, Verdict: NA}
	switch {
	case l.http && !check.http:
		o.Detail = "an HTTP server"
		return o
	case !l.http && !check.core:
		o.Detail = "no HTTP server"
		return o
	case l.lacks[check.ID] != "":
		o.Detail = l.lacks[check.ID]
		return o
	}
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	s, err := start(ctx, l, cores, check.setup)
	if err != nil {
		o.Verdict, o.Detail = Undecided, err.Error()
		return o
	}
	defer s.stop()
	o.Verdict, o.Detail = s.judge(check.run(ctx, s))
	return o
}
