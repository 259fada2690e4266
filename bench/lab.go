package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/child"
	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/proc"
	"github.com/sluice-go/sluice/bench/internal/results"
	"github.com/sluice-go/sluice/bench/internal/servers"
)

const (
	// startTimeout bounds the time until a server answers.
	startTimeout = 10 * time.Second
	// answerTimeout bounds one attempt to get an answer.
	answerTimeout = time.Second
	// settle is how long a server is left alone before its memory is read.
	settle = 100 * time.Millisecond
	// idleWait is how long connections are idle before memory is read: longer
	// than what servers wait before they give buffers back.
	idleWait = 2 * time.Second
	// loadTimeout bounds a client beyond the time that it was told to take,
	// and connectAllowance what one connection adds to it.
	loadTimeout      = 60 * time.Second
	connectAllowance = 2 * time.Millisecond
)

// lab is where measurements are made: some cores for the server and others for
// the clients, of which each has a core of its own.
type lab struct {
	ctx                      context.Context
	serverCores, clientCores []int
	dir                      string // what servers that are other programs need
}

// newLab returns a lab that gives the server some of the cores that this
// process may use; 0 leaves it to the lab, which gives it a third of them, so
// that the clients are not the limit. The caller closes it.
func newLab(ctx context.Context, serverCores int) (*lab, error) {
	cores, err := proc.Cores()
	if err != nil {
		return nil, err
	}
	if serverCores == 0 {
		serverCores = max(1, len(cores)/3)
	}
	if serverCores < 1 || serverCores > max(1, len(cores)-1) {
		return nil, fmt.Errorf("%d cores for the server: want 1 to %d, the clients need the rest of %d", serverCores, max(1, len(cores)-1), len(cores))
	}
	dir, err := os.MkdirTemp("", "sluice-bench-")
	if err != nil {
		return nil, err
	}
	l := &lab{ctx: ctx, serverCores: cores[:serverCores], clientCores: cores[serverCores:], dir: dir}
	if len(l.clientCores) == 0 {
		l.clientCores = cores // the only one
	}
	return l, nil
}

// inLab calls measure with a lab that ends with Ctrl-C, and prints where and
// when that is.
func inLab(serverCores int, measure func(l *lab) error) error {
	ctx, stop := untilInterrupted()
	defer stop()
	l, err := newLab(ctx, serverCores)
	if err != nil {
		return err
	}
	defer l.close()
	l.describe(os.Stdout)
	return measure(l)
}

func (l *lab) close() { os.RemoveAll(l.dir) }

// cores returns the cores in use.
func (l *lab) cores() []int {
	return slices.Compact(slices.Sorted(slices.Values(slices.Concat(l.serverCores, l.clientCores))))
}

// contend starts a program on each core of the server that takes what processor
// time it gets, and returns the way to end them.
func (l *lab) contend() (stop func(), err error) {
	var all []*child.Process
	stop = func() {
		for _, p := range all {
			p.Kill()
		}
	}
	for i := range l.serverCores {
		p, err := child.Start(l.ctx, l.serverCores[i:i+1], child.Self("spin"))
		if err != nil {
			stop()
			return nil, err
		}
		all = append(all, p)
	}
	return stop, nil
}

// layout says who has which cores.
func (l *lab) layout() string {
	if l.serverCores[0] == l.clientCores[0] {
		return fmt.Sprintf("server and client share core %d, the only one: the rates and latencies are of little use", l.serverCores[0])
	}
	return fmt.Sprintf("server on cores %v with as many event loops and GOMAXPROCS, a client process on each of cores %v", l.serverCores, l.clientCores)
}

// describe prints where and when the measurements are made.
func (l *lab) describe(w io.Writer) {
	fmt.Fprintf(w, "%s, %s\n%s\n\n", proc.Machine(), time.Now().Format("2006-01-02 15:04 MST"), l.layout())
}

// server is a running server under measurement.
type server struct {
	*child.Process
	servers.Server
	addr string
	idle int64 // its resident memory before the first load, collected, in bytes
}

// start starts a server and returns it once it gives the right answer.
func (l *lab) start(of servers.Server, cfg load.Config) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	command := child.Self("serve", of.Name, "--addr", addr)
	if of.Command != nil {
		if command, err = of.Command(l.dir, addr); err != nil {
			return nil, err
		}
	}
	p, err := child.Start(l.ctx, l.serverCores, command)
	if err != nil {
		return nil, err
	}
	s := &server{Process: p, Server: of, addr: addr}
	if err := s.awaitAnswer(l.ctx, cfg); err != nil {
		p.Kill()
		return nil, err
	}
	time.Sleep(settle)
	// What a server leaves behind when it starts would otherwise be used for
	// the connections, and hide as much of what they cost.
	if _, err = s.collect(l.ctx); err == nil {
		s.idle, err = proc.Resident(s.PID())
	}
	if err != nil {
		p.Kill()
		return nil, err
	}
	return s, nil
}

