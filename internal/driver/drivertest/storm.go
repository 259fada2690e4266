package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"

	"github.com/sluice-go/sluice/buffer"
)

// storm echoes for many peers at once while some of them leave without a
// word and some connections are shut under their peers' hands.
func storm(r *rig) {
	const peers = 48
	random := rand.New(rand.NewPCG(1, 2))
	r.onAccepted = func(fd int) {
		r.arrived = nil
		r.echo(fd, random)
	}
	r.during("the peers' doings", func() error {
		var all sync.WaitGroup
		results := make([]error, peers)
		for i := range peers {
			all.Go(func() { results[i] = r.stormPeer(uint32(i)) })
		}
		all.Wait()
		return errors.Join(results...)
	})
	r.until("the end of all connections", func() bool { return len(r.conns) == 0 })
}

// echo opens fd and sends back what it receives, with back-pressure. What the
// peer sends first decides whether its connection is shut half-way.
func (r *rig) echo(fd int, random *rand.Rand) {
	const high = 128 << 10
	c := r.open(fd)
	finish := func() {
		if c.state != open {
			return
		}
		if size(c.out) == 0 && c.receiveErr != nil || c.sendErr != nil {
			c.shut(false)
		} else if c.paused && size(c.out) < high/2 {
			c.resume()
		}
	}
	c.onReceived = func(_ *buffer.Block, p []byte, err error) {
		if err != nil && err != io.EOF {
			c.shut(false)
			return
		}
		if len(c.received) > 50_000 && c.received[0] == shutHalfWay {
			c.shut(random.IntN(2) == 0)
			return
		}
		c.send(bytes.Clone(p))
		if c.state == open && size(c.out) > high || random.IntN(8) == 0 {
			c.pause()
			// A pause without unsent bytes would have no end.
			if !c.sending {
				c.resume()
			}
		}
		finish()
	}
	c.onSent = func(int, error) {
		c.flush()
		finish()
	}
}

// The first byte that a peer of the storm sends.
const (
	echoAll = iota
	shutHalfWay
	leaveHalfWay
)

func (r *rig) stormPeer(i uint32) error {
	p, err := r.f.Dial(r.addr)
	if err != nil {
		return err
	}
	defer p.Close()
	want := pattern(20_000+int(i)*7_001, i)
	want[0] = echoAll
	if i%6 == 4 {
		want[0] = shutHalfWay
	} else if i%6 == 5 {
		want[0] = leaveHalfWay
	}
	var written sync.WaitGroup
	written.Go(func() {
		for rest, n := want, int(i)+1; len(rest) > 0; n = n*5%20_000 + 1 {
			n = min(n, len(rest))
			if _, err := p.Write(rest[:n]); err != nil {
				return // the reader knows whether that is right
			}
			rest = rest[n:]
			if want[0] == leaveHalfWay && len(rest) < len(want)/2 {
				r.f.Reset(p)
				return
			}
		}
		endWrite(p)
	})
	got, err := io.ReadAll(p)
	written.Wait()
	return stormResult(p, i, want, got, err)
}

// stormResult judges what a peer got back.
func stormResult(p net.Conn, i uint32, want, got []byte, err error) error {
	whole := want[0] == echoAll
	switch {
	case !bytes.HasPrefix(want, got):
		return fmt.Errorf("peer %d (%v) got back what it did not send", i, p.LocalAddr())
	case whole && err != nil:
		return fmt.Errorf("peer %d: %w after %d of %d bytes", i, err, len(got), len(want))
	case whole && len(got) != len(want):
		return fmt.Errorf("peer %d got back %d of %d bytes", i, len(got), len(want))
	}
	return nil
}
