package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync/atomic"
)

// errHandshake is a handshake of the other kind.
var errHandshake = errors.New("a handshake that was to be full was resumed, or the other way round")

// Handshakes is Churn over TLS: a request is a connection that is opened, used for
// one exchange and closed. Its handshake is full, or, with cfg.Resume, resumes the
// session of the one before. It has a goroutine for each connection.
func Handshakes(cfg Config, ready func() error) (Result, error) {
	if _, err := cfg.check(); err != nil {
		return Result{}, err
	}
	if !cfg.TLS || cfg.HTTP != nil {
		return Result{}, errors.New("handshakes are for servers that send messages back over TLS")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(crowdGC))
	c := newCrowd(cfg)
	var opened atomic.Int64
	for i := range cfg.Conns {
		config := secured()
		if cfg.Resume {
			config = config.Clone()
			config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		}
		answer, resumed := make([]byte, cfg.Size), false
		err := c.add(func(ctx context.Context, question []byte) error {
			source := 1 + (cfg.First+int(opened.Add(1)))%churnSources
			err := secureLife(ctx, cfg.Addr, source, config, resumed, question, answer)
			resumed = cfg.Resume // from the second one on
			return err
		})
		if err != nil {
			return Result{}, fmt.Errorf("connection %d to %s: %w", i, cfg.Addr, err)
		}
	}
	return c.run(ready)
}

// secureLife opens a connection from a loopback address, makes one exchange and
// closes it.
func secureLife(ctx context.Context, addr string, source int, config *tls.Config, resumed bool, question, answer []byte) error {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, byte(source>>8), byte(source))}}
	raw, err := dialer.DialContext(ctx, "tcp4", addr)
	if err != nil {
		return err
	}
	c := tls.Client(raw, config)
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		raw.SetDeadline(deadline)
	}
	defer context.AfterFunc(ctx, func() { raw.Close() })()
	if _, err := c.Write(question); err != nil {
		return err
	}
	if c.ConnectionState().DidResume != resumed {
		return errHandshake
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if !bytes.Equal(question, answer) {
		return errWrong
	}
	return nil
}
