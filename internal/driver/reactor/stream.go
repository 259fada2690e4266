//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/sock"
)

// Open implements driver.Driver.
func (r *reactor) Open(id driver.ID, fd int) (int, error) {
	c := r.begin(id, open, fd)
	if fd != r.arriving && sock.Local(fd) {
		c.flow = local
	}
	if err := r.await(id, c, readable); err != nil {
		r.end(c, free)
		r.close(fd, false)
		return -1, err
	}
	return fd, nil
}

// Pause implements driver.Driver. The descriptor may stay registered: only if
// bytes do arrive does that cost a system call to be put right.
func (r *reactor) Pause(id driver.ID) {
	c := r.alive(id)
	c.flow |= paused
	c.want &^= readable
}

// Resume implements driver.Driver.
func (r *reactor) Resume(id driver.ID) {
	c := r.alive(id)
	c.flow &^= paused
	if c.state != open || c.flow&finished != 0 {
		return
	}
	if err := r.await(id, c, readable); err != nil {
		r.reports = append(r.reports, report{id, c.generation, err})
	}
}

// receive reads once. A short read says that there is no more for now unless
// there is something behind it, so nothing is ever read only to find that
// there is nothing.
func (r *reactor) receive(id driver.ID, c *conn, behind bool) {
	p := r.scratch.Bytes()
	n, err := sock.Read(int(c.fd), p)
	switch {
	case n > 0:
		if n == len(p) || behind {
			r.miss(id, c)
		}
		r.events.Received(id, r.scratch, p[:n:n], nil)
		if r.scratch.Shared() {
			r.scratch.Release()
			r.scratch = r.pool.Get(readSize)
		}
	case err == unix.EAGAIN:
	case err == nil:
		r.finish(id, c, io.EOF)
	default:
		r.finish(id, c, os.NewSyscallError("read", err))
	}
}

// finish reports the end of the flow of Received.
func (r *reactor) finish(id driver.ID, c *conn, err error) {
	c.flow |= finished
	c.want &^= readable
	r.loosen(id)
	r.events.Received(id, r.scratch, nil, err)
}

// Send implements driver.Driver.
func (r *reactor) Send(id driver.ID, bufs [][]byte) (int, error) {
	c := r.must(id, open)
	if c.want&writable != 0 {
		panic("reactor: Send while another is unanswered")
	}
	n, rest, err := r.writer.Write(int(c.fd), bufs)
	if err != nil {
		return n, os.NewSyscallError("write", err)
	}
	if rest {
		err = r.await(id, c, writable)
	}
	return n, err
}

// CloseWrite implements driver.Driver.
func (r *reactor) CloseWrite(id driver.ID) {
	c := r.must(id, open)
	// It is refused only if the connection is broken, which reading tells.
	_ = unix.Shutdown(int(c.fd), unix.SHUT_WR)
}
