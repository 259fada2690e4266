package checks

import (
	"bufio"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/child"
)

// What the child says, and what it is asked, with the word of the answer.
const (
	saidListening = "listening" // with the size of the receive buffer, in bytes
	saidSunk      = "sunk"      // with the bytes that a session sank and whether they were right

	askFD    = "fd"    // which descriptor has this peer
	askStale = "stale" // call the kept methods, and say what they change at this descriptor
	askWakes = "wakes" // how often did a connection wake itself

	noFD = "none"
)

// stoppedServing follows the server's name in the error of Serve.
const stoppedServing = " stopped serving"

// fdLimit is where the search for descriptors ends. A server that is checked
// has few.
const fdLimit = 1024

// Setup says how a child serves.
type Setup struct {
	Server        string
	Network, Addr string // "tcp" or "unix"
	Files         uint64 // descriptors, 0 for as many as there are
	ReceiveBuffer int    // bytes, 0 for the system's choice
}

// Serve is a server that is checked, in a process of its own: it does not
// return but with an error.
func Serve(s Setup) error {
	l, err := find(s.Server)
	if err != nil {
		return err
	}
	if s.Network == "tcp" {
		addr, err := netip.ParseAddrPort(s.Addr)
		if err != nil {
			return err
		}
		if !addr.Addr().IsLoopback() {
			return fmt.Errorf("%s is not a loopback address", s.Addr)
		}
	}
	if s.Files > 0 {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: s.Files, Max: s.Files}); err != nil {
			return fmt.Errorf("limit descriptors: %w", err)
		}
	}
	go converse(s)
	if err := l.serve(s.Network, s.Addr); err != nil {
		return fmt.Errorf("%s%s: %w", s.Server, stoppedServing, err)
	}
	return errors.New(s.Server + stoppedServing + " without an error")
}

// converse waits until the server listens, says so, and answers what the
// parent asks.
func converse(s Setup) {
	size, ok := 0, false
	for !ok {
		time.Sleep(time.Millisecond)
		size, ok = tune(s.ReceiveBuffer)
	}
	child.Say(saidListening, strconv.Itoa(size))
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		word, arg, _ := strings.Cut(in.Text(), " ")
		switch word {
		case askFD:
			child.Say(askFD, fdOf(arg))
		case askStale:
			child.Say(askStale, callKept(arg))
		case askWakes:
			child.Say(askWakes, strconv.FormatInt(wakes.Load(), 10))
		}
	}
}

// tune gives the listening sockets of this process a receive buffer, which
// what they accept inherits, as if the system's default were this: not every
// library has an option for it. It returns the size of one and whether there
// is any.
func tune(size int) (got int, found bool) {
	for fd := range fdLimit {
		if on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || on == 0 {
			continue
		}
		if size > 0 && unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size) // got tells what came of it
		}
		got, _ = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
		got /= 2 // the system doubles what it is given, for its own bookkeeping
		found = true
	}
	return got, found
}

// fdOf returns the descriptor whose peer has this address.
func fdOf(peer string) string {
	for fd := range fdLimit {
		sa, err := unix.Getpeername(fd)
		if err != nil {
			continue
		}
		if in, ok := sa.(*unix.SockaddrInet4); ok && netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)).String() == peer {
			return strconv.Itoa(fd)
		}
		if in, ok := sa.(*unix.SockaddrInet6); ok && netip.AddrPortFrom(netip.AddrFrom16(in.Addr).Unmap(), uint16(in.Port)).String() == peer {
			return strconv.Itoa(fd)
		}
	}
	return noFD
}

// callKept calls the methods of the kept handle and returns what they changed
// at a descriptor that is not theirs any more.
func callKept(arg string) string {
	fd, err := strconv.Atoi(arg)
	if err != nil {
		return err.Error()
	}
	keptMu.Lock()
	defer keptMu.Unlock()
	var changes []string
	for _, m := range kept {
		before := stateOf(fd)
		m.call() // an error is what it should return
		time.Sleep(callTime)
		for i, v := range stateOf(fd) {
			if v != before[i] {
				changes = append(changes, fmt.Sprintf("%s: %s from %d to %d", m.name, options[i].name, before[i], v))
			}
		}
	}
	return strings.Join(changes, ", ")
}

// callTime is for a loop to carry out what a method asks it for.
const callTime = 20 * time.Millisecond

// options are what callKept compares: what stays the same on a connection that
// is left alone.
var options = []struct {
	name string
	get  func(fd int) (int, error)
}{
	{"TCP_NODELAY", option(unix.IPPROTO_TCP, unix.TCP_NODELAY)},
	{"SO_KEEPALIVE", option(unix.SOL_SOCKET, unix.SO_KEEPALIVE)},
	{"TCP_KEEPIDLE", option(unix.IPPROTO_TCP, unix.TCP_KEEPIDLE)},
	{"TCP_KEEPINTVL", option(unix.IPPROTO_TCP, unix.TCP_KEEPINTVL)},
	{"SO_LINGER", func(fd int) (int, error) {
		l, err := unix.GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
		if err != nil || l.Onoff == 0 {
			return -1, err
		}
		return int(l.Linger), nil
	}},
	{"the TCP state", func(fd int) (int, error) {
		info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return -1, err
		}
		return int(info.State), nil
	}},
}

func option(level, name int) func(fd int) (int, error) {
	return func(fd int) (int, error) { return unix.GetsockoptInt(fd, level, name) }
}

// stateOf returns the values of options, -1 for one that has none.
func stateOf(fd int) []int {
	state := make([]int, len(options))
	for i, o := range options {
		v, err := o.get(fd)
		if err != nil {
			v = -1
		}
		state[i] = v
	}
	return state
}

// isReset tells whether the peer ended a connection without order.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
