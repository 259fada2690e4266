//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import "time"

// interest is what a descriptor is watched for, or found ready for.
type interest uint8

const (
	readable interest = 1 << iota
	writable

	// behind is only found: behind the bytes there is an end, an error or
	// urgent data, at which a read stops short.
	behind
)

// event is one report of a poller: token as it was given for the descriptor,
// and what the descriptor is ready for. A descriptor that is broken or has
// ended is ready for everything, so that the next call on it finds out. One
// descriptor may have several events in a batch.
type event struct {
	token token
	ready interest
}

// poller is the kernel's readiness interface. It may report once what a
// descriptor is ready for, and then only what comes anew: bytes, room, an end.
// Who does not use all of what was reported calls again. What has a token that
// says level is reported as long as it is ready. All methods but wake are
// called by the loop's goroutine.
type poller interface {
	// add begins to watch fd, which is not watched, for want.
	add(fd int, t token, want interest) error

	// modify changes what fd is watched for from had to want. Neither is
	// empty. What fd is ready for is reported anew.
	modify(fd int, t token, had, want interest) error

	// again has what fd is ready for reported anew, if it still is. It is
	// watched for want.
	again(fd int, t token, want interest) error

	// remove ends watching fd, which is still open. No event of a later
	// wait has its token.
	remove(fd int, had interest) error

	// wait fills events with what is ready and returns how many it filled.
	// It waits until there is something, until wake, or until wait is over;
	// for ever if wait is negative. It may also return early with nothing.
	wait(events []event, wait time.Duration) (int, error)

	// wake ends the wait in progress or else the next one. It may be called
	// from any goroutine until close.
	wake()

	close() error
}

// token is what an event says about whom it is for: the number of the
// connection or listener, and which of its users in turn.
type token uint64

const (
	// listenerBit is set exactly in the tokens of listeners.
	listenerBit token = 1 << 63
	// levelBit is set exactly in the tokens of connections on which a short
	// read does not mean that there is no more. They are to be reported as
	// long as they are ready.
	levelBit token = 1 << 62
)

// generationMask keeps a generation clear of those bits.
const generationMask = 1<<30 - 1

func newToken(id uint32, generation uint32) token {
	return token(generation)<<32 | token(id)
}

func (t token) id() uint32         { return uint32(t) }
func (t token) generation() uint32 { return uint32(t>>32) & generationMask }
func (t token) listener() bool     { return t&listenerBit != 0 }
func (t token) level() bool        { return t&(listenerBit|levelBit) != 0 }
