package load

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func shortBroadcast(addr string, window int) Config {
	cfg := shortWebSocket(addr)
	cfg.Window = window
	return cfg
}

// welcome is what a room says to whom it has taken in.
const welcome = "\x82\x00"

// hall is a room that sends each message to every connection as deliver says.
type hall struct {
	size int // bytes of a message

	// deliver returns what connection to, counted from 0, gets because of message n,
	// counted from 1; nil closes it. mu is held.
	deliver func(to, n int, frame []byte) []byte

	mu      sync.Mutex
	members []net.Conn
	n       int // messages
}

// start returns the address of h, and a Config for it.
func (h *hall) start(t *testing.T, window int) Config {
	if h.size == 0 {
		h.size = 1024
	}
	cfg := shortBroadcast(startPlanted(t, h.serve), window)
	cfg.Size = h.size
	return cfg
}

// count returns how many messages came.
func (h *hall) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

func (h *hall) serve(c net.Conn) {
	in := bufio.NewReader(c)
	if _, err := http.ReadRequest(in); err != nil {
		return
	}
	h.mu.Lock()
	h.members = append(h.members, c)
	h.mu.Unlock()
	io.WriteString(c, rightUpgrade+welcome)
	header := frameHeader(0, h.size)
	question := make([]byte, len(header)+maskSize+h.size)
	for {
		if _, err := io.ReadFull(in, question); err != nil {
			return
		}
		frame := slices.Clone(header)
		mask, masked := question[len(header):][:maskSize], question[len(header)+maskSize:]
		for i, b := range masked {
			frame = append(frame, b^mask[i%maskSize])
		}
		h.send(frame)
	}
}

func (h *hall) send(frame []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	for to, c := range h.members {
		answer := h.deliver(to, h.n, slices.Clone(frame))
		if answer == nil {
			c.Close()
			continue
		}
		c.Write(answer)
	}
}

