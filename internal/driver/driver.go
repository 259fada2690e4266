// Package driver is the seam between an event loop and the kernel.
//
// A loop asks its driver for outcomes (bytes that arrived, bytes that left),
// never for readiness, so one contract serves readiness interfaces (epoll,
// kqueue) and completion interfaces (io_uring) alike. The comments of Driver
// and Events are the contract; package drivertest checks every clause of it
// against every driver.
package driver

import (
	"context"
	"net"
	"os"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// ID names a connection, or separately a listener, towards a driver. The
// loop chooses it: a small dense number, an index of its own tables. It may
// be used again once Closed was reported for it (a listener's: once Unlisten
// returned).
type ID uint32

// Events is what a driver reports. Every method is called from inside Poll,
// hence on the loop's goroutine, and may call any method of the driver but
// Poll and Close.
type Events interface {
	// Accepted reports a new connection on listener l: a descriptor that
	// from now on belongs to the loop, which calls Open with it, here or on
	// another driver of the same System. After an error (most often the
	// descriptor limit) fd is -1 and accepting has ended as if by Unlisten;
	// Listen starts it again. A connection that its peer gave up before it
	// was accepted is not an error and is not reported.
	Accepted(l ID, fd int, err error)

	// Connected reports the outcome of Dial, exactly once unless Shut came
	// first. Without an error id is open as after Open, over descriptor fd.
	// With one, the driver has forgotten id: no Closed follows.
	Connected(id ID, fd int, err error)

	// Received reports bytes: p, which lies in b. Both are lent, to be changed, too, until the
	// call returns. To keep p longer without a copy, retain b.
	// With an error p is empty and nothing more is received: io.EOF if the
	// peer ended its direction, which is reported after the last byte
	// before it, otherwise what broke the connection. Sending still works
	// after io.EOF. The loop calls Shut in either case; the driver does not.
	Received(id ID, b *buffer.Block, p []byte, err error)

	// Sent answers a Send that did not take all its bytes: n more of them
	// have left; n may be 0, when the way is merely free again. The Send is
	// over then; what remains is for the next one. After an error nothing
	// can be sent on id any more.
	Sent(id ID, n int, err error)

	// Closed reports that neither kernel nor driver refers to id any more.
	// It follows every Shut and every Detach exactly once, never from
	// inside them, and nothing is reported for id after it.
	Closed(id ID)
}

// Driver does the input and output of one event loop. Its methods are called
// by that loop's goroutine alone, but for Wake, Now and those of Sockets.
type Driver interface {
	Sockets

	// Listen begins accepting on listening descriptor fd under the name l.
	// The descriptor stays the caller's.
	Listen(l ID, fd int) error

	// Unlisten ends accepting on l. No Accepted for l follows.
	// Unlisten of what does not listen does nothing.
	Unlisten(l ID)

	// Open takes fd, a connected descriptor that a driver of the same
	// System accepted, and begins the flow of Received. It returns the
	// descriptor by which the methods of Sockets know the connection from
	// then on: fd, unless the driver keeps it elsewhere. On an error the
	// descriptor is closed and nothing follows for id.
	Open(id ID, fd int) (int, error)

	// Dial begins connecting to addr, a *net.TCPAddr or *net.UnixAddr.
	// Connected follows, even if the attempt fails at once.
	Dial(id ID, addr net.Addr)

	// Pause stops the flow of Received: none follows until Resume, however
	// much has arrived. Resume starts it again. Both may be repeated.
	Pause(id ID)
	Resume(id ID)

	// Send sends bufs in order and returns how many bytes have left. If
	// those are fewer than all and err is nil, the rest is the kernel's:
	// bufs' memory (not the slice bufs itself) stays untouched and no other
	// Send of id begins until Sent. After an error nothing can be sent on id
	// any more and no Sent follows.
	Send(id ID, bufs [][]byte) (n int, err error)

	// CloseWrite tells the peer that no more bytes follow. No Send may be
	// unanswered, and none may follow.
	CloseWrite(id ID)

	// Shut ends id, whatever it is doing, closes its descriptor and forgets
	// what was not yet sent. With abort the peer sees a reset, not an
	// orderly end. Closed follows; of the other events none.
	Shut(id ID, abort bool)

	// Detach ends id as Shut does but leaves the descriptor open, which it
	// returns; it is the caller's when Closed comes. No Send may be
	// unanswered. Bytes that had already been taken from the kernel are still
	// reported by Received, also if id was paused; likewise what broke the
	// connection, if the kernel has told it, for it tells it once. On an error
	// there is no such descriptor to be had, and id goes on as before.
	Detach(id ID) (fd int, err error)

	// Poll submits what was asked for, waits for something to happen, but
	// no longer than wait (for ever if it is negative), and reports it.
	// It alone may block. An error means that the driver cannot go on.
	Poll(wait time.Duration) error

	// Wake ends the Poll in progress or else the next one. Any goroutine
	// may call it at any time, also during and after Close.
	Wake()

	// Now is the driver's clock: the time since a fixed moment. It never
	// goes back.
	Now() time.Duration

	// Counters tells how the driver has used the kernel so far.
	Counters() Counters

	// Close frees the driver. Connections that are still open are closed
	// without a report.
	Close() error
}

// Counters are a driver's since it began. What it has no notion of is 0.
type Counters struct {
	Enters      int64 // system calls that waited, looked or submitted
	Submissions int64 // operations handed to the kernel in them
	Completions int64 // what the kernel reported in them
	Starved     int64 // times that a connection stopped receiving for want of a buffer
	Direct      int64 // connections at present that are no descriptors of the process
	Overflows   int64 // times that the kernel had no room for a report
}

// Sockets is what any goroutine may do with a descriptor of this System, as
// long as the caller keeps it from being closed meanwhile. With one that a driver
// keeps elsewhere (see Driver.Open) less is possible: TryWrite writes nothing,
// Unsent is -1, and the error of TrySendFile and of setting options is
// errors.ErrUnsupported.
type Sockets interface {
	// TryWrite writes what fits at once and never blocks: 0, nil if nothing
	// does. No Send of the same connection may be unanswered.
	TryWrite(fd int, p []byte) (int, error)

	// TrySendFile sends what fits at once of n bytes of f from offset off on,
	// as TryWrite does, and returns how many that were: fewer than n where f
	// ends. It never waits for the peer, but it may for f's disk. The error is
	// io.ErrUnexpectedEOF if f has no byte at off, errors.ErrUnsupported if it
	// has to be done in another way and an *os.PathError if f cannot be read:
	// after these nothing was sent and the connection is as it was. Any other
	// is the connection's, as that of a Send.
	TrySendFile(fd int, f *os.File, off int64, n int) (int, error)

	// Unsent returns how many of the bytes that were sent on fd the peer's
	// kernel has not acknowledged or, over a Unix socket, the peer has not
	// read; 0 where the system does not tell. Only 0 is exact: memory around
	// the bytes may count as well, and an end that is not acknowledged. It
	// means nothing on a connection that broke.
	Unsent(fd int) int

	LocalAddr(fd int) net.Addr
	RemoteAddr(fd int) net.Addr

	// SetNoDelay switches Nagle's algorithm off (true) or on. On a
	// descriptor that is not TCP it does nothing.
	SetNoDelay(fd int, on bool) error

	// SetKeepAlive sets TCP keep-alive to begin after idle, a whole number
	// of seconds or more; 0 switches it off. On a descriptor that is not
	// TCP it does nothing.
	SetKeepAlive(fd int, idle time.Duration) error
}

// System makes the drivers of an engine, one for each loop, and the
// listening descriptors they accept on. Its methods may be called from any
// goroutine.
type System interface {
	// Name is the word by which users choose the driver, such as "epoll".
	Name() string

	// Probe returns nil if the driver can be used here, and otherwise what is
	// missing. The answer does not change.
	Probe() error

	// New makes a driver that reports to h and takes its blocks from pool.
	New(h Events, pool *buffer.Pool) (Driver, error)

	// Listen makes a listening descriptor. With ReusePort several may share
	// an address, each with a queue of its own. The error says what is
	// wrong with which address, or is that of a ctx that has ended.
	Listen(ctx context.Context, network, address string, o ListenOptions) (fd int, addr net.Addr, err error)

	// Adopt makes a listening descriptor of l, a *net.TCPListener or a
	// *net.UnixListener of network "unix". o.ReusePort means nothing here, and
	// the other options hold where the system allows them for l's socket. l
	// remains the caller's, who may not use it before CloseListener and closes
	// it after that. The error is errors.ErrUnsupported where descriptors are
	// not the system's.
	Adopt(l net.Listener, o ListenOptions) (fd int, err error)

	// File makes a file of a descriptor that Detach left open or that was
	// accepted and never opened; the file owns it from then on. On an error,
	// which is errors.ErrUnsupported where there are no files, fd is closed.
	File(fd int) (*os.File, error)

	// CloseListener closes what Listen made, and removes a Unix socket's
	// file, or gives up what Adopt made. No driver may be listening on it.
	CloseListener(fd int) error
}

// ListenOptions are what a listener's connections begin with.
type ListenOptions struct {
	ReusePort bool          // SO_REUSEPORT
	NoDelay   bool          // TCP_NODELAY on every accepted connection
	KeepAlive time.Duration // as in SetKeepAlive; 0 means off
}
