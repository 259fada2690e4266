package load

import (
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readSize is what one read takes at most, in bytes.
	readSize = 64 << 10
	// patience is how long nothing at all may come back before the outstanding
	// replies are given up.
	patience = 2 * time.Second
	// tooManyErrors ends a run that has nothing to tell any more.
	tooManyErrors = 1000
)

var (
	errWrong    = errors.New("a reply is not the right one")
	errSurplus  = errors.New("more bytes came back than were asked for")
	errClosed   = errors.New("the server closed a connection")
	errNoAnswer = errors.New("no reply")
)

// dialogue is what a generator says on its connections, one message after the
// other, and what it takes for a reply. A reply holds one answer or several, all
// of the same size.
type dialogue interface {
	// lend returns message number seq of connection conn until giveBack is
	// called, which is to be done before the next message is lent. All messages
	// have the same size.
	lend(conn, seq uint32) []byte
	giveBack()
	// answerSize returns the bytes of one answer.
	answerSize() int
	// owed returns how many bytes of a reply the server may have sent when
	// sent bytes of the message have left.
	owed(sent int) int
	// right tells whether got continues the reply to message number seq of
	// connection conn, of which received bytes have been there before.
	right(conn, seq uint32, received int, got []byte) bool
}

// conn is one connection of a generator.
type conn struct {
	fd       int           // -1 while closed
	tls      *secure       // nil without TLS
	seq      uint32        // number of the message under way
	sent     int           // bytes of it that the kernel took
	received int           // bytes of its reply that came back
	began    time.Duration // when it was sent, since the generator began
	waiting  bool          // true exactly when a reply is outstanding
	stalled  bool          // true exactly when EPOLLOUT is asked for
}

// generator keeps connections busy. It belongs to one goroutine.
type generator struct {
	meter
	server *unix.SockaddrInet4
	epoll  int
	conns  []conn
	talk   dialogue
	size   int // bytes of a message
	reply  int // bytes of a reply
	in     []byte
	events []unix.EpollEvent

	// answered is called with the index of a connection whose exchange is
	// complete, to give it something to do.
	answered func(i int)
	// took is called with what a read of connection i yielded; take, but for
	// Broadcast.
	took func(i, n int, err error)
	// lost, if it is not nil, is called when connection i has failed.
	lost func(i int)

	waiting  int   // connections with an exchange under way
	ending   bool  // true exactly when no new exchange is to begin
	received int64 // bytes since the beginning
}

func newGenerator(cfg Config) (*generator, error) {
	server, err := cfg.check()
	if err != nil {
		return nil, err
	}
	var talk dialogue
	switch {
	case cfg.HTTP != nil:
		talk, err = newAnswers(cfg)
	case cfg.WebSocket:
		talk = newFrames(cfg)
	default:
		talk = newMessages(cfg)
	}
	if err != nil {
		return nil, err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	g := &generator{
		meter:  newMeter(cfg),
		server: server,
		epoll:  epoll,
		conns:  make([]conn, cfg.Conns),
		talk:   talk,
		size:   len(talk.lend(0, 0)),
		in:     make([]byte, readSize),
		events: make([]unix.EpollEvent, 256),
	}
	talk.giveBack()
	g.took = g.take
	g.reply = talk.owed(g.size)
	for i := range g.conns {
		g.conns[i].fd = -1
	}
	return g, nil
}

func (g *generator) close() {
	for i := range g.conns {
		if g.conns[i].fd >= 0 {
			unix.Close(g.conns[i].fd)
		}
	}
	unix.Close(g.epoll)
}

func (g *generator) watch(i, op int, events uint32) error {
	err := unix.EpollCtl(g.epoll, op, g.conns[i].fd, &unix.EpollEvent{Events: events, Fd: int32(i)})
	if err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// start sends the next message on connection i.
func (g *generator) start(i int) { g.startAt(i, g.now()) }

// startAt is start for an exchange that began earlier.
func (g *generator) startAt(i int, began time.Duration) {
	c := &g.conns[i]
	c.seq++
	c.sent, c.received = 0, 0
	c.began = began
	c.waiting = true
	g.waiting++
	g.send(i)
}

// send hands the kernel the rest of connection i's message.
func (g *generator) send(i int) {
	c := &g.conns[i]
	err := c.flush()
	for c.sent < g.size && err == nil {
		var n int
		n, err = c.write(g.talk.lend(uint32(i), c.seq)[c.sent:])
		g.talk.giveBack()
		c.sent += n
		if err == nil {
			err = c.flush()
		}
	}
	if err != nil && err != unix.EAGAIN {
		g.fail(i, err)
		return
	}
	g.setStalled(i, err != nil)
}

// write hands the kernel, or TLS, what it takes of p.
func (c *conn) write(p []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Write(p)
	}
	n, err := unix.Write(c.fd, p)
	if err == unix.EINTR {
		err = nil
	}
	return max(n, 0), err
}

// flush hands the kernel what is encrypted; unix.EAGAIN if it does not take all.
func (c *conn) flush() error {
	if c.tls == nil {
		return nil
	}
	return c.tls.wire.flush()
}

func (g *generator) setStalled(i int, stalled bool) {
	c := &g.conns[i]
	if c.stalled == stalled {
		return
	}
	events := uint32(unix.EPOLLIN)
	if stalled {
		events |= unix.EPOLLOUT
	}
	if err := g.watch(i, unix.EPOLL_CTL_MOD, events); err != nil {
		g.fail(i, err)
		return
	}
	c.stalled = stalled
}

// receive reads once from connection i; of TLS, which keeps what it has read of
// its socket, all there is.
func (g *generator) receive(i int) {
	c := &g.conns[i]
	if c.tls == nil {
		n, err := unix.Read(c.fd, g.in)
		g.took(i, n, err)
		return
	}
	c.tls.wire.drained = false
	for more := true; more; {
		n, err := c.tls.Read(g.in)
		more = n > 0 && err == nil
		switch {
		case n > 0 || err == io.EOF:
			err = nil
		case err == errDry:
			err = unix.EAGAIN
		}
		g.took(i, n, err)
		more = more && c.fd >= 0
	}
}

// take compares what a read of connection i yielded.
func (g *generator) take(i, n int, err error) {
	c := &g.conns[i]
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err == nil && n == 0:
		err = errClosed
	case err == nil && (!c.waiting || c.received+n > g.talk.owed(c.sent)):
		err = errSurplus
	case err == nil && !g.talk.right(uint32(i), c.seq, c.received, g.in[:n]):
		err = errWrong
	}
	if err != nil {
		g.fail(i, err)
		return
	}
	before := c.received
	c.received += n
	g.received += int64(n)
	if answers := c.received/g.talk.answerSize() - before/g.talk.answerSize(); answers > 0 {
		g.record(c.began, answers)
	}
	if c.received < g.reply {
		return
	}
	g.settle(c)
	if !g.ending {
		g.answered(i)
	}
}

// settle notes that c waits no longer.
func (g *generator) settle(c *conn) {
	if c.waiting {
		c.waiting = false
		g.waiting--
	}
}

// fail counts an error and closes connection i, which is not opened again.
func (g *generator) fail(i int, err error) {
	g.count(err)
	c := &g.conns[i]
	g.settle(c)
	if c.fd < 0 {
		return
	}
	unix.Close(c.fd)
	c.fd = -1
	if g.lost != nil {
		g.lost(i)
	}
}
