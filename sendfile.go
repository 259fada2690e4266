package sluice

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// sendFileMax bounds one SendFile: a peer that reads as fast as it is sent to
// does not keep what else was asked of the connection waiting for long.
const sendFileMax = 4 << 20

// SendFile sends, from the calling goroutine, what the kernel takes at once of n
// bytes of f beginning at off, without a copy through this process, and returns
// how many those were, at most 4 MiB. f's own position is neither used nor moved.
//
// It sends nothing and returns 0 and nil while bytes wait to be sent, while
// another SendFile of c is under way and when the kernel has no room. Then Write
// the next few bytes of f, which wait until there is room again: with
// SetWaterMarks(0, 0, limit), AboveHighWater is true until they have left and
// OnDrain says so. Bytes written by others during SendFile follow its own.
//
// An error is one of Write's; or io.ErrUnexpectedEOF if f has no byte at off,
// errors.ErrUnsupported if the driver, the system or f's kind does not allow it,
// so that f is to be read and written instead, or an *os.PathError if f cannot
// be read. After these three nothing was sent and the connection is as it was.
//
// What is not in memory is read from f's disk meanwhile, so SendFile is for
// offloaded jobs and other goroutines, not for callbacks. Until it has returned,
// the connection does not end.
func (c Conn) SendFile(f *os.File, off, n int64) (int64, error) {
	if f == nil || off < 0 || n < 0 {
		return 0, fmt.Errorf("sluice: SendFile of a file that is nil, or of %d bytes at %d: %w", n, off, os.ErrInvalid)
	}
	s, err := c.writable(0)
	if err != nil {
		return 0, err
	}
	if s.flags&flagTLS != 0 {
		s.mu.Unlock()
		return 0, fmt.Errorf("sluice: SendFile over TLS: %w", errors.ErrUnsupported)
	}
	if n == 0 || s.pending > 0 || s.flags&flagSending != 0 {
		s.mu.Unlock()
		return 0, nil
	}
	// To the rest of the package this is a Send that is unanswered: what is
	// written meanwhile waits, and so do CloseWrite and Close.
	s.flags |= flagSending | flagFile
	fd, l := int(s.fd), c.ch.loop
	s.mu.Unlock()
	k, err := l.drv.TrySendFile(fd, f, off, int(min(n, sendFileMax)))
	s.mu.Lock() // it is still this connection's
	s.flags &^= flagSending | flagFile
	if k > 0 {
		l.bytesDirect.Add(int64(k))
		s.acted(l.time())
	}
	if err != nil && !ofFile(err) && s.state == stateOpen {
		c.writeFailed(s, err)
	}
	if err == nil && s.state == stateOpen && s.pending == 0 && s.flags&(flagFinWanted|flagDetach) == 0 {
		s.mu.Unlock() // nothing has waited for this
	} else {
		c.notify(s)
	}
	return int64(k), err
}

// ofFile reports whether an error of TrySendFile leaves the connection as it
// was.
func ofFile(err error) bool {
	var file *os.PathError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errors.ErrUnsupported) || errors.As(err, &file)
}
