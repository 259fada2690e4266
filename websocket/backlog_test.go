package websocket_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

// stuff sends to a member whose peer reads nothing until no more leaves, and returns
// the number of the next message.
func (r *room) stuff(m *member, message func(n uint32) *websocket.Prepared) (next uint32) {
	r.t.Helper()
	left := -1 // since when nothing has left
	for quiet := 0; quiet < 20; {
		switch _, _, raised := m.conn.Waiting(); {
		case !raised:
			if err := m.conn.WritePrepared(message(next)); err != nil {
				r.t.Fatalf("stuffing: %v", err)
			}
			next++
			quiet = 0
		case m.conn.Transport().PendingWrite() != left:
			left, quiet = m.conn.Transport().PendingWrite(), 0
		default: // the loop has had time to find that something leaves
			passed := make(chan struct{})
			_ = m.conn.Transport().Execute(func(sluice.Conn) { close(passed) })
			receive(r.t, "a pass of the loop", passed)
			time.Sleep(time.Millisecond)
			quiet++
		}
	}
	return next
}

// rest reads messages until one that last accepts, and returns their numbers.
func (c *client) rest(last func(n uint32) bool) (all []uint32) {
	c.t.Helper()
	for {
		first, p, err := c.next()
		if err != nil || first != bin {
			c.t.Fatalf("behind %d messages, the last %v, came %#x, %d bytes, %v", len(all), all[max(0, len(all)-1):], first, len(p), err)
		}
		n := number([]byte(p))
		if !slices.Equal([]byte(p), numbered(n, len(p))) {
			c.t.Fatalf("message %d is not what was sent", n)
		}
		if all = append(all, n); last(n) {
			return all
		}
	}
}

// normal waits until nothing of a slow time is left.
func (m *member) normal(t *testing.T) {
	t.Helper()
	eventually(t, "the connection to be as before", func() bool {
		frames, bytes, raised := m.conn.Waiting()
		return frames == 0 && bytes == 0 && !raised && m.conn.Transport().PendingWrite() == 0
	})
}

// slowRoom is a room with one slow member, the first, for which as much is on its way
// as fits. Messages from next on wait for it.
func slowRoom(t *testing.T, w *world, b websocket.Backlog, members int) (r *room, slow *member, c *client, next uint32) {
	t.Helper()
	r = newRoom(t, w, &websocket.Server{Backlog: b, KeepAlive: -1}, members, 1)
	slow, c = r.open(0)
	r.join(r.members...)
	return r, slow, c, r.stuff(slow, func(n uint32) *websocket.Prepared { return prepared(n, 16<<10) })
}

// others expects that everybody but the slow member gets messages.
func (r *room) others(want []uint32) {
	r.t.Helper()
	for i, m := range r.members[1:] {
		m.expect(r.t, 1+i, want)
	}
}

func TestOthersGetEverythingWhileOneIsSlow(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members, messages, size = 1000, 60, 1000
		r, slow, c, next := slowRoom(t, w, websocket.Backlog{Bytes: 10 * size, Policy: websocket.DropOldest}, members)
		for i := range uint32(messages) {
			r.group.Broadcast(prepared(next+i, size))
		}
		r.others(numbers(next, next+messages)) // though the slow one has read nothing
		frames, bytes, _ := slow.conn.Waiting()
		if frames == 0 || bytes > 10*size {
			t.Errorf("%d messages of %d bytes wait for the slow one; at most %d may", frames, bytes, 10*size)
		}
		if n := slow.conn.Transport().PendingWrite(); n > 64<<10+16<<10+16 {
			t.Errorf("%d bytes are on their way to it", n)
		}
		got := c.rest(func(n uint32) bool { return n == next+messages-1 })
		dropped := r.Stats().DroppedOldest
		if len(got)+int(dropped) != int(next+messages) {
			t.Errorf("%d messages were sent, %d received and %d dropped", next+messages, len(got), dropped)
		}
		kept := messages - uint32(dropped)
		if want := append(numbers(0, next), numbers(next+messages-kept, next+messages)...); !slices.Equal(got, want) {
			t.Errorf("the slow one got %v, want what was on its way, %d, and the newest %d", got, next, kept)
		}
		if sent := r.Stats().MessagesOut; sent != int64(next)+messages*members {
			t.Errorf("Stats.MessagesOut is %d, want %d", sent, int64(next)+messages*members)
		}
		slow.normal(t)
		r.group.Broadcast(prepared(7, size))
		c.expect(bin, string(numbered(7, size)))
	})
}

