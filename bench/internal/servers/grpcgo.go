package servers

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
)

// rawCodec takes the bytes of a message as they are. With what protobuf
// generates the servers would differ less.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

// Marshal takes a *mem.BufferSlice and gives up its reference to the bytes.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	message, ok := v.(*mem.BufferSlice)
	if !ok {
		return nil, fmt.Errorf("%T is no *mem.BufferSlice", v)
	}
	return *message, nil
}

// Unmarshal sets a *mem.BufferSlice, with a reference to the bytes.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	message, ok := v.(*mem.BufferSlice)
	if !ok {
		return fmt.Errorf("%T is no *mem.BufferSlice", v)
	}
	data.Ref()
	*message = data
	return nil
}

var echoService = grpc.ServiceDesc{
	ServiceName: "bench.Echo",
	HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			message := new(mem.BufferSlice)
			return message, decode(message)
		},
	}},
}

func grpcGoEcho(addr string) error {
	l, err := net.Listen("tcp4", addr)
	if err != nil {
		return err
	}
	s := grpc.NewServer(
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.NumStreamWorkers(uint32(Loops())), // without, a call costs about a tenth more
	)
	s.RegisterService(&echoService, nil)
	return s.Serve(l)
}
