package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
)

const (
	// grpcMethod is what is called: it answers with the message that it gets.
	grpcMethod = "/bench.Echo/Echo"
	// grpcConns bounds the connections of one process, which take about 100 KB
	// each.
	grpcConns = 4000
	// grpcBytes bounds the messages of all connections together.
	grpcBytes = 256 << 20
	// grpcGC makes collections rare. Unlike the generator's, the memory of
	// grpc-go is not bounded without them.
	grpcGC = 400 // percent
)

// GRPC is Loop for unary gRPC calls that send the message back. It uses
// grpc-go's client, with a connection of its own and a goroutine for each call
// outstanding, and so needs far more processor time than Loop does.
func GRPC(cfg Config, ready func() error) (Result, error) {
	c, err := newCaller(cfg)
	if err != nil {
		return Result{}, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(grpcGC))
	defer c.close()
	if err := c.connectAll(); err != nil {
		return Result{}, err
	}
	if err := ready(); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var calls sync.WaitGroup
	for _, l := range c.lanes {
		calls.Go(func() { l.keepCalling(ctx) })
	}
	err = c.measure()
	defer time.AfterFunc(patience, cancel).Stop()
	calls.Wait()
	return c.conclude(), err
}

// caller keeps connections to a gRPC server busy, each by a goroutine.
type caller struct {
	lanes []*lane

	mu     sync.Mutex // guards what follows
	ending bool       // true exactly when no new call is to begin
	talk   *messages
	meter
}

func newCaller(cfg Config) (*caller, error) {
	if _, err := cfg.check(); err != nil {
		return nil, err
	}
	switch {
	case cfg.HTTP != nil || cfg.WebSocket:
		return nil, errors.New("gRPC and another protocol at the same time")
	case cfg.Conns > grpcConns:
		return nil, fmt.Errorf("%d gRPC connections, want 1 to %d: use more client processes", cfg.Conns, grpcConns)
	case cfg.First+cfg.Conns > connsPerSource:
		return nil, fmt.Errorf("%d gRPC connections, want at most %d, for all come from one address", cfg.First+cfg.Conns, connsPerSource)
	case cfg.Conns > grpcBytes/cfg.Size:
		return nil, fmt.Errorf("%d messages of %d bytes are more than %d bytes: use fewer connections or smaller messages", cfg.Conns, cfg.Size, grpcBytes)
	}
	return &caller{talk: newMessages(cfg), meter: newMeter(cfg)}, nil
}

// connectAll opens every connection and makes a call on it, one after the other.
func (c *caller) connectAll() error {
	for i := range c.cfg.Conns {
		conn, err := grpc.NewClient("passthrough:///"+c.cfg.Addr,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithNoProxy(),
			grpc.WithDisableServiceConfig(),
			grpc.WithDisableRetry(), // a failure is to be seen
			grpc.WithIdleTimeout(0), // a connection is to stay
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(c.cfg.Size)),
		)
		if err != nil {
			return err
		}
		l := &lane{c: c, conn: conn, number: uint32(i), question: make([]byte, c.cfg.Size)}
		c.lanes = append(c.lanes, l)
		l.next()
		ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
		err = l.exchange(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("connection %d to %s: %w", i, c.cfg.Addr, err)
		}
	}
	return nil
}

func (c *caller) close() {
	for _, l := range c.lanes {
		l.conn.Close()
	}
}

// measure lets the calls go on for the warm-up and the measured time and then
// lets them end.
func (c *caller) measure() error {
	time.Sleep(c.cfg.WarmUp)
	c.mu.Lock()
	err := c.begin()
	c.mu.Unlock()
	time.Sleep(c.before.at + c.cfg.Measure - c.now())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	return errors.Join(err, c.end())
}

// lane is a connection and the call under way on it.
type lane struct {
	c        *caller
	conn     *grpc.ClientConn
	number   uint32
	seq      uint32
	question []byte
	answer   []byte
	began    time.Duration
}

// keepCalling makes calls until the end, or one that fails.
func (l *lane) keepCalling(ctx context.Context) {
	for l.next() {
		err := l.exchange(ctx)
		if ctx.Err() != nil {
			err = errNoAnswer
		}
		if !l.done(err) {
			return
		}
	}
}

// next prepares the next call and tells whether it is to be made.
func (l *lane) next() bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.seq++
	copy(l.question, l.c.talk.lend(l.number, l.seq))
	l.c.talk.giveBack()
	l.began = l.c.now()
	return !l.c.ending
}

// exchange makes the call.
func (l *lane) exchange(ctx context.Context) error {
	if err := l.conn.Invoke(ctx, grpcMethod, l.question, &l.answer); err != nil {
		return err
	}
	if !bytes.Equal(l.question, l.answer) {
		return errWrong
	}
	return nil
}

// done notes how the call ended and tells whether to go on.
func (l *lane) done(err error) bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if err != nil {
		l.c.count(err)
		return false
	}
	l.c.record(l.began, 1)
	return true
}

// rawCodec sends messages as they are. It bears the name of the codec that
// every server has.
type rawCodec struct{}

func (rawCodec) Name() string { return "proto" }

func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	answer := v.(*[]byte)
	*answer = (*answer)[:0]
	for _, part := range data {
		*answer = append(*answer, part.ReadOnlyData()...)
	}
	return nil
}
