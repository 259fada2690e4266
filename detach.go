package sluice

import (
	"errors"
	"fmt"
	"os"

	"github.com/sluice-go/sluice/internal/driver"
)

// Detach takes the descriptor away from the engine, once what was written has
// been sent. fn is called on the loop with a file over the descriptor, which
// is the caller's to close, and the received bytes that OnData left unread;
// net.FileConn makes a net.Conn of the file. Before it, OnClose is called with
// ErrDetached. If the connection ends first, fn is called with the cause; if it
// breaks meanwhile, after OnClose with ErrDetached.
func (c Conn) Detach(fn func(f *os.File, unread []byte, err error)) error {
	s, err := c.lockOpen()
	if err != nil {
		return err
	}
	if s.flags&flagTLS != 0 {
		s.mu.Unlock()
		return errDetachTLS
	}
	a := c.act()
	if fn == nil || a.detach != nil || a.view != nil {
		s.mu.Unlock()
		return errors.New("sluice: Detach with a nil function, or after Detach or NetConn")
	}
	a.detach = fn
	s.flags |= flagDetach
	c.notify(s)
	return nil
}

var errDetachTLS = fmt.Errorf("sluice: Detach of a TLS connection, whose descriptor is of no use without its keys: %w; use NetConn", errors.ErrUnsupported)

// letGo has the driver give the descriptor up, with s locked; it unlocks.
func (l *eventLoop) letGo(ch *chunk, i uint32, s *slot) {
	fd, err := l.drv.Detach(driver.ID(ch.base + i))
	if err != nil {
		ch.conn(i).act().end(err)
		l.shut(ch, i, s, true)
		return
	}
	s.fd = int32(fd)
	ch.conn(i).act().end(ErrDetached)
	l.leaving(ch, i, s)
	s.mu.Unlock() // there is no view to tell
}

// handOut gives a detached descriptor to the user.
func (l *eventLoop) handOut(a *active, fd int) {
	fn, err := a.detach, a.cause
	var f *os.File
	var unread []byte
	if err == ErrDetached {
		f, err = l.eng.sys.File(fd)
		switch {
		case err != nil:
		case a.lost != nil:
			_ = f.Close()
			f, err = nil, a.lost
		default:
			unread = append(unread, a.in.Bytes()...)
		}
	}
	defer l.guard("Detach", Conn{})
	fn(f, unread, err)
}