func TestDropOldestKeepsTheNewestThatFit(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members = 3
		r, slow, c, next := slowRoom(t, w, websocket.Backlog{Bytes: 5000 + 64, Policy: websocket.DropOldest}, members)
		sizes := []int{996, 996, 996, 996, 4996, 996, 1996, 996} // and 4 bytes of header, and 64 for each
		for i, size := range sizes {
			r.group.Broadcast(prepared(next+uint32(i), size))
		}
		last := next + uint32(len(sizes))
		r.others(numbers(next, last))
		if frames, bytes, _ := slow.conn.Waiting(); frames != 3 || bytes != 4000+3*64 {
			t.Errorf("%d messages of %d bytes wait", frames, bytes)
		}
		// One that never fits is no reason to drop others.
		r.group.Broadcast(prepared(last, 5000))
		r.others(numbers(next, last+1))
		got := c.rest(func(n uint32) bool { return n == last-1 })
		if want := append(numbers(0, next), last-3, last-2, last-1); !slices.Equal(got, want) {
			t.Errorf("the slow one got %v, want %v", got, want)
		}
		if n := r.Stats().DroppedOldest; n != int64(len(sizes)-3+1) {
			t.Errorf("%d were dropped, want %d", n, len(sizes)-3+1)
		}
		slow.normal(t)
	})
}

func TestKeepNewestDeliversTheLastMessageHoweverLong(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members, messages = 3, 50
		r, slow, c, next := slowRoom(t, w, websocket.Backlog{Bytes: 2500, Policy: websocket.KeepNewest}, members)
		want := numbers(0, next)
		for i := range uint32(messages) {
			size := 1000
			if i == messages-1 {
				size = 4000
			}
			r.group.Broadcast(prepared(next+i, size))
			if i%7 == 3 {
				if err := slow.conn.WriteMessage(websocket.Binary, numbered(1000+i, 100)); err != nil {
					t.Errorf("WriteMessage: %v", err)
				}
				want = append(want, 1000+i)
			}
		}
		last := next + messages - 1
		r.others(numbers(next, next+messages))
		if got := c.rest(func(n uint32) bool { return n == last }); !slices.Equal(got, append(want, last)) {
			t.Errorf("the slow one got %v, want what was on its way, %d, what was written, and %d", got, next, last)
		}
		if n := r.Stats().DroppedReplaced; n != messages-1 {
			t.Errorf("%d were replaced, want %d", n, messages-1)
		}
		slow.normal(t)
	})
}

func TestCloseSlowClosesWithTheStatus(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const members, messages = 20, 30
		r, slow, c, next := slowRoom(t, w, websocket.Backlog{Bytes: 10_000, Status: 4321}, members)
		for i := range uint32(messages) {
			r.group.Broadcast(prepared(next+i, 1000))
		}
		r.others(numbers(next, next+messages))
		if err := slow.conn.WritePrepared(prepared(1, 10)); !errors.Is(err, websocket.ErrClosed) {
			t.Errorf("WritePrepared to it: %v, want ErrClosed", err)
		}
		n := uint32(0) // it reads again: what was on its way, and why there is no more
		for ; n < next; n++ {
			if first, p, err := c.next(); err != nil || first != bin || number([]byte(p)) != n {
				t.Fatalf("message %d is %#x of %d bytes (%v)", n, first, len(p), err)
			}
		}
		first, p, err := c.next()
		if err != nil || first != closing || binary.BigEndian.Uint16([]byte(p)) != 4321 {
			t.Fatalf("behind the messages came %#x %q (%v), want a Close frame with 4321", first, p, err)
		}
		_ = c.Close()
		if err := receive(t, "OnClose", slow.closed); !errors.Is(err, websocket.ErrSlow) || websocket.CloseStatus(err) != 4321 {
			t.Errorf("OnClose was given %v of the status %d, want ErrSlow and 4321", err, websocket.CloseStatus(err))
		}
		eventually(t, "it to leave the group", func() bool { return r.group.Len() == members-1 })
		if s := r.Stats(); s.ClosedSlow != 1 || s.Conns != members-1 || s.DroppedOldest+s.DroppedReplaced+s.DroppedExpired != 0 {
			t.Errorf("Stats are %+v", s)
		}
	})
}

