//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"fmt"

	"github.com/sluice-go/sluice/internal/driver"
)

// state is how far a connection has come.
type state uint8

const (
	free    state = iota // the id is nobody's
	dialing              // Dial was called; Connected follows
	open                 // bytes flow
	closing              // Shut or Detach was called; Closed follows
)

// conn is what the driver knows about one connection. It is small and has no
// pointers, because there are very many and the garbage collector should not
// have to look at them.
type conn struct {
	fd         int32
	generation uint32 // counts the users of this id, in the end modulo 2^31
	ended      uint32 // the batch in which the previous user ended
	state      state
	// want is what the connection waits for: readable unless paused or at
	// its end, writable while it is dialing or a Send is unanswered.
	want interest
	// watched is what the poller watches its descriptor for. It has all of
	// want, and may for a while have more: see loosen.
	watched interest
	flow    flow
}

// flow says what stops the flow of Received, and what it needs.
type flow uint8

const (
	paused   flow = 1 << iota // Pause was called last, not Resume
	finished                  // the end or an error has been received

	// missed is no stop: something was reported that was not used, or not all
	// of it, and has to be reported again should c still want it.
	missed

	// local is no stop either: the connection is not TCP, and a read may stop
	// short anywhere, as behind a descriptor that the peer passed.
	local
)

// token returns what events for c carry.
func (c *conn) token(id driver.ID) token {
	t := newToken(uint32(id), c.generation)
	if c.flow&local != 0 {
		t |= levelBit
	}
	return t
}

// must returns the connection id, which must be in the state s.
func (r *reactor) must(id driver.ID, s state) *conn {
	if int(id) < len(r.conns) {
		if c := &r.conns[id]; c.state == s {
			return c
		}
	}
	panic(fmt.Sprintf("reactor: connection %d is not in the state that this call needs", id))
}

// begin gives id to a new connection.
func (r *reactor) begin(id driver.ID, s state, fd int) *conn {
	if n := int(id) + 1 - len(r.conns); n > 0 {
		r.conns = append(r.conns, make([]conn, n)...)
	}
	c := r.must(id, free)
	*c = conn{fd: int32(fd), state: s, generation: c.generation, ended: c.ended}
	return c
}

// end takes id from its connection and returns the descriptor, which is no
// longer watched. That needs an explicit call although close ends watching
// too: the descriptor may live on, by Detach or as a duplicate elsewhere.
func (r *reactor) end(c *conn, s state) (fd int) {
	if c.watched != 0 {
		if err := r.poller.remove(int(c.fd), c.watched); err != nil {
			r.fail(err)
		}
	}
	fd = int(c.fd)
	*c = conn{fd: -1, state: s, generation: (c.generation + 1) & generationMask, ended: r.batches}
	return fd
}

// watch makes the poller watch for exactly what c waits for.
func (r *reactor) watch(id driver.ID, c *conn) error {
	var err error
	fd, t := int(c.fd), c.token(id)
	switch {
	case c.watched == c.want:
	case c.watched == 0:
		err = r.poller.add(fd, t, c.want)
	case c.want == 0:
		err = r.poller.remove(fd, c.watched)
	default:
		err = r.poller.modify(fd, t, c.watched, c.want)
	}
	if err == nil {
		c.watched = c.want
	}
	return err
}

// await adds to what c waits for, and sees to it at once that it is watched.
func (r *reactor) await(id driver.ID, c *conn, more interest) error {
	c.want |= more
	if c.want&^c.watched == 0 {
		return nil
	}
	err := r.watch(id, c)
	if err != nil {
		c.want &^= more
	}
	return err
}

// loosen notes that c is watched for more than it waits for, to be put right
// before the next wait. Until then it may want it back for nothing: a large
// message that goes out in pieces changes the poller twice, not twice for
// each piece.
func (r *reactor) loosen(id driver.ID) { r.loose = append(r.loose, id) }

// miss notes that c did not use all that was reported.
func (r *reactor) miss(id driver.ID, c *conn) {
	c.flow |= missed
	r.loosen(id)
}

// tighten puts right what loosen and miss noted.
func (r *reactor) tighten() {
	for _, id := range r.loose {
		c := &r.conns[id]
		if c.state != open {
			continue // it ended meanwhile
		}
		var err error
		switch {
		case c.want != c.watched:
			err = r.watch(id, c)
		case c.want != 0 && c.flow&(missed|local) == missed:
			err = r.poller.again(int(c.fd), c.token(id), c.want)
		}
		c.flow &^= missed
		if err != nil {
			r.fail(err) // only a descriptor closed behind our back refuses
		}
	}
	r.loose = r.loose[:0]
}
