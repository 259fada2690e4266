package drivertest

import (
	"io"
	"unsafe"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
)

// events is what the driver under test reports to. It checks every report
// against what the rig knows, and passes it on.
type events struct{ r *rig }

// conn looks up who a report is for and says whether it may come at all.
func (e events) conn(what string, id driver.ID, allowed ...state) *conn {
	if !e.r.polling {
		e.r.t.Errorf("%s(%d) outside Poll", what, id)
	}
	c := e.r.conns[id]
	if c == nil {
		e.r.t.Errorf("%s(%d) for nobody", what, id)
		return nil
	}
	for _, s := range allowed {
		if c.state == s {
			return c
		}
	}
	e.r.t.Errorf("%s(%d) while %v", what, id, c.state)
	return nil
}

func (e events) Accepted(l driver.ID, fd int, err error) {
	r := e.r
	if !r.polling {
		r.t.Errorf("Accepted(%d) outside Poll", l)
	}
	if _, ok := r.listeners[l]; !ok {
		r.t.Errorf("Accepted(%d, %d, %v) for what does not listen", l, fd, err)
		return
	}
	if err != nil {
		if fd != -1 {
			r.t.Errorf("Accepted with descriptor %d and error %v", fd, err)
		}
		r.acceptErr = err
		delete(r.listeners, l)
		return
	}
	r.arrived = append(r.arrived, fd)
	if r.onAccepted != nil {
		r.onAccepted(fd)
	}
}

func (e events) Connected(id driver.ID, fd int, err error) {
	c := e.conn("Connected", id, dialing)
	if c == nil {
		return
	}
	if err != nil {
		c.connectErr = err
		e.r.forget(c)
	} else {
		c.fd, c.state = fd, open
	}
	c.connected++
	if c.onConnected != nil {
		c.onConnected(err)
	}
}

func (e events) Received(id driver.ID, b *buffer.Block, p []byte, err error) {
	c := e.conn("Received", id, open, detaching)
	if c == nil {
		return
	}
	switch {
	case c.paused && c.state == open:
		e.r.t.Errorf("Received(%d) while paused", id)
	case c.receiveErr != nil:
		e.r.t.Errorf("Received(%d, %d bytes, %v) after %v", id, len(p), err, c.receiveErr)
	case err != nil && len(p) > 0:
		e.r.t.Errorf("Received(%d) with %d bytes and error %v", id, len(p), err)
	case err == nil && len(p) == 0:
		e.r.t.Errorf("Received(%d) with neither bytes nor error", id)
	case err == nil && !within(b, p):
		e.r.t.Errorf("Received(%d): the bytes do not lie in the block", id)
	}
	c.received = append(c.received, p...)
	c.receiveErr = err
	if c.onReceived != nil {
		c.onReceived(b, p, err)
	}
}

func (e events) Sent(id driver.ID, n int, err error) {
	c := e.conn("Sent", id, open)
	if c == nil {
		return
	}
	switch {
	case !c.sending:
		e.r.t.Errorf("Sent(%d, %d, %v) without an unanswered Send", id, n, err)
		return
	case n < 0 || n > size(c.out):
		e.r.t.Errorf("Sent(%d, %d, %v), but %d bytes were unsent", id, n, err, size(c.out))
		return
	}
	c.sending = false
	c.took(n, err)
	if c.onSent != nil {
		c.onSent(n, err)
		return
	}
	c.flush()
}

func (e events) Closed(id driver.ID) {
	c := e.conn("Closed", id, shutting, detaching)
	if c == nil {
		return
	}
	if c.inside {
		e.r.t.Errorf("Closed(%d) from inside Shut", id)
	}
	e.r.forget(c)
	if c.onClosed != nil {
		c.onClosed()
	}
}

// within reports whether p lies in b.
func within(b *buffer.Block, p []byte) bool {
	if b == nil {
		return false
	}
	whole := b.Bytes()
	first := uintptr(unsafe.Pointer(unsafe.SliceData(whole)))
	start := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	return start >= first && start+uintptr(len(p)) <= first+uintptr(len(whole))
}

// state is how far a connection of the rig has come.
type state int

const (
	dialing   state = iota // Dial was called, Connected has not come
	open                   // opened or connected
	shutting               // Shut was called, Closed has not come
	detaching              // Detach was called, Closed has not come
	closed                 // Closed has come, or Connected with an error
)

func (s state) String() string {
	return [...]string{"dialing", "open", "shutting", "detaching", "closed"}[s]
}

// conn is one connection of the rig and what it was told.
type conn struct {
	r     *rig
	id    driver.ID
	fd    int
	state state

	paused  bool
	sending bool // true exactly while a Send is unanswered
	inside  bool // true exactly while Shut or Detach runs

	out     [][]byte // what Send has not yet taken
	sendErr error

	connected  int
	connectErr error
	received   []byte
	receiveErr error

	onConnected func(err error)
	onReceived  func(b *buffer.Block, p []byte, err error)
	onSent      func(n int, err error)
	onClosed    func()
}

func (c *conn) pause() {
	c.paused = true
	c.r.d.Pause(c.id)
}

func (c *conn) resume() {
	c.paused = false
	c.r.d.Resume(c.id)
}

// send queues pieces behind what is unsent and sends what the contract allows
// to be sent now. Sent goes on with the rest.
func (c *conn) send(pieces ...[]byte) {
	c.out = append(c.out, pieces...)
	c.flush()
}

func (c *conn) flush() {
	if c.sending || c.sendErr != nil || c.state != open || size(c.out) == 0 {
		return
	}
	// The slice of pieces is the driver's only during the call.
	bufs := append([][]byte(nil), c.out...)
	n, err := c.r.d.Send(c.id, bufs)
	clear(bufs)
	whole := size(c.out)
	if n < 0 || n > whole {
		c.r.t.Errorf("Send of %d bytes returned %d, %v", whole, n, err)
		return
	}
	c.took(n, err)
	c.sending = err == nil && n < whole
}

// took forgets the first n bytes of what was to be sent.
func (c *conn) took(n int, err error) {
	c.sendErr = err
	for n > 0 {
		if n < len(c.out[0]) {
			c.out[0] = c.out[0][n:]
			return
		}
		n -= len(c.out[0])
		c.out = c.out[1:]
	}
}

// sent polls until everything has left or sending has failed.
func (c *conn) sent() {
	c.r.t.Helper()
	c.r.until("everything sent", func() bool { return c.sendErr != nil || size(c.out) == 0 })
}

func (c *conn) shut(abort bool) {
	c.state = shutting
	c.inside = true
	c.r.d.Shut(c.id, abort)
	c.inside = false
}

func (c *conn) detach() {
	c.state = detaching
	c.inside = true
	fd, err := c.r.d.Detach(c.id)
	c.inside = false
	if err != nil {
		c.r.t.Fatalf("Detach: %v", err)
	}
	c.fd = fd
}

// isClosed polls until Closed has come.
func (c *conn) isClosed() {
	c.r.t.Helper()
	c.r.until("Closed", func() bool { return c.state == closed })
}

// receive polls until n bytes have come in all, or an error.
func (c *conn) receive(n int) {
	c.r.t.Helper()
	c.r.until("bytes received", func() bool { return len(c.received) >= n || c.receiveErr != nil })
}

// eof polls until the flow has ended, and says whether in good order.
func (c *conn) eof() bool {
	c.r.t.Helper()
	c.r.until("the end of the flow", func() bool { return c.receiveErr != nil })
	return c.receiveErr == io.EOF
}

func size(bufs [][]byte) (n int) {
	for _, b := range bufs {
		n += len(b)
	}
	return n
}
