package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"

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
	// crowdGC makes collections rare. Unlike the generator's, the memory of a
	// crowd is not bounded without them.
	crowdGC = 400 // percent
)

// GRPC is Loop for unary gRPC calls that send the message back. It uses
// grpc-go's client, with a connection of its own and a goroutine for each call
// outstanding, and so needs far more processor time than Loop does.
func GRPC(cfg Config, ready func() error) (Result, error) {
	if err := checkGRPC(cfg); err != nil {
		return Result{}, err
	}
	defer debug.SetGCPercent(debug.SetGCPercent(crowdGC))
	c := newCrowd(cfg)
	for i := range cfg.Conns {
		conn, err := grpc.NewClient("passthrough:///"+cfg.Addr,
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithNoProxy(),
			grpc.WithDisableServiceConfig(),
			grpc.WithDisableRetry(), // a failure is to be seen
			grpc.WithIdleTimeout(0), // a connection is to stay
			grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(cfg.Size)),
		)
		if err != nil {
			return Result{}, err
		}
		defer conn.Close()
		if err := c.add(call(conn)); err != nil {
			return Result{}, fmt.Errorf("connection %d to %s: %w", i, cfg.Addr, err)
		}
	}
	return c.run(ready)
}

func checkGRPC(cfg Config) error {
	if _, err := cfg.check(); err != nil {
		return err
	}
	switch {
	case cfg.HTTP != nil || cfg.WebSocket || cfg.TLS:
		return errors.New("gRPC and another protocol at the same time")
	case cfg.Conns > grpcConns:
		return fmt.Errorf("%d gRPC connections, want 1 to %d: use more client processes", cfg.Conns, grpcConns)
	case cfg.First+cfg.Conns > connsPerSource:
		return fmt.Errorf("%d gRPC connections, want at most %d, for all come from one address", cfg.First+cfg.Conns, connsPerSource)
	case cfg.Conns > grpcBytes/cfg.Size:
		return fmt.Errorf("%d messages of %d bytes are more than %d bytes: use fewer connections or smaller messages", cfg.Conns, cfg.Size, grpcBytes)
	}
	return nil
}

// call returns the exchange of a lane: a call on conn.
func call(conn *grpc.ClientConn) func(ctx context.Context, question []byte) error {
	var answer []byte
	return func(ctx context.Context, question []byte) error {
		if err := conn.Invoke(ctx, grpcMethod, question, &answer); err != nil {
			return err
		}
		if !bytes.Equal(question, answer) {
			return errWrong
		}
		return nil
	}
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
