package load

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// startCalled starts a gRPC server that answers the messages to grpcMethod
// with what answer returns.
func startCalled(t *testing.T, answer func(p []byte) ([]byte, error)) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		if method, _ := grpc.MethodFromServerStream(stream); method != grpcMethod {
			return status.Error(codes.Unimplemented, method)
		}
		var p []byte
		if err := stream.RecvMsg(&p); err != nil {
			return err
		}
		p, err := answer(p)
		if err != nil {
			return err
		}
		return stream.SendMsg(p)
	}))
	t.Cleanup(s.Stop)
	go s.Serve(l)
	return l.Addr().String()
}

func TestCallsComeBackFromARightServer(t *testing.T) {
	const kept = 100
	for _, size := range []int{minSize, 1024, 100_000} {
		var calls, different atomic.Int64
		var seen sync.Map
		addr := startCalled(t, func(p []byte) ([]byte, error) {
			calls.Add(1)
			if different.Load() < kept {
				if _, old := seen.LoadOrStore(string(p), true); !old {
					different.Add(1)
				}
			}
			return p, nil
		})
		cfg := short(addr)
		cfg.Size = size
		cfg.First = 30
		r, err := GRPC(cfg, func() error {
			if n := calls.Load(); n != int64(cfg.Conns) || different.Load() != n {
				t.Errorf("%d bytes: %d calls, %d different, before it is ready, want %d", size, n, different.Load(), cfg.Conns)
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if r.Requests == 0 || r.Errors != 0 || r.Requests > calls.Load() || r.Latencies.h.TotalCount() < r.Requests {
			t.Errorf("%d bytes: %d requests, the server got %d, %d errors (%s)", size, r.Requests, calls.Load(), r.Errors, r.FirstError)
		}
		if r.P50 <= 0 || r.P99 < r.P50 || r.Max < r.P999 || r.ServerCPU <= 0 || r.Resident <= 0 || different.Load() < kept {
			t.Errorf("%d bytes: implausible %+v", size, r)
		}
	}
}

func TestWrongAnswersToCallsAreNoticed(t *testing.T) {
	never := make(chan struct{})
	defer close(never)
	tests := []struct {
		name   string
		change func(p []byte) ([]byte, error)
		want   string // "" if any error will do
	}{
		{"one bit", func(p []byte) ([]byte, error) { p[len(p)-1] ^= 1; return p, nil }, errWrong.Error()},
		{"one byte too few", func(p []byte) ([]byte, error) { return p[1:], nil }, errWrong.Error()},
		{"one byte too many", func(p []byte) ([]byte, error) { return append(p, 0), nil }, ""},
		{"nothing", func([]byte) ([]byte, error) { return []byte{}, nil }, errWrong.Error()},
		{"a status", func([]byte) ([]byte, error) { return nil, status.Error(codes.Aborted, "no") }, ""},
		{"none", func([]byte) ([]byte, error) { <-never; return nil, errors.New("late") }, errNoAnswer.Error()},
	}
	for _, tt := range tests {
		var calls atomic.Int64
		cfg := short("")
		cfg.Addr = startCalled(t, func(p []byte) ([]byte, error) {
			if calls.Add(1) > int64(cfg.Conns) && p[0] < 5 { // the first connections, after their first call
				return tt.change(p)
			}
			return p, nil
		})
		r, err := GRPC(cfg, atOnce)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if r.Requests == 0 || r.Errors != 5 || tt.want != "" && r.FirstError != tt.want {
			t.Errorf("%s: %d requests, %d errors (%s), want 5 (%s)", tt.name, r.Requests, r.Errors, r.FirstError, tt.want)
		}
	}
}

func TestServersThatCannotBeCalledAreRefused(t *testing.T) {
	wrong := startCalled(t, func(p []byte) ([]byte, error) { p[0]++; return p, nil })
	bad := map[string]func(*Config){
		"nobody listens":      func(c *Config) { c.Addr = "127.0.0.1:1" },
		"a wrong answer":      func(c *Config) { c.Addr = wrong },
		"not gRPC":            func(c *Config) { c.Addr = startPlanted(t, func(c net.Conn) { c.Write([]byte("no")) }) },
		"too many":            func(c *Config) { c.Conns = grpcConns + 1 },
		"too many altogether": func(c *Config) { c.First = connsPerSource },
		"too much":            func(c *Config) { c.Conns, c.Size = 100, grpcBytes/99 },
		"another protocol":    func(c *Config) { c.WebSocket = true },
	}
	for name, spoil := range bad {
		cfg := short(startCalled(t, func(p []byte) ([]byte, error) { return p, nil }))
		spoil(&cfg)
		if r, err := GRPC(cfg, atOnce); err == nil {
			t.Errorf("%s: no error, %+v", name, r)
		}
	}
}

func TestCallsBeginWhenAllAreReady(t *testing.T) {
	errStop := errors.New("not ready")
	cfg := short(startCalled(t, func(p []byte) ([]byte, error) { return p, nil }))
	if _, err := GRPC(cfg, func() error { return errStop }); err != errStop {
		t.Errorf("%v, want %v", err, errStop)
	}
}
