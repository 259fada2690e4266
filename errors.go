package sluice

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// Errors that methods return or that OnClose is given. Each is to be found
// with errors.Is; those that mean a closed connection also match
// net.ErrClosed, those that mean a passed deadline os.ErrDeadlineExceeded.
var (
	// ErrClosed is returned by every method of a connection that was closed,
	// of its listener and of its engine likewise.
	ErrClosed = fmt.Errorf("sluice: %w", net.ErrClosed)

	// ErrWriteClosed is returned by a write after CloseWrite. It does not
	// match net.ErrClosed: the connection is open.
	ErrWriteClosed = errors.New("sluice: write after CloseWrite")

	// ErrWriteLimit is returned by a write that would make more bytes wait
	// than Config.WriteLimit allows. Nothing of that write was queued.
	ErrWriteLimit = errors.New("sluice: too many bytes wait to be sent; wait for OnDrain or raise Config.WriteLimit")

	// ErrReadLimit is what OnClose is given when OnData left more bytes
	// unread than Config.ReadLimit allows.
	ErrReadLimit = errors.New("sluice: too many received bytes left unread; raise Config.ReadLimit or read them")

	// ErrAborted is what OnClose is given after Abort.
	ErrAborted = errors.New("sluice: connection aborted")

	// ErrDetached is what OnClose is given after Detach.
	ErrDetached = errors.New("sluice: connection detached from its engine")

	// ErrEngineClosed is returned when the engine has been closed, and is
	// what OnClose is given when that ended the connection.
	ErrEngineClosed = fmt.Errorf("sluice: engine closed: %w", net.ErrClosed)

	// ErrIdleTimeout is what OnClose is given when no byte came or left for
	// the connection's idle timeout.
	ErrIdleTimeout = fmt.Errorf("sluice: idle for too long (Config.IdleTimeout, SetIdleTimeout): %w", os.ErrDeadlineExceeded)

	// ErrReadTimeout is what OnClose is given when the read deadline passed.
	ErrReadTimeout = fmt.Errorf("sluice: read deadline passed: %w", os.ErrDeadlineExceeded)

	// ErrWriteTimeout is what OnClose is given when the write deadline passed
	// while bytes waited, and what a write after it returns.
	ErrWriteTimeout = fmt.Errorf("sluice: write deadline passed: %w", os.ErrDeadlineExceeded)

	// ErrLingerTimeout is what OnClose is given when the peer took nothing for
	// Config.LingerTimeout of what was written before Close.
	ErrLingerTimeout = fmt.Errorf("sluice: the peer did not take in time what was written (Config.LingerTimeout): %w", os.ErrDeadlineExceeded)
)

// PanicError is what OnClose is given when a callback panicked. The panic
// cost that connection only; the engine logged it with its stack.
type PanicError struct {
	Callback string // such as "OnData"
	Value    any    // what was given to panic
}

// Error names the callback and the value.
func (e *PanicError) Error() string {
	return fmt.Sprintf("sluice: panic in %s: %v", e.Callback, e.Value)
}

// Unwrap returns the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
