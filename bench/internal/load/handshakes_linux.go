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
	"time"
)

// errHandshake is a handshake of the other kind.
var errHandshake = errors.New("a handshake that was to be full was resumed, or the other way round")

// errNotSecure is a server that has no handshakes.
var errNotSecure = errors.New("handshakes are for servers that send messages back over TLS")

// Handshakes is Churn over TLS: a request is a connection that is opened, used for
// one exchange and closed. Its handshake is full, or, with cfg.Resume, resumes the
// session of the one before. It has a goroutine for each connection.
func Handshakes(cfg Config, ready func() error) (Result, error) {
	if _, err := cfg.check(); err != nil {
		return Result{}, err
	}
	if !cfg.TLS || cfg.HTTP != nil || cfg.WebSocket {
		return Result{}, errNotSecure
	}
	defer debug.SetGCPercent(debug.SetGCPercent(crowdGC))
	c := newCrowd(cfg)
	if err := c.addHandshakes(cfg); err != nil {
		return Result{}, err
	}
	return c.run(ready)
}

// addHandshakes adds cfg.Conns lanes of an exchange on a connection of its own.
func (c *crowd) addHandshakes(cfg Config) error {
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
			return fmt.Errorf("connection %d to %s: %w", i, cfg.Addr, err)
		}
	}
	return nil
}

// stormPause is how long the connection that Storm watches is silent between two
// exchanges: as one that has something to say now and then.
const stormPause = time.Millisecond

// Storm is a Loop of one connection over TLS, beside which cfg.Conns others do what
// they do in Handshakes. Of those only the errors are counted.
func Storm(cfg Config, ready func() error) (Result, error) {
	if _, err := cfg.check(); err != nil {
		return Result{}, err
	}
	if !cfg.TLS || cfg.HTTP != nil || cfg.WebSocket {
		return Result{}, errNotSecure
	}
	defer debug.SetGCPercent(debug.SetGCPercent(crowdGC))
	raw, err := net.DialTimeout("tcp4", cfg.Addr, connectTimeout)
	if err != nil {
		return Result{}, err
	}
	defer raw.Close()
	watched, answer := Secure(raw), make([]byte, cfg.Size)
	c := newCrowd(cfg)
	if err := c.addHandshakes(cfg); err != nil {
		return Result{}, err
	}
	for _, l := range c.lanes {
		l.unmeasured = true
	}
	err = c.add(func(ctx context.Context, question []byte) error {
		defer context.AfterFunc(ctx, func() { raw.Close() })()
		return echoed(watched, question, answer)
	})
	if err != nil {
		return Result{}, err
	}
	c.lanes[len(c.lanes)-1].pause = stormPause
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
	if err := c.HandshakeContext(ctx); err != nil {
		return err
	}
	if c.ConnectionState().DidResume != resumed {
		return errHandshake
	}
	return echoed(c, question, answer)
}

// echoed makes an exchange on c.
func echoed(c *tls.Conn, question, answer []byte) error {
	if _, err := c.Write(question); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if !bytes.Equal(question, answer) {
		return errWrong
	}
	return nil
}
