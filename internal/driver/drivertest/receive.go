package drivertest

import (
	"bytes"
	"io"
	"strings"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// pattern returns n bytes in which no piece can stand for another without
// being noticed.
func pattern(n int, seed uint32) []byte {
	b := make([]byte, n)
	x := seed*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}

// same checks that got is want and says where they part.
func (r *rig) same(what string, got, want []byte) {
	r.t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	r.t.Fatalf("%s: %d bytes, want %d; they differ from byte %d", what, len(got), len(want), at)
}

func receivedInOrder(r *rig) {
	c, p := r.connect()
	want := pattern(300_000, 1)
	r.during("the peer writes all and ends", func() error {
		for rest, n := want, 1; len(rest) > 0; n = n*3 + 1 {
			n = min(n%70_000, len(rest))
			if _, err := p.Write(rest[:n]); err != nil {
				return err
			}
			rest = rest[n:]
		}
		return endWrite(p)
	})
	if !c.eof() {
		r.t.Errorf("the flow ended with %v, want EOF", c.receiveErr)
	}
	r.same("received", c.received, want)
	r.settle()
}

func receivedRetained(r *rig) {
	c, p := r.connect()
	var blocks []*buffer.Block
	var kept [][]byte
	c.onReceived = func(b *buffer.Block, p []byte, err error) {
		if err == nil {
			b.Retain()
			blocks, kept = append(blocks, b), append(kept, p)
		}
	}
	for i := range 8 {
		r.write(p, pattern(1000, uint32(i)))
		c.receive((i + 1) * 1000)
	}
	r.same("kept", bytes.Join(kept, nil), c.received)
	for i := range kept {
		for j := range kept[i] {
			kept[i][j] = 0 // nobody else may mind
		}
		blocks[i].Release()
	}
	c.onReceived = nil
	r.exchange(c, p, "still working")
}

func pauseLosesNothing(r *rig) {
	c, p := r.connect()
	want := pattern(80_000, 2)
	for rest := want; len(rest) > 0; rest = rest[16_000:] {
		c.pause()
		r.write(p, rest[:16_000])
		r.settle() // a Received now would be noticed
		c.resume()
		c.receive(len(want) - len(rest) + 16_000)
	}
	r.same("received", c.received, want)
}

func pauseInside(r *rig) {
	c, p := r.connect()
	c.onReceived = func(*buffer.Block, []byte, error) { c.pause() }
	want := pattern(400_000, 3)
	ended := make(chan error, 1)
	go func() {
		_, err := p.Write(want)
		ended <- err
	}()
	for len(c.received) < len(want) {
		before := len(c.received)
		c.resume()
		r.until("more bytes", func() bool { return len(c.received) > before })
		r.poll(0)
	}
	if err := <-ended; err != nil {
		r.t.Fatalf("the peer writes: %v", err)
	}
	r.same("received", c.received, want)
}

func pausedEOF(r *rig) {
	c, p := r.connect()
	c.pause()
	r.write(p, []byte("last words"))
	r.during("the peer ends", func() error { return endWrite(p) })
	r.settle()
	c.resume()
	if !c.eof() || string(c.received) != "last words" {
		r.t.Errorf("received %q and %v", c.received, c.receiveErr)
	}
	c.pause()
	c.resume()
	r.settle() // a second EOF would be noticed
}

func pauseRepeated(r *rig) {
	c, p := r.connect()
	c.pause()
	c.pause()
	r.write(p, []byte("one"))
	r.settle()
	c.resume()
	c.receive(3)
	c.resume()
	r.exchange(c, p, "two")
	c.pause()
	c.resume()
	c.pause()
	c.resume()
	r.exchange(c, p, "three")
	if got := string(c.received); got != "onetwothree" {
		r.t.Errorf("received %q", got)
	}
}

func receivedReset(r *rig) {
	c, p := r.connect()
	r.exchange(c, p, "hello")
	r.f.Reset(p)
	if c.eof() && !r.unix() {
		r.t.Error("a reset was received as EOF")
	}
	r.settle()
}

// unix is true exactly when the fixture's connections are Unix sockets.
func (r *rig) unix() bool { return strings.HasPrefix(r.f.Network, "unix") }

func sendAfterEOF(r *rig) {
	c, p := r.connect()
	r.during("the peer ends", func() error { return endWrite(p) })
	if !c.eof() {
		r.t.Fatalf("the flow ended with %v, want EOF", c.receiveErr)
	}
	want := pattern(500_000, 4)
	c.send(want)
	r.same("the peer received", r.read(p, len(want)), want)
	c.sent()
	c.shut(false)
	if err := r.end(p); err != io.EOF {
		r.t.Errorf("the peer's flow ended with %v, want EOF", err)
	}
}

func floodStarvesNobody(r *rig) {
	flood, fp := r.connect()
	flood.onReceived = func(*buffer.Block, []byte, error) { flood.received = nil }
	over := make(chan struct{})
	go func() {
		defer close(over)
		for b := make([]byte, 256<<10); ; {
			if _, err := fp.Write(b); err != nil {
				return
			}
		}
	}()
	for range 5 {
		c, p := r.connect()
		r.exchange(c, p, "may I?")
	}
	fp.Close()
	<-over
}

// endedPeerIsQuiet checks that a connection nobody wants to hear of, although
// its peer has gone, does not make every Poll return at once.
func endedPeerIsQuiet(r *rig) {
	c, p := r.connect()
	c.pause()
	ended, p2 := r.connect()
	r.during("the peers leave", func() error {
		p.Close()
		return p2.Close()
	})
	ended.eof()
	r.quiet()
}

// quiet checks that Poll waits, now that nothing happens.
func (r *rig) quiet() {
	r.t.Helper()
	const wait = 5 * time.Millisecond
	polls := 0
	for start := r.d.Now(); r.d.Now()-start < 10*wait; polls++ {
		r.polls(wait)
	}
	if polls > 30 {
		r.t.Errorf("%d polls of %v passed within %v though nothing happened", polls, wait, 10*wait)
	}
}
