// Package drivertest states the contract of package driver as tests. Every
// driver runs the same suite: each subtest is one clause, named after it, and
// the rig beneath them checks in passing what holds always (nothing is
// reported outside Poll, while paused, after Closed, and so on).
//
// The suite looks at a driver only through its contract and at the other end
// only through net.Conn, so it serves drivers without real descriptors too.
package drivertest

import (
	"net"
	"testing"

	"github.com/sluice-go/sluice/internal/driver"
)

// Fixture is one driver and the outside world that its connections lead to.
// The hooks below the line are optional: without one, the clause that needs
// it is skipped.
type Fixture struct {
	System driver.System

	// Network and Address are given to System.Listen, such as "tcp" and
	// "127.0.0.1:0". With a network whose name begins with "unix" nothing is
	// expected of resets, which Unix sockets do not know.
	Network, Address string

	// Dial makes an outside peer of a listener of the System. The
	// connection must have a method CloseWrite() error. It may block until
	// the driver is polled.
	Dial func(addr net.Addr) (net.Conn, error)

	// Listen makes an outside server for Driver.Dial.
	Listen func() (net.Listener, error)

	// Reset ends a peer so that the driver's side sees a reset.
	Reset func(net.Conn)

	// ------------------------------------------------------------------

	// FailAccept makes accepting fail, as for want of descriptors, until
	// restore is called.
	FailAccept func(t *testing.T) (restore func())

	// Descriptors counts the open descriptors of this process.
	Descriptors func() int

	// TellsUnsent is true exactly when Unsent must not always return 0.
	TellsUnsent bool

	// Opaque is true exactly when the driver keeps descriptors elsewhere.
	Opaque bool

	// SendsFiles is true exactly when TrySendFile must not be unsupported.
	SendsFiles bool
}

// clauses are the subtests in the order of the contract.
var clauses = []struct {
	name string
	test func(*rig)
}{
	{"every connection is accepted once", acceptedOnce},
	{"accepting survives a crowd at the door", acceptCrowd},
	{"an accepted descriptor may open on another driver of the System", openElsewhere},
	{"no Accepted follows Unlisten", unlistenStops},
	{"Unlisten of what does not listen does nothing", unlistenUnknown},
	{"a listener's name is free once Unlisten returned", listenAgain},
	{"an accept error ends accepting and Listen starts it again", acceptFails},
	{"a peer that gave up before it was accepted is no error", acceptAborted},

	{"bytes are received in order and EOF after the last", receivedInOrder},
	{"lent bytes stay as they are while their block is retained", receivedRetained},
	{"nothing is received while paused and Resume loses nothing", pauseLosesNothing},
	{"Pause inside Received stops the flow at once", pauseInside},
	{"EOF waits for Resume", pausedEOF},
	{"Pause and Resume may be repeated", pauseRepeated},
	{"a reset is received as an error", receivedReset},
	{"sending works after EOF", sendAfterEOF},
	{"one flood does not starve the other connections", floodStarvesNobody},
	{"a peer that has gone does not keep Poll awake", endedPeerIsQuiet},

	{"a small Send leaves at once or is answered", sendSmall},
	{"8 MiB in partial sends arrive intact", sendLarge},
	{"a Send of thousands of pieces arrives in order", sendPieces},
	{"a Send of nothing is nothing", sendNothing},
	{"a Send is answered while paused", sendWhilePaused},
	{"both directions flow at the same time", sendBothWays},
	{"sending to a peer that reset ends in an error", sendReset},
	{"an unanswered Send learns that the peer reset", sendResetUnanswered},
	{"CloseWrite is seen by the peer and receiving goes on", closeWrite},

	{"Connected reports success and bytes flow both ways", dialSuccess},
	{"Connected reports a refusal and id is forgotten", dialRefused},
	{"Connected reports an address that cannot be dialled", dialUnknown},
	{"Shut before Connected leaves only Closed", dialShut},

	{"Closed follows Shut exactly once and never from inside", shutOnce},
	{"Closed waits for nothing from outside", shutPolls},
	{"Shut during an unanswered Send leaves only Closed", shutUnanswered},
	{"Shut inside Received ends the connection", shutInside},
	{"Shut of another connection in the same batch silences it", shutOther},
	{"what was sent before Shut arrives", shutDelivers},
	{"abort is seen as a reset", shutAborts},
	{"an id used again does not see old events", idReuse},
	{"a descriptor number used again in the same batch does not see old events", descriptorReuse},
	{"Detach leaves a working descriptor", detachWorks},
	{"a file owns the descriptor that Detach left", fileOwns},
	{"File gets rid of a descriptor that was never opened", fileOfUnopened},
	{"Close closes what is open", closeCloses},

	{"Poll of zero does not block", pollZero},
	{"Poll waits no longer than it was told", pollWait},
	{"Wake ends the Poll in progress", wakeBlocked},
	{"a Wake before Poll is not lost", wakeBefore},
	{"Wake works from many goroutines, also during and after Close", wakeMany},
	{"Now never goes back", nowMonotone},
	{"Sockets tells addresses and sets options", socketsOptions},
	{"TryWrite writes what fits and never blocks", tryWrite},
	{"TrySendFile sends what fits of a file and never waits for the peer", trySendFile},
	{"TrySendFile tells the file's errors from the connection's", trySendFileErrors},
	{"Unsent counts what the peer has not got", unsent},
	{"Adopt accepts on a listener made elsewhere and leaves it open", adopt},
	{"Listen says what is wrong with which address", listenError},

	{"many connections at once stay apart", storm},
}

// Run runs the suite. It calls fixture once for every clause.
func Run(t *testing.T, fixture func(t *testing.T) Fixture) {
	for _, c := range clauses {
		t.Run(c.name, func(t *testing.T) {
			c.test(newRig(t, fixture(t)))
		})
	}
}