func TestSlowPeerThatNeverReadsAgainIsEnded(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.LingerTimeout = 50 * time.Millisecond
		r, slow, _, next := slowRoom(t, w, websocket.Backlog{Bytes: 1000}, 2)
		for i := range uint32(3) {
			r.group.Broadcast(prepared(next+i, 500))
		}
		if err := receive(t, "OnClose", slow.closed); !errors.Is(err, websocket.ErrSlow) || websocket.CloseStatus(err) != websocket.PolicyViolation {
			t.Errorf("OnClose was given %v of the status %d, want ErrSlow and 1008", err, websocket.CloseStatus(err))
		}
		r.others(numbers(next, next+3))
	})
}

// Nothing is broadcast after the messages that grow old.
func TestMessagesThatHaveWaitedForTooLong(t *testing.T) {
	for _, policy := range []websocket.Policy{websocket.CloseSlow, websocket.DropOldest, websocket.KeepNewest} {
		t.Run(policy.String(), func(t *testing.T) {
			eachDriver(t, func(t *testing.T, w *world) {
				const messages = 5
				b := websocket.Backlog{Age: 30 * time.Millisecond, Policy: policy}
				r, slow, c, next := slowRoom(t, w, b, 3)
				if err := slow.conn.WriteMessage(websocket.Binary, numbered(5000, 50)); err != nil {
					t.Fatal(err)
				}
				for i := range uint32(messages) {
					r.group.Broadcast(prepared(next+i, 1000))
				}
				r.others(numbers(next, next+messages))
				if policy == websocket.CloseSlow {
					eventually(t, "the slow one to be closed", func() bool { return r.Stats().ClosedSlow == 1 })
					_ = c.Close()
					if err := receive(t, "OnClose", slow.closed); !errors.Is(err, websocket.ErrSlow) {
						t.Errorf("OnClose was given %v, want ErrSlow", err)
					}
					return
				}
				gone := func(s websocket.Stats) int64 { return s.DroppedExpired + s.DroppedReplaced }
				eventually(t, "the messages to be dropped", func() bool {
					frames, _, _ := slow.conn.Waiting()
					return gone(r.Stats()) == messages || frames == 0
				})
				if frames, bytes, _ := slow.conn.Waiting(); frames != 1 || bytes != 52+64 {
					t.Errorf("%d messages of %d bytes wait, want the one that was written", frames, bytes)
				}
				if err := slow.conn.WriteMessage(websocket.Binary, numbered(5001, 50)); err != nil {
					t.Fatal(err)
				}
				got := c.rest(func(n uint32) bool { return n == 5001 })
				if want := append(numbers(0, next), 5000, 5001); !slices.Equal(got, want) {
					t.Errorf("the slow one got %v, want %v", got, want)
				}
				slow.normal(t)
			})
		})
	}
}

func TestWrittenMessagesAreNeverDroppedAndKeepTheirPlace(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const bytes = 20_000
		r, slow, c, next := slowRoom(t, w, websocket.Backlog{Bytes: bytes, Policy: websocket.DropOldest}, 2)
		n, written := next, 0
		var refused []uint32
		for range 400 {
			if err := slow.conn.WritePrepared(prepared(n, 500)); err != nil {
				t.Fatal(err)
			}
			n++
			switch err := slow.conn.WriteMessage(websocket.Binary, numbered(1e6+n, 100)); {
			case err == nil:
				written++
			case errors.Is(err, websocket.ErrBacklog):
				refused = append(refused, n)
			default:
				t.Fatal(err)
			}
			n++
			if _, waiting, _ := slow.conn.Waiting(); waiting > bytes {
				t.Fatalf("%d bytes wait; %d may", waiting, bytes)
			}
		}
		if len(refused) == 0 || written < 10 {
			t.Fatalf("%d messages were written and %d refused", written, len(refused))
		}
		end := make(chan error, 1)
		go func() { // the last is behind all
			for {
				if err := slow.conn.WriteMessage(websocket.Binary, numbered(2e6, 10)); !errors.Is(err, websocket.ErrBacklog) {
					end <- err
					return
				}
				time.Sleep(time.Millisecond)
			}
		}()
		got := c.rest(func(n uint32) bool { return n == 2e6 })
		if err := receive(t, "the last to be written", end); err != nil {
			t.Fatal(err)
		}
		own, place := 0, uint32(0)
		for _, g := range got[:len(got)-1] {
			if g >= 1e6 {
				own++
				g -= 1e6
			}
			if place > 0 && g <= place-1 {
				t.Fatalf("message %d came behind %d", g, place-1)
			}
			place = g + 1
		}
		s := r.Stats()
		if own != written {
			t.Errorf("%d messages were written and %d received", written, own)
		}
		if sent := int(next) + 400; len(got)-1-own+int(s.DroppedOldest) != sent {
			t.Errorf("%d prepared messages were sent, %d received, %d dropped", sent, len(got)-1-own, s.DroppedOldest)
		}
		if want := int64(next) + 400 + int64(written) + 1; s.MessagesOut != want {
			t.Errorf("Stats.MessagesOut is %d, want %d", s.MessagesOut, want)
		}
		slow.normal(t)
	})
}

