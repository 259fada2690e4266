package load

import (
	"context"
	"errors"
	"sync"
	"time"
)

// crowd keeps a server busy by a goroutine for each connection: what clients that
// block need.
type crowd struct {
	lanes []*lane

	mu     sync.Mutex // guards what follows
	ending bool       // true exactly when no new exchange is to begin
	talk   *messages
	meter
}

func newCrowd(cfg Config) *crowd { return &crowd{talk: newMessages(cfg), meter: newMeter(cfg)} }

// lane is one goroutine's.
type lane struct {
	c        *crowd
	exchange func(ctx context.Context, question []byte) error // makes one, and compares
	number   uint32
	seq      uint32
	question []byte
	began    time.Duration

	pause      time.Duration // before each exchange but the first
	unmeasured bool          // true exactly when only its errors count
}

// add adds a lane, whose first exchange it makes.
func (c *crowd) add(exchange func(ctx context.Context, question []byte) error) error {
	l := &lane{c: c, exchange: exchange, number: uint32(len(c.lanes)), question: make([]byte, c.cfg.Size)}
	c.lanes = append(c.lanes, l)
	l.next()
	ctx, cancel := context.WithTimeout(context.Background(), connectTimeout)
	defer cancel()
	return l.exchange(ctx, l.question)
}

// run calls ready, as Loop does, and keeps all lanes busy.
func (c *crowd) run(ready func() error) (Result, error) {
	if err := ready(); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var lanes sync.WaitGroup
	for _, l := range c.lanes {
		lanes.Go(func() { l.keepOn(ctx) })
	}
	err := c.measure()
	defer time.AfterFunc(patience, cancel).Stop()
	lanes.Wait()
	return c.conclude(), err
}

// measure lets the exchanges go on for the warm-up and the measured time and then
// lets them end.
func (c *crowd) measure() error {
	time.Sleep(c.cfg.WarmUp)
	c.mu.Lock()
	err := c.begin()
	c.mu.Unlock()
	time.Sleep(c.before.at + c.cfg.Measure - c.now())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ending = true
	return errors.Join(err, c.end())
}

// keepOn makes exchanges until the end, or one that fails.
func (l *lane) keepOn(ctx context.Context) {
	for time.Sleep(l.pause); l.next(); time.Sleep(l.pause) {
		err := l.exchange(ctx, l.question)
		if ctx.Err() != nil {
			err = errNoAnswer
		}
		if !l.done(err) {
			return
		}
	}
}

// next prepares the next exchange and tells whether it is to be made.
func (l *lane) next() bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	l.seq++
	copy(l.question, l.c.talk.lend(l.number, l.seq))
	l.c.talk.giveBack()
	l.began = l.c.now()
	return !l.c.ending
}

// done notes how the exchange ended and tells whether to go on.
func (l *lane) done(err error) bool {
	l.c.mu.Lock()
	defer l.c.mu.Unlock()
	if err != nil {
		l.c.count(err)
		return false
	}
	if !l.unmeasured {
		l.c.record(l.began, 1)
	}
	return true
}
