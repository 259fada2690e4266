package checks

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-go/sluice/bench/internal/proc"
)

const (
	clients       = 80                     // of P1
	acceptTime    = 500 * time.Millisecond // for accepting as many as there are descriptors for
	spinTime      = time.Second            // over which P1 looks at the processor time
	spin          = 0.5                    // of a core: more of it than this is a spinning server
	late          = 300 * time.Millisecond // when a late client begins to read
	receiveBuffer = 2 << 20                // of P4, in bytes
	sendSize      = 3 << 20                // of P4, in bytes
	bystanders    = 20                     // exchanges of P9
	fewWakes      = 10                     // of P9: fewer mean that the connection is not woken
	reuses        = 64                     // connections that P8 opens at most to get a descriptor again
)

// outOfDescriptors is P1.
func outOfDescriptors(ctx context.Context, s *subject) error {
	first, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer first.Close()
	var others []net.Conn
	release := func() {
		for _, c := range others {
			c.Close()
		}
	}
	defer release()
	for len(others) < clients-1 {
		c, err := s.dial(ctx)
		if err != nil {
			return err
		}
		others = append(others, c)
	}
	if err := sleep(ctx, acceptTime); err != nil {
		return err
	}
	before, err := proc.CPU(s.proc.PID())
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := sleep(ctx, spinTime); err != nil {
		return err
	}
	after, err := proc.CPU(s.proc.PID())
	if err != nil {
		return err
	}
	load := (after - before).Seconds() / time.Since(begin).Seconds()
	if err := s.exchange(first); err != nil {
		return fmt.Errorf("a connection from before has no answer: %w", err)
	}
	release()
	if err := soon(ctx, func() error {
		c, err := s.connect(ctx)
		if err == nil {
			c.Close()
		}
		return err
	}); err != nil {
		return fmt.Errorf("descriptors are free again, but a new connection has no answer: %w", err)
	}
	if err := s.exchange(first); err != nil {
		return fmt.Errorf("afterwards the connection from before has no answer: %w", err)
	}
	if load > spin {
		return fmt.Errorf("spins while descriptors are short: %.0f %% of its core", 100*load)
	}
	return nil
}

// panics is P2.
func panics(ctx context.Context, s *subject) error {
	other, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer other.Close()
	c, err := s.ordered(ctx, opPanic)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1)) // an HTTP server may say that it is sorry
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		return errors.New("the connection whose handler panicked has neither an answer nor an end")
	}
	if err := s.exchange(other); err != nil {
		return fmt.Errorf("another connection has no answer afterwards: %w", err)
	}
	c, err = s.connect(ctx)
	if err != nil {
		return fmt.Errorf("a new connection has no answer afterwards: %w", err)
	}
	return c.Close()
}

// writeThenClose is P3.
func writeThenClose(ctx context.Context, s *subject) error {
	c, err := s.ordered(ctx, opWriteClose)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := sleep(ctx, late); err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return err
	}
	var body io.Reader = c
	if s.http {
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body = resp.Body
	}
	got, err := io.ReadAll(body)
	return whole(got, err, payload())
}

// whole says what is wrong with what a client got.
func whole(got []byte, err error, want []byte) error {
	switch {
	case err != nil:
		return fmt.Errorf("%d bytes of %d arrived: %w", len(got), len(want), err)
	case len(got) != len(want):
		return fmt.Errorf("%d bytes of %d arrived, then the connection ended in order", len(got), len(want))
	case !bytes.Equal(got, want):
		return errors.New("all bytes arrived, but not in order")
	}
	return nil
}

// written is P5, P6 and P7: what op has the handler write arrives, and the
// connection stays open.
func written(ctx context.Context, s *subject, op byte, want []byte) error {
	c, err := s.ordered(ctx, op)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := sleep(ctx, late); err != nil {
		return err
	}
	if err := c.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return err
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(c, got)
	return whole(got[:n], err, want)
}

// halfClose is P4.
func halfClose(ctx context.Context, s *subject) error {
	if size, err := strconv.Atoi(s.said); err != nil || size < receiveBuffer {
		return undecided(fmt.Sprintf("the system gives a receive buffer of %s bytes only; raise net.core.rmem_max", s.said))
	}
	c, err := s.ordered(ctx, opSink)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Write(payload()[:sendSize]); err != nil {
		return fmt.Errorf("while sending: %w", err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, 2*exchangeTime)
	defer cancel()
	text, err := s.proc.Await(wait, saidSunk)
	if err != nil {
		return fmt.Errorf("the handler is not told of the end: %w", err)
	}
	var got int
	var right bool
	if _, err := fmt.Sscan(text, &got, &right); err != nil {
		return err
	}
	switch {
	case got != sendSize:
		return fmt.Errorf("%d bytes of %d reached the handler, then it was told of the end", got, sendSize)
	case !right:
		return errors.New("all bytes reached the handler, but not in order")
	}
	return nil
}

// staleHandle is P8.
func staleHandle(ctx context.Context, s *subject) error {
	old, fd, err := s.keep(ctx)
	if err != nil {
		return err
	}
	old.Close()
	if err := soon(ctx, func() error {
		if got, err := s.ask(ctx, askFD, old.LocalAddr()); err != nil || got != noFD {
			return errors.Join(err, fmt.Errorf("the server does not close the descriptor of a connection that the peer closed"))
		}
		return nil
	}); err != nil {
		return err
	}
	for range reuses {
		c, err := s.connect(ctx)
		if err != nil {
			return err
		}
		defer c.Close()
		got, err := s.ask(ctx, askFD, c.LocalAddr())
		if err != nil {
			return err
		}
		if got != fd {
			continue
		}
		changes, err := s.ask(ctx, askStale, fd)
		if err != nil {
			return err
		}
		if changes != "" {
			return fmt.Errorf("methods of an ended connection change another one: %s", changes)
		}
		if err := s.exchange(c); err != nil {
			return fmt.Errorf("methods of an ended connection reach another one: %w", err)
		}
		return nil
	}
	return undecided("the system does not use the descriptor again")
}

// keep opens a connection whose handle the server keeps, and returns its
// descriptor in the server.
func (s *subject) keep(ctx context.Context) (net.Conn, string, error) {
	c, err := s.ordered(ctx, opKeep)
	if err != nil {
		return nil, "", err
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		return nil, "", err
	}
	fd, err := s.ask(ctx, askFD, c.LocalAddr())
	if err == nil && fd == noFD {
		err = undecided("the descriptor of a connection is not to be found")
	}
	return c, fd, err
}

// wakesItself is P9.
func wakesItself(ctx context.Context, s *subject) error {
	other, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer other.Close()
	c, err := s.ordered(ctx, opWake)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := sleep(ctx, late); err != nil {
		return err
	}
	for range bystanders {
		if err := s.exchange(other); err != nil {
			return fmt.Errorf("another connection of the loop has no answer: %w", err)
		}
	}
	text, err := s.ask(ctx, askWakes)
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(text); err != nil || n < fewWakes {
		return fmt.Errorf("the connection was woken %s times only", text)
	}
	return nil
}
