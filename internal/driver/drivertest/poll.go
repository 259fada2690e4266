package drivertest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

func pollZero(r *rig) {
	for range 100 {
		r.polls(0)
	}
	r.connect()
	for range 100 {
		r.polls(0)
	}
}

func pollWait(r *rig) {
	for _, wait := range []time.Duration{1, time.Microsecond, 400 * time.Microsecond, 3 * time.Millisecond} {
		r.polls(wait)
	}
}

func wakeBlocked(r *rig) {
	for i := range 20 {
		d := r.d
		time.AfterFunc(time.Duration(i%4)*time.Millisecond, d.Wake)
		r.polls(-1)
	}
}

func wakeBefore(r *rig) {
	r.settle()
	r.d.Wake()
	r.polls(-1)
	for range 5 {
		r.d.Wake()
	}
	r.polls(-1)
	r.settle()
	r.d.Wake()
	r.polls(-1)
}

func wakeMany(r *rig) {
	d := r.d
	var counted atomic.Int64
	var wakers sync.WaitGroup
	for range 8 {
		wakers.Go(func() {
			for range 200 {
				counted.Add(1)
				d.Wake()
			}
		})
	}
	r.until("all have woken", func() bool { return counted.Load() == 8*200 })
	wakers.Wait()
	var closing atomic.Bool
	for range 4 {
		wakers.Go(func() {
			for !closing.Load() {
				d.Wake()
			}
			for range 100 {
				d.Wake()
			}
		})
	}
	r.polls(-1)
	r.closeDriver()
	closing.Store(true)
	wakers.Wait()
}

func nowMonotone(r *rig) {
	first := r.d.Now()
	last := first
	for i := range 2000 {
		now := r.d.Now()
		if now < last {
			r.t.Fatalf("Now went from %v back to %v", last, now)
		}
		last = now
		if i%500 == 0 {
			r.polls(2 * time.Millisecond)
		}
	}
	if last == first {
		r.t.Error("Now stands still")
	}
}

// refused wants err to be what the driver says that keeps descriptors elsewhere.
func refused(r *rig, err error) error {
	if r.f.Opaque && errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return fmt.Errorf("an option: %w", err)
}

func socketsOptions(r *rig) {
	c, p := r.connect()
	if got := r.d.LocalAddr(c.fd); got == nil || got.String() != r.addr.String() {
		r.t.Errorf("LocalAddr is %v, want %v", got, r.addr)
	}
	if got := r.d.RemoteAddr(c.fd); got == nil || got.Network() != p.LocalAddr().Network() {
		r.t.Errorf("RemoteAddr is %v, want %v", got, p.LocalAddr())
	} else if got.String() != p.LocalAddr().String() && !r.unix() {
		r.t.Errorf("RemoteAddr is %v, want %v", got, p.LocalAddr())
	}
	r.during("another goroutine sets options", func() error {
		for _, on := range []bool{false, true} {
			if err := r.d.SetNoDelay(c.fd, on); err != nil || r.f.Opaque {
				return refused(r, err)
			}
		}
		for _, idle := range []time.Duration{30 * time.Second, 90*time.Second + 1, 0} {
			if err := r.d.SetKeepAlive(c.fd, idle); err != nil {
				return err
			}
		}
		return nil
	})
	r.exchange(c, p, "hello")
}
