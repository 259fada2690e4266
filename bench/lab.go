package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/child"
	"github.com/sluice-go/sluice/bench/internal/load"
	"github.com/sluice-go/sluice/bench/internal/proc"
)

const (
	// startTimeout bounds the time until a server answers.
	startTimeout = 10 * time.Second
	// answerTimeout bounds one attempt to get an answer.
	answerTimeout = time.Second
	// settle is how long a server is left alone before its memory is read.
	settle = 200 * time.Millisecond
	// loadTimeout bounds a client beyond the time that it was told to take,
	// and connectAllowance what one connection adds to it.
	loadTimeout      = 60 * time.Second
	connectAllowance = 2 * time.Millisecond
)

// lab is where measurements are made: a core for the server and one for the
// client.
type lab struct {
	ctx                    context.Context
	serverCore, clientCore int
}

func newLab(ctx context.Context) (*lab, error) {
	cores, err := proc.Cores()
	if err != nil {
		return nil, err
	}
	return &lab{ctx: ctx, serverCore: cores[0], clientCore: cores[min(1, len(cores)-1)]}, nil
}

// cores returns the cores in use.
func (l *lab) cores() []int {
	if l.serverCore == l.clientCore {
		return []int{l.serverCore}
	}
	return []int{l.serverCore, l.clientCore}
}

// describe prints where and when the measurements are made.
func (l *lab) describe(w io.Writer) {
	fmt.Fprintf(w, "%s, %s\n", proc.Machine(), time.Now().Format("2006-01-02 15:04 MST"))
	if l.serverCore == l.clientCore {
		fmt.Fprintf(w, "server and client share core %d, the only one: the latencies and rates are of little use\n\n", l.serverCore)
		return
	}
	fmt.Fprintf(w, "server on core %d, client on core %d, one event loop, GOMAXPROCS=1\n\n", l.serverCore, l.clientCore)
}

// server is a running server under measurement.
type server struct {
	*child.Process
	addr string
	idle int64 // its resident memory before the first load, collected, in bytes
}

// start starts a server and returns it once it answers. What it is asked is
// want, if it is an HTTP server, which nil says it is not.
func (l *lab) start(name string, want *load.HTTP) (*server, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	p, err := child.Start(l.ctx, l.serverCore, "serve", name, "--addr", addr)
	if err != nil {
		return nil, err
	}
	s := &server{Process: p, addr: addr}
	if err := s.awaitAnswer(l.ctx, want); err != nil {
		p.Kill()
		return nil, err
	}
	time.Sleep(settle)
	// What a server leaves behind when it starts would otherwise be used for
	// the connections, and hide as much of what they cost.
	if s.idle, err = s.collected(l.ctx); err != nil {
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

// awaitAnswer tries until the server has given the right answer.
func (s *server) awaitAnswer(ctx context.Context, want *load.HTTP) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		err := s.tryAnswer(want)
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

func (s *server) tryAnswer(want *load.HTTP) error {
	c, err := net.DialTimeout("tcp4", s.addr, answerTimeout)
	if err != nil {
		return err
	}
	defer c.Close()
	if want != nil {
		_, _, err := want.Ask(c)
		return err
	}
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

// collected makes the server give back what it does not use and returns its
// resident memory then.
func (s *server) collected(ctx context.Context) (int64, error) {
	if err := s.Signal(unix.SIGUSR1); err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if _, err := s.Await(ctx, saidCollected); err != nil {
		return 0, err
	}
	return proc.Resident(s.PID())
}

// client starts a client against s and returns its result, and the client
// itself, which has ended unless it holds its connections. The caller kills it.
func (l *lab) client(s *server, kind string, cfg load.Config) (load.Result, *child.Process, error) {
	cfg.Addr, cfg.ServerPID, cfg.Cores = s.addr, s.PID(), l.cores()
	var r load.Result
	config, err := json.Marshal(cfg)
	if err != nil {
		return r, nil, err
	}
	limit := cfg.WarmUp + cfg.Measure + loadTimeout + time.Duration(cfg.Conns)*connectAllowance
	ctx, cancel := context.WithTimeout(l.ctx, limit)
	defer cancel()
	p, err := child.Start(l.ctx, l.clientCore, "load", kind, string(config))
	if err != nil {
		return r, nil, err
	}
	text, err := p.Await(ctx, saidResult)
	if err == nil {
		err = json.Unmarshal([]byte(text), &r)
	}
	if err != nil {
		p.Kill()
		return r, nil, err
	}
	return r, p, nil
}

// interleave calls measure for every run and server, the order of servers
// rotated from run to run, and tells on stderr how far it is. It ends early
// with the context of the lab.
func (l *lab) interleave(what string, names []string, runs int, measure func(name string)) error {
	for run := range runs {
		fmt.Fprintf(os.Stderr, "%s: run %d of %d\n", what, run+1, runs)
		for i := range names {
			measure(names[(i+run)%len(names)])
			if l.ctx.Err() != nil {
				return context.Cause(l.ctx)
			}
		}
	}
	return nil
}