// freeAddr returns a loopback address on which nothing listens.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// awaitAnswer tries until the server has given the right answer; of protocols
// that this process does not speak itself, until it accepts a connection.
func (s *server) awaitAnswer(ctx context.Context, cfg load.Config) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.tryAnswer(cfg)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-s.Ended():
			return s.Err()
		}
	}
}

func (s *server) tryAnswer(cfg load.Config) error {
	c, err := net.DialTimeout("tcp4", s.addr, answerTimeout)
	if err != nil {
		return err
	}
	defer c.Close()
	if s.Protocol.Secure() {
		c = load.Secure(c)
	}
	switch s.Protocol {
	case servers.HTTP, servers.HTTPS:
		_, _, err := cfg.HTTP.Ask(c)
		return err
	case servers.Echo, servers.TLS:
		return tryEcho(c)
	}
	return nil
}

func tryEcho(c net.Conn) error {
	c.SetDeadline(time.Now().Add(answerTimeout))
	const question = "are you there?"
	if _, err := io.WriteString(c, question); err != nil {
		return err
	}
	answer := make([]byte, len(question))
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if string(answer) != question {
		return fmt.Errorf("the server answered %q to %q", answer, question)
	}
	return nil
}

// collect makes a Go server collect its garbage and give back what it does not
// use. What it returns is zero for another.
func (s *server) collect(ctx context.Context) (c collection, err error) {
	if s.Foreign {
		return c, nil
	}
	if err := s.Signal(unix.SIGUSR1); err != nil {
		return c, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	text, err := s.Await(ctx, saidCollected)
	if err != nil {
		return c, err
	}
	return c, json.Unmarshal([]byte(text), &c)
}

// clients starts the clients against s, a process on each of their cores, has
// them begin together and returns what they found, and the way to end them,
// until which those that hold connections do.
func (l *lab) clients(s *server, kind string, cfg load.Config) (r load.Result, end func(), err error) {
	cfg.Addr, cfg.ServerPID, cfg.Cores = s.addr, s.PID(), l.cores()
	limit := cfg.WarmUp + cfg.Measure + loadTimeout + time.Duration(cfg.Conns)*connectAllowance
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	defer cancel()
	var all []*child.Process
	kill := func() {
		for _, p := range all {
			p.Kill()
		}
	}
	defer func() {
		if err != nil {
			kill()
		}
	}()
	for i, part := range cfg.Split(len(l.clientCores)) {
		config, err := json.Marshal(part)
		if err != nil {
			return r, nil, err
		}
		p, err := child.Start(l.ctx, l.clientCores[i:i+1], child.Self("load", kind, string(config)))
		if err != nil {
			return r, nil, err
		}
		all = append(all, p)
	}
	for _, p := range all {
		if _, err = p.Await(ctx, saidReady); err != nil {
			return r, nil, err
		}
	}
	for _, p := range all {
		if err = p.Tell("go"); err != nil {
			return r, nil, err
		}
	}
	parts := make([]load.Result, len(all))
	for i, p := range all {
		text, err := p.Await(ctx, saidResult)
		if err == nil {
			err = json.Unmarshal([]byte(text), &parts[i])
		}
		if err != nil {
			return r, nil, err
		}
	}
	return load.Merge(parts), kill, nil
}

// measure makes one run of one server. That it failed is part of the Run.
func (l *lab) measure(of servers.Server, cell results.Cell, t timing) results.Run {
	run := results.Run{Cell: cell, Server: of.Name, At: time.Now().Truncate(time.Second)}
	kind, cfg, err := workload(cell)
	if err == nil {
		err = l.fill(&run, of, kind, t.apply(cfg))
	}
	if err != nil {
		run.Failure = err.Error()
	}
	return run
}

func (l *lab) fill(run *results.Run, of servers.Server, kind string, cfg load.Config) error {
	s, err := l.start(of, cfg)
	if err != nil {
		return err
	}
	defer s.Kill()
	r, end, err := l.clients(s, kind, cfg)
	if err != nil {
		return err
	}
	defer end()
	run.Requests, run.Errors, run.FirstError = r.Requests, r.Errors, r.FirstError
	run.Elapsed, run.ServerCPU = r.Elapsed, r.ServerCPU
	run.ClientLoad, run.Noise = r.ClientLoad(), r.Noise
	run.P50, run.P99, run.P999, run.Max = r.P50, r.P99, r.P999, r.Max
	perConn := func(bytes int64) float64 { return float64(bytes-s.idle) / float64(run.Conns) }
	if kind != loadHold {
		run.Resident = perConn(r.Resident)
		return nil
	}
	if r.Errors > 0 {
		return fmt.Errorf("%d of %d connections failed: %s", r.Errors, run.Conns, r.FirstError)
	}
	time.Sleep(idleWait)
	raw, err := proc.Resident(s.PID())
	if err != nil {
		return err
	}
	run.Resident = perConn(raw)
	c, err := s.collect(l.ctx)
	if err != nil {
		return err
	}
	after, err := proc.Resident(s.PID())
	run.Collected, run.GCCycle, run.GCPause = perConn(after), c.Cycle, c.Pause
	return err
}
