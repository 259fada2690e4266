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
// returned, its client is gone or the parent is cancelled. Most handlers ask for
// neither Done nor a context that derives from it, so what can be waited for is
// made when it is asked for.
type requestContext struct {
	parent context.Context
	c      sluice.Conn

	mu       sync.Mutex
	inner    context.Context // nil until it is needed
	end      context.CancelFunc
	canceled bool
}

var _ context.Context = (*requestContext)(nil)

func (c *requestContext) Deadline() (time.Time, bool) { return c.parent.Deadline() }

// Done makes the context that can be waited for. Package context calls it
// before it looks, by Value, for one of its own to derive from, which spares it
// a goroutine.
func (c *requestContext) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.inner == nil {
		c.inner, c.end = context.WithCancel(c.parent)
		if c.canceled {
			c.end()
		}
	}
	return c.inner.Done()
}

func (c *requestContext) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.inner != nil:
		return c.inner.Err()
	case c.canceled:
		return context.Canceled
	}
	return c.parent.Err()
}

// Value adds what net/http promises under http.LocalAddrContextKey.
func (c *requestContext) Value(key any) any {
	if key == http.LocalAddrContextKey {
		return c.c.LocalAddr()
	}
	c.mu.Lock()
	from := c.inner
	c.mu.Unlock()
	if from == nil {
		from = c.parent
	}
	return from.Value(key)
}

// cancel ends the context. Only the first call counts.
func (c *requestContext) cancel() {
	c.mu.Lock()
	end := c.end
	c.canceled = true
	c.mu.Unlock()
	if end != nil {
		end()
	}
}
