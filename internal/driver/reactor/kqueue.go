//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// kqueue is the poller over kqueue(2). What a system's own kevent(2) looks
// like is hidden behind three functions, so that this logic is compiled, and
// tested over a double of them, on Linux too.
//
// The end of a stream (EV_EOF) needs no care here: it makes a descriptor
// ready like bytes do, and reading finds it behind the last of them.
type kqueue struct {
	// kevent applies changes, or if there are none, waits for events as
	// poller.wait does.
	kevent func(changes, events []kevent, wait time.Duration) (int, error)
	// trigger makes filterUser fire. Any goroutine may call it.
	trigger func()
	free    func() error

	changes []kevent
	events  []kevent
	// tokens are by descriptor. The kernel could keep them, but in a field
	// that is a pointer on some systems. Events are given their tokens
	// before anybody is told of the first one, hence an event never takes
	// the token of a descriptor's next user.
	tokens []token
}

// kevent is a change asked of the kernel, or an event of it.
type kevent struct {
	fd     int
	filter filter
	remove bool // true exactly in a change that ends watching
}

// filter is what a kevent is about.
type filter uint8

const (
	filterRead filter = iota
	filterWrite
	filterUser // the wake
)

func (k *kqueue) add(fd int, t token, want interest) error {
	if n := fd + 1 - len(k.tokens); n > 0 {
		k.tokens = append(k.tokens, make([]token, n)...)
	}
	k.tokens[fd] = t
	return k.modify(fd, t, 0, want)
}

func (k *kqueue) modify(fd int, _ token, had, want interest) error {
	err := k.change(fd, had, want)
	if err != nil {
		// Whichever of the changes was made, had is to hold again. What
		// is there may be added once more.
		_ = k.change(fd, want&^had, 0)
		_ = k.change(fd, 0, had)
	}
	return err
}

// again has nothing to do: a filter reports as long as it is ready.
func (k *kqueue) again(int, token, interest) error { return nil }

func (k *kqueue) remove(fd int, had interest) error {
	return k.change(fd, had, 0)
}

// change asks the kernel for what makes want of had.
func (k *kqueue) change(fd int, had, want interest) error {
	k.changes = k.changes[:0]
	if (had^want)&readable != 0 {
		k.changes = append(k.changes, kevent{fd, filterRead, want&readable == 0})
	}
	if (had^want)&writable != 0 {
		k.changes = append(k.changes, kevent{fd, filterWrite, want&writable == 0})
	}
	if len(k.changes) == 0 {
		return nil
	}
	_, err := k.kevent(k.changes, nil, 0)
	return err
}

func (k *kqueue) wait(events []event, wait time.Duration) (int, error) {
	if len(k.events) < len(events) {
		k.events = make([]kevent, len(events))
	}
	n, err := k.kevent(nil, k.events[:len(events)], wait)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return 0, nil
		}
		return 0, err
	}
	filled := 0
	for _, e := range k.events[:n] {
		switch e.filter {
		case filterRead:
			events[filled] = event{k.tokens[e.fd], readable}
		case filterWrite:
			events[filled] = event{k.tokens[e.fd], writable}
		default:
			continue
		}
		filled++
	}
	return filled, nil
}

func (k *kqueue) wake() { k.trigger() }

func (k *kqueue) close() error { return k.free() }