// What waits for a slow peer is bounded also for those who only write.
func TestWriteMessageIsRefusedBeyondTheBacklogOfASlowPeer(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const bytes = 10 * (1000 + 64)
		_, slow, c, next := slowRoom(t, w, websocket.Backlog{Bytes: bytes}, 1)
		before := slow.conn.Transport().PendingWrite()
		err := error(nil)
		written := uint32(0)
		for ; err == nil && written < 1000; written++ {
			err = slow.conn.WriteMessage(websocket.Binary, numbered(next+written, 996))
		}
		if !errors.Is(err, websocket.ErrBacklog) || written != 11 {
			t.Errorf("after %d messages of 1000 bytes the error is %v; %d may wait", written-1, err, bytes/(1000+64))
		}
		if n := slow.conn.Transport().PendingWrite(); n > before {
			t.Errorf("%d bytes are on their way, %d were before", n, before)
		}
		last := next + written - 2
		if got := c.rest(func(n uint32) bool { return n == last }); !slices.Equal(got, numbers(0, last+1)) {
			t.Errorf("the slow one got %v", got)
		}
		slow.normal(t)
	})
}

// A limit of the engine's that is lower than what may be on its way loses nothing.
func TestPreparedMessagesMeetTheirOwnLimits(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.HighWater, w.cfg.LowWater, w.cfg.WriteLimit = 4<<10, 1<<10, 8<<10
		for _, size := range []int{100, 3000, 20_000, 300_000} {
			t.Run(fmt.Sprint(size), func(t *testing.T) {
				r := newRoom(t, w, &websocket.Server{Backlog: websocket.Backlog{Bytes: 64 << 20}, KeepAlive: -1}, 1, 1)
				m, c := r.open(0)
				messages := uint32(5_000_000 / size)
				for i := range messages {
					if err := m.conn.WritePrepared(prepared(i, size)); err != nil {
						t.Fatal(err)
					}
				}
				c.rest(func(n uint32) bool { return n == messages-1 })
				m.normal(t)
				if n := r.Stats().MessagesOut; n != int64(messages) {
					t.Errorf("Stats.MessagesOut is %d, want %d", n, messages)
				}
			})
		}
	})
}

// Whoever writes in parts holds the others' messages up; they follow, also if they are
// longer than what the engine lets wait.
func TestMessagesThatWaitForAWriterFollowIt(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.HighWater, w.cfg.LowWater, w.cfg.WriteLimit = 20<<10, 1<<10, 40<<10
		r := newRoom(t, w, &websocket.Server{KeepAlive: -1}, 1, 1)
		m, c := r.open(0)
		wr, err := m.conn.Writer(websocket.Binary)
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint32(8) {
			if err := m.conn.WritePrepared(prepared(1+i, 60<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := wr.Write(numbered(0, 1000)); err != nil {
			t.Fatal(err)
		}
		if err := wr.Close(); err != nil {
			t.Fatal(err)
		}
		if got := c.rest(func(n uint32) bool { return n == 8 }); !slices.Equal(got, numbers(0, 9)) {
			t.Errorf("the client got %v", got)
		}
		m.normal(t)
	})
}
