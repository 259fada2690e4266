//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package reactor

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// recorder is a kernel that only keeps book, and refuses one filter.
type recorder struct {
	watched map[string]bool
	refuses filter
}

var errFull = errors.New("no memory for filters")

func (r *recorder) kevent(changes, _ []kevent, _ time.Duration) (int, error) {
	for _, c := range changes {
		name := fmt.Sprint(c.fd, c.filter)
		switch {
		case c.remove && !r.watched[name]:
			return 0, errors.New("no such filter")
		case c.remove:
			delete(r.watched, name)
		case c.filter == r.refuses && !r.watched[name]:
			return 0, errFull
		default:
			r.watched[name] = true
		}
	}
	return 0, nil
}

func TestRefusedChangeLeavesTheFiltersAsTheyWere(t *testing.T) {
	for _, refuses := range []filter{filterRead, filterWrite} {
		for _, had := range []interest{0, readable, writable} {
			for _, want := range []interest{readable, writable, readable | writable} {
				kernel := &recorder{watched: map[string]bool{}, refuses: filterUser}
				k := &kqueue{kevent: kernel.kevent}
				if err := k.add(5, 0, had); err != nil {
					t.Fatal(err)
				}
				before := names(kernel)
				kernel.refuses = refuses
				err := k.modify(5, 0, had, want)
				if err == nil {
					continue // the refused filter was not asked for
				}
				if err != errFull || !slices.Equal(names(kernel), before) {
					t.Errorf("from %b to %b: %v left %v, want %v", had, want, err, names(kernel), before)
				}
			}
		}
	}
}

func names(r *recorder) (all []string) {
	for name := range r.watched {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