func TestBroadcastsComeToAllConnections(t *testing.T) {
	for _, window := range []int{1, 8} {
		h := &hall{deliver: func(_, _ int, frame []byte) []byte { return frame }}
		cfg := h.start(t, window)
		r, err := Broadcast(cfg, func() error {
			h.mu.Lock()
			defer h.mu.Unlock()
			if len(h.members) != cfg.Conns || h.n != 0 {
				t.Errorf("%d connections and %d messages when it is ready", len(h.members), h.n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		n := int64(h.count())
		if r.Requests == 0 || r.Errors != 0 || r.Requests > n*int64(cfg.Conns) || r.P50 <= 0 || r.ServerCPU <= 0 {
			t.Errorf("%d deliveries of %d messages, %d errors (%s), p50 %v", r.Requests, n, r.Errors, r.FirstError, r.P50)
		}
		if all := r.Latencies.h.TotalCount(); all == 0 || all > n {
			t.Errorf("%d latencies of %d messages", all, n)
		}
	}
}

// The next message leaves when all connections have the one before, or as many
// before it as are to be under way.
func TestNoMoreBroadcastsAreUnderWayThanAsked(t *testing.T) {
	for _, window := range []int{1, 3} {
		var held []byte
		seen := 0
		h := &hall{}
		h.deliver = func(to, n int, frame []byte) []byte {
			if to != 7 || n > 2*window {
				return frame
			}
			if held = append(held, frame...); n%window > 0 {
				return []byte{} // it waits for the last one
			}
			time.AfterFunc(20*time.Millisecond, func() {
				h.mu.Lock()
				defer h.mu.Unlock()
				seen = max(seen, h.n-n)
				h.members[to].Write(held)
				held = nil
			})
			return []byte{}
		}
		r, err := Broadcast(h.start(t, window), atOnce)
		n := h.count() // after which the test may look at what deliver has set
		if err != nil || r.Errors != 0 || seen != 0 || n <= 2*window {
			t.Errorf("%d at a time: %v, %d messages, %d too many, %d errors (%s)", window, err, n, seen, r.Errors, r.FirstError)
		}
	}
}

func TestFaultsOfBroadcastsAreNoticed(t *testing.T) {
	const faulty = 7 // the connection that gets something else because of message 10
	const alone = "one at a time, "
	var kept []byte
	doubled := func(n int, f []byte) []byte {
		if n == 10 {
			return append(f, f...)
		}
		return f
	}
	for _, tt := range []struct {
		name   string
		change func(n int, frame []byte) []byte
		want   []error // one of them
	}{
		{"nothing wrong", func(_ int, f []byte) []byte { return f }, nil},
		{"lost", func(n int, f []byte) []byte {
			if n == 10 {
				return []byte{}
			}
			return f
		}, []error{errWrong}},
		{"lost, as all behind it", func(n int, f []byte) []byte {
			if n >= 10 {
				return []byte{}
			}
			return f
		}, []error{errNoAnswer}},
		{"doubled", doubled, []error{errWrong, errSurplus}}, // as the next one is under way or not
		{alone + "doubled", doubled, []error{errSurplus}},
		{"reordered", func(n int, f []byte) []byte {
			switch n {
			case 10:
				kept = f
				return []byte{}
			case 11:
				return append(f, kept...)
			}
			return f
		}, []error{errWrong}},
		{"one bit", func(n int, f []byte) []byte {
			if n == 10 {
				f[len(f)-1] ^= 1
			}
			return f
		}, []error{errWrong}},
		{"closed", func(n int, f []byte) []byte {
			if n == 10 {
				return nil
			}
			return f
		}, []error{errClosed}},
		{"a ping", func(n int, f []byte) []byte {
			if n == 10 {
				return append([]byte{0x89, 0}, f...)
			}
			return f
		}, []error{errWrong}},
	} {
		h := &hall{deliver: func(to, n int, frame []byte) []byte {
			if to == faulty {
				return tt.change(n, frame)
			}
			return frame
		}}
		window := 4
		if strings.HasPrefix(tt.name, alone) {
			window = 1
		}
		cfg := h.start(t, window)
		cfg.Measure = 50 * time.Millisecond
		r, err := Broadcast(cfg, atOnce)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		noticed := slices.ContainsFunc(tt.want, func(want error) bool { return r.Errors == 1 && r.FirstError == want.Error() })
		if tt.want == nil && r.Errors != 0 || tt.want != nil && !noticed {
			t.Errorf("%s: %d errors (%s), want %v", tt.name, r.Errors, r.FirstError, tt.want)
		}
		if r.Requests == 0 && !slices.Contains(tt.want, errNoAnswer) {
			t.Errorf("%s: the others get nothing any more", tt.name)
		}
	}
}

func TestAPublisherThatIsClosedEndsTheBroadcasts(t *testing.T) {
	h := &hall{deliver: func(to, n int, frame []byte) []byte {
		if to == publisher && n == 10 {
			return nil
		}
		return frame
	}}
	r, err := Broadcast(h.start(t, 1), atOnce)
	if err != nil || r.Errors != 1 || r.FirstError != errClosed.Error() || h.count() != 10 {
		t.Errorf("%v, %d errors (%s), %d messages", err, r.Errors, r.FirstError, h.count())
	}
}

func TestServersWithoutRoomsAreRefused(t *testing.T) {
	for name, welcome := range map[string]string{"nothing": "", "a text": "\x81\x00", "a message": "\x82\x01x", "two": welcome + welcome} {
		addr := startPlanted(t, func(c net.Conn) {
			in := bufio.NewReader(c)
			if _, err := http.ReadRequest(in); err == nil {
				io.WriteString(c, rightUpgrade+welcome)
			}
		})
		if r, err := Broadcast(shortBroadcast(addr, 1), atOnce); err == nil || !strings.Contains(err.Error(), "handshake") {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
	for name, cfg := range map[string]Config{"no WebSocket": short("127.0.0.1:1"), "no window": shortWebSocket("127.0.0.1:1")} {
		if _, err := Broadcast(cfg, atOnce); err != errNoRoom {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A message that the publisher's socket does not hold leaves in parts.
func TestLongBroadcastsComeToAllConnections(t *testing.T) {
	h := &hall{size: 8 << 20, deliver: func(_, _ int, frame []byte) []byte { return frame }}
	cfg := h.start(t, 3)
	cfg.Conns = 3
	if r, err := Broadcast(cfg, atOnce); err != nil || h.count() == 0 || r.Errors != 0 {
		t.Errorf("%v, %d deliveries, %d errors (%s)", err, r.Requests, r.Errors, r.FirstError)
	}
}
