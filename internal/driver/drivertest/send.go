package drivertest

import (
	"bytes"
	"io"
	"net"
	"time"
)

func sendSmall(r *rig) {
	c, p := r.connect()
	for range 3 {
		c.send([]byte("hel"), []byte("lo"))
		if got := r.read(p, 5); string(got) != "hello" {
			r.t.Fatalf("the peer received %q", got)
		}
		c.sent()
	}
	r.settle()
}

func sendLarge(r *rig) {
	c, p := r.connect()
	want := pattern(8<<20, 5)
	c.send(want)
	r.same("the peer received", r.read(p, len(want)), want)
	c.sent()
	r.quiet()
	r.exchange(c, p, "still working")
}

func sendPieces(r *rig) {
	c, p := r.connect()
	for _, longest := range []int{7, 1500} {
		want := pattern(5000*longest/2, 6)
		var pieces [][]byte
		for rest := want; len(rest) > 0; {
			n := min(len(pieces)%longest, len(rest))
			pieces = append(pieces, rest[:n:n])
			rest = rest[n:]
		}
		c.send(pieces...)
		r.same("the peer received", r.read(p, len(want)), want)
		c.sent()
	}
}

func sendNothing(r *rig) {
	c, p := r.connect()
	for _, bufs := range [][][]byte{nil, {}, {nil}, {{}, nil, {}}} {
		if n, err := r.d.Send(c.id, bufs); n != 0 || err != nil {
			r.t.Errorf("Send of nothing returned %d, %v", n, err)
		}
	}
	r.settle() // a Sent would be noticed
	r.exchange(c, p, "hello")
}

func sendWhilePaused(r *rig) {
	c, p := r.connect()
	c.pause()
	want := pattern(4<<20, 7)
	c.send(want)
	r.write(p, []byte("unheard"))
	r.same("the peer received", r.read(p, len(want)), want)
	c.sent()
	r.quiet()
	c.resume()
	c.receive(len("unheard"))
}

func sendBothWays(r *rig) {
	c, p := r.connect()
	there, back := pattern(2<<20, 8), pattern(2<<20, 9)
	written := make(chan error, 1)
	go func() {
		_, err := p.Write(there)
		written <- err
	}()
	c.send(back)
	r.same("the peer received", r.read(p, len(back)), back)
	c.sent()
	c.receive(len(there))
	r.same("received", c.received, there)
	if err := <-written; err != nil {
		r.t.Errorf("the peer writes: %v", err)
	}
}

func sendReset(r *rig) {
	c, p := r.connect()
	r.exchange(c, p, "hello")
	r.f.Reset(p)
	for end := time.Now().Add(patience); c.sendErr == nil; {
		c.send([]byte("anybody there?"))
		r.poll(time.Millisecond)
		if time.Now().After(end) {
			r.t.Fatal("sending to a peer that reset goes on for ever")
		}
	}
	r.settle()
}

// fill sends to a peer that does not read until a Send stays unanswered. It
// returns how many bytes were given to Send.
func (r *rig) fill(c *conn) (total int) {
	r.t.Helper()
	for quiet := 0; quiet < 5; {
		if !c.sending {
			quiet = 0
			piece := pattern(256<<10, 10)
			total += len(piece)
			c.send(piece)
		}
		if total > 256<<20 {
			r.t.Fatal("a peer that does not read took 256 MiB")
		}
		r.poll(2 * time.Millisecond)
		quiet++
	}
	return total
}

func sendResetUnanswered(r *rig) {
	for _, paused := range []bool{false, true} {
		c, p := r.connect()
		if paused {
			c.pause()
		}
		r.fill(c)
		r.f.Reset(p)
		r.until("a send error", func() bool {
			// A slow driver may have answered late, before the reset.
			if c.sendErr == nil && !c.sending {
				c.send(pattern(1000, 10))
			}
			return c.sendErr != nil
		})
		r.settle()
	}
}

func closeWrite(r *rig) {
	c, p := r.connect()
	c.send([]byte("last words"))
	c.sent()
	r.d.CloseWrite(c.id)
	var got []byte
	r.during("the peer reads to the end", func() (err error) {
		got, err = io.ReadAll(p)
		return err
	})
	if string(got) != "last words" {
		r.t.Errorf("the peer received %q", got)
	}
	want := pattern(200_000, 11)
	r.write(p, want)
	r.during("the peer ends too", func() error { return endWrite(p) })
	if !c.eof() {
		r.t.Errorf("the flow ended with %v, want EOF", c.receiveErr)
	}
	r.same("received", c.received, want)
}

// endWrite half-closes an outside peer.
func endWrite(p net.Conn) error { return p.(interface{ CloseWrite() error }).CloseWrite() }

func unsent(r *rig) {
	c, p := r.connect()
	if n := r.d.Unsent(c.fd); n != 0 && !(n == -1 && r.f.Opaque) {
		r.t.Errorf("Unsent is %d before anything was sent", n)
	}
	total := r.fill(c)
	n := 0
	r.during("another goroutine asks", func() error {
		n = r.d.Unsent(c.fd)
		return nil
	})
	if (n < 0) != r.f.Opaque || n == 0 && r.f.TellsUnsent {
		r.t.Errorf("Unsent is %d while the peer does not read", n)
	}
	r.read(p, total)
	c.sent()
	r.arrives(c)
	r.d.CloseWrite(c.id)
	if err := r.end(p); err != io.EOF {
		r.t.Errorf("the peer's flow ended with %v, want EOF", err)
	}
	r.arrives(c)
}

// arrives waits until the peer of c, which reads, has got all.
func (r *rig) arrives(c *conn) {
	r.t.Helper()
	for end := time.Now().Add(patience); r.d.Unsent(c.fd) > 0; {
		r.poll(time.Millisecond)
		if time.Now().After(end) {
			r.t.Fatalf("Unsent is %d for ever though the peer has read all", r.d.Unsent(c.fd))
		}
	}
}

func tryWrite(r *rig) {
	c, p := r.connect()
	piece := pattern(64<<10, 12)
	var want []byte
	r.during("another goroutine writes what fits", func() error {
		for len(want) < 256<<20 {
			n, err := r.d.TryWrite(c.fd, piece)
			if err != nil || n == 0 {
				return err
			}
			want = append(want, piece[:n]...)
		}
		return nil
	})
	if (len(want) == 0) != r.f.Opaque || len(want) >= 256<<20 {
		r.t.Fatalf("TryWrite wrote %d bytes to a peer that does not read", len(want))
	}
	r.same("the peer received", r.read(p, len(want)), want)
	if n, err := r.d.TryWrite(c.fd, nil); n != 0 || err != nil {
		r.t.Errorf("TryWrite of nothing returned %d, %v", n, err)
	}
	r.exchange(c, p, "still working")
	if !bytes.Equal(piece, pattern(64<<10, 12)) {
		r.t.Error("TryWrite changed what it was given")
	}
}
