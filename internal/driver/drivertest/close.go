package drivertest

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

func shutOnce(r *rig) {
	c, p := r.connect()
	r.exchange(c, p, "hello")
	c.shut(false)
	c.isClosed()
	if err := r.end(p); err != io.EOF {
		r.t.Errorf("the peer's flow ended with %v, want EOF", err)
	}
	r.settle() // a second Closed would be noticed
}

func shutPolls(r *rig) {
	for _, abort := range []bool{false, true} {
		c, _ := r.connect()
		paused, _ := r.connect()
		paused.pause()
		r.settle()
		c.shut(abort)
		paused.shut(abort)
		c.isClosed()
		paused.isClosed()
	}
}

func shutUnanswered(r *rig) {
	for _, abort := range []bool{false, true} {
		c, p := r.connect()
		r.fill(c)
		c.shut(abort)
		c.isClosed()
		r.during("the peer leaves", p.Close)
		r.settle()
	}
}

func shutInside(r *rig) {
	p := r.dial()
	c := r.open(r.accept())
	c.onReceived = func(*buffer.Block, []byte, error) { c.shut(false) }
	r.write(p, []byte("go away"))
	c.isClosed()

	var early *conn
	r.onAccepted = func(fd int) {
		r.arrived = nil
		early = r.open(fd)
		early.shut(false) // a reset might come before the peer knows that it is connected
	}
	r.dial()
	r.until("Closed of what was shut inside Accepted", func() bool { return early != nil && early.state == closed })
	r.onAccepted = nil

	answered, p := r.connect()
	r.fill(answered)
	answered.onSent = func(int, error) { answered.shut(true) }
	r.during("the peer reads", func() error {
		_, err := io.Copy(io.Discard, p)
		if r.unix() {
			return err
		}
		return nil // a reset is what it should see
	})
	answered.isClosed()

	ln := r.server()
	dialled := r.startDial(ln.Addr())
	dialled.onConnected = func(error) { dialled.shut(false) }
	dialled.isClosed()
	r.during("the server stops", ln.Close)
	r.settle()
}

// together makes n connections whose peers' greetings are received in one
// batch where the driver makes batches.
func (r *rig) together(n int) (conns []*conn) {
	r.t.Helper()
	for range n {
		c, p := r.connect()
		c.pause()
		r.write(p, []byte("greetings"))
		conns = append(conns, c)
	}
	r.settle()
	for _, c := range conns {
		c.resume()
	}
	return conns
}

func shutOther(r *rig) {
	conns := r.together(6)
	var first *conn
	for _, c := range conns {
		c.onReceived = func(*buffer.Block, []byte, error) {
			if first != nil {
				return // the rig has complained
			}
			first = c
			for _, other := range conns {
				if other != c {
					other.shut(false)
				}
			}
		}
	}
	for _, c := range conns {
		r.until("Closed of the others", func() bool { return c == first || c.state == closed })
	}
	r.settle()
	if string(first.received) != "greetings" {
		r.t.Errorf("received %q", first.received)
	}
}

func shutDelivers(r *rig) {
	c, p := r.connect()
	want := pattern(1<<20, 14)
	result := make(chan []byte, 1)
	go func() {
		b, _ := io.ReadAll(p)
		result <- b
		r.d.Wake()
	}()
	c.send(want)
	c.sent()
	c.shut(false)
	c.isClosed()
	r.until("the peer has read to the end", func() bool { return len(result) > 0 })
	r.same("the peer received", <-result, want)
}

func shutAborts(r *rig) {
	c, p := r.connect()
	r.exchange(c, p, "hello")
	c.shut(true)
	c.isClosed()
	if err := r.end(p); err == nil || err == io.EOF && !r.unix() {
		r.t.Errorf("the peer's flow ended with %v, want a reset", err)
	}
}

func idReuse(r *rig) {
	for i := range 30 {
		c, p := r.connect()
		if c.id != 0 {
			r.t.Fatalf("id is %d, want the one used before", c.id)
		}
		message := string(pattern(20, uint32(i)))
		r.exchange(c, p, message)
		c.pause()
		r.write(p, []byte("too late")) // for c, and nothing to its successor
		c.shut(i%2 == 0)
		c.isClosed()
		if string(c.received) != message {
			r.t.Fatalf("received %q, want %q", c.received, message)
		}
	}
}

