package httpd

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/sluice-go/sluice"
)

// serverContext is what the contexts of a service's requests derive from.
type serverContext struct {
	context.Context // BaseContext's
	std             *http.Server
}

// Value adds what net/http promises under http.ServerContextKey.
func (c *serverContext) Value(key any) any {
	if key == http.ServerContextKey {
		return c.std
	}
	return c.Context.Value(key)
}

// requestContext is the context of one request: cancelled when its handler has
// returned, its client is gone or the parent is cancelled. It costs nothing
// until somebody asks for Done.
type requestContext struct {
	parent context.Context
	c      sluice.Conn

	mu    sync.Mutex
	done  chan struct{} // nil until asked for
	err   error
	funcs map[*func()]struct{} // AfterFunc's
	stop  func() bool          // ends the watch on parent
}

var _ context.Context = (*requestContext)(nil)

func (c *requestContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Value adds what net/http promises under http.LocalAddrContextKey.
func (c *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return c.c.LocalAddr()
	}
	return c.parent.Value(key)
}

func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.done == nil {
		c.done = make(chan struct{})
		if c.err != nil {
			close(c.done)
		}
		c.watch()
	}
	return c.done
}

// watch has the parent's end cancel c, with mu held.
func (c *requestContext) watch() {
	if c.stop == nil && c.err == nil && c.parent.Done() != nil {
		c.stop = context.AfterFunc(c.parent, func() { c.cancel(c.parent.Err()) })
	}
}

func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return c.parent.Err()
	}
	return c.err
}

// AfterFunc has f called when the context is cancelled. Package context looks
// for this method, which spares it a goroutine for each context derived from
// this one; what it passes does not block.
func (c *requestContext) AfterFunc(f func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		go f()
		return func() bool { return false }
	}
	if c.funcs == nil {
		c.funcs = map[*func()]struct{}{}
	}
	key := &f
	c.funcs[key] = struct{}{}
	c.watch()
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		_, there := c.funcs[key]
		delete(c.funcs, key)
		return there
	}
}

// cancel ends the context. Only the first call counts.
func (c *requestContext) cancel(err error) {
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return
	}
	c.err = err
	if c.done != nil {
		close(c.done)
	}
	funcs, stop := c.funcs, c.stop
	c.funcs, c.stop = nil, nil
	c.mu.Unlock()
	if stop != nil {
		stop()
	}
	for f := range funcs {
		(*f)()
	}
}