func descriptorReuse(r *rig) {
	ln := r.server()
	conns := r.together(2)
	var dialled *conn
	for i, c := range conns {
		c.onReceived = func(*buffer.Block, []byte, error) {
			if dialled == nil {
				conns[1-i].shut(false)
				dialled = r.startDial(ln.Addr())
			}
		}
	}
	r.until("Dial", func() bool { return dialled != nil })
	dialled.isConnected()
	p := r.serve(ln)
	r.exchange(dialled, p, "hello")
	r.settle()
	if string(dialled.received) != "hello" {
		r.t.Errorf("received %q", dialled.received)
	}
	r.during("the server stops", ln.Close)
}

func detachWorks(r *rig) {
	c, p := r.connect()
	r.exchange(c, p, "hello")
	c.detach()
	c.isClosed()
	fd := c.fd
	if n, err := r.d.TryWrite(fd, []byte("alone")); n != 5 || err != nil {
		r.t.Fatalf("TryWrite returned %d, %v", n, err)
	}
	if got := r.read(p, 5); string(got) != "alone" {
		r.t.Errorf("the peer received %q", got)
	}
	r.write(p, []byte("again"))
	c = r.open(fd)
	c.receive(5)
	r.exchange(c, p, "as before")

	// Between drivers and back, while bytes keep coming.
	want := pattern(600_000, 15)
	written := make(chan error, 1)
	go func() {
		_, err := p.Write(want)
		written <- err
	}()
	var got []byte
	c.received = nil
	for len(got) < len(want) {
		c.receive(1)
		c.detach()
		c.isClosed()
		got = append(got, c.received...)
		c = r.open(c.fd)
	}
	r.same("received", got, want)
	if err := <-written; err != nil {
		r.t.Errorf("the peer writes: %v", err)
	}
}

func fileOwns(r *rig) {
	c, p := r.connect()
	c.detach()
	c.isClosed()
	file, err := r.f.System.File(c.fd)
	if errors.Is(err, errors.ErrUnsupported) {
		if err := r.end(p); err != io.EOF {
			r.t.Errorf("the peer's flow ended with %v, want EOF", err)
		}
		return
	}
	if err != nil {
		r.t.Fatalf("File: %v", err)
	}
	defer file.Close()
	if _, err := file.Write([]byte("hello")); err != nil {
		r.t.Fatalf("the file writes: %v", err)
	}
	if got := r.read(p, 5); string(got) != "hello" {
		r.t.Errorf("the peer received %q", got)
	}
	r.write(p, []byte("hello"))
	if n, err := file.Read(make([]byte, 100)); n != 5 || err != nil {
		r.t.Errorf("the file read %d bytes, %v", n, err)
	}
	if err := file.Close(); err != nil {
		r.t.Errorf("the file closes: %v", err)
	}
	if err := r.end(p); err != io.EOF {
		r.t.Errorf("the peer's flow ended with %v, want EOF", err)
	}
}

func fileOfUnopened(r *rig) {
	p := r.dial()
	file, err := r.f.System.File(r.accept())
	if err == nil {
		err = file.Close()
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		r.t.Errorf("File: %v", err)
	}
	if err := r.end(p); err != io.EOF {
		r.t.Errorf("the peer's flow ended with %v, want EOF", err)
	}
}

func closeCloses(r *rig) {
	idle, p := r.connect()
	r.exchange(idle, p, "hello")
	busy, busyPeer := r.connect()
	r.fill(busy)
	busy.pause()
	paused, pausedPeer := r.connect()
	paused.pause()
	ln := r.server()
	r.startDial(ln.Addr())
	closing, _ := r.connect()
	closing.shut(false)
	ended := make(chan error, 3)
	for _, p := range []net.Conn{p, busyPeer, pausedPeer} {
		go func() {
			_, err := io.Copy(io.Discard, p)
			ended <- err
		}()
	}
	r.stop()
	for range 3 {
		select {
		case <-ended:
		case <-time.After(patience):
			r.t.Fatal("a connection is still open after Close")
		}
	}
	ln.Close()
	r.left()
}
