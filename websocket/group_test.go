package websocket_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-go/sluice/websocket"
)

func TestBroadcastReachesThoseWhoWereAddedBeforeIt(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const members = 40
		r := newRoom(t, w, &websocket.Server{}, members, 0)
		n := uint32(0)
		want := make([][]uint32, members)
		for i, m := range r.members { // it gets what follows, twice removed and added, and twice added
			r.group.Broadcast(prepared(n, 10))
			for j := range i {
				want[j] = append(want[j], n)
			}
			r.group.Add(m.conn)
			r.group.Add(m.conn)
			r.group.Broadcast(prepared(n+1, 10))
			r.group.Remove(m.conn)
			r.group.Remove(m.conn)
			r.group.Broadcast(prepared(n+2, 10))
			r.group.Add(m.conn)
			for j := range i + 1 {
				want[j] = append(want[j], n+1)
			}
			for j := range i {
				want[j] = append(want[j], n+2)
			}
			n += 3
		}
		for i, m := range r.members {
			m.expect(t, i, want[i])
		}
		if got := r.group.Len(); got != members {
			t.Errorf("the group has %d members, want %d", got, members)
		}
	})
}

func TestMembersGetTheMessagesOfAllGoroutinesInOneOrder(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members, goroutines, each = 60, 6, 150
		r := newRoom(t, w, &websocket.Server{}, members, 0)
		r.join(r.members...)
		var wg sync.WaitGroup
		for g := range uint32(goroutines) {
			wg.Go(func() {
				for i := range uint32(each) {
					r.group.Broadcast(prepared(g<<16|i, 40))
				}
			})
		}
		wg.Wait()
		eventually(t, "the first member to get all", func() bool { return r.members[0].count.Load() == goroutines*each })
		order := r.members[0].list()
		var next [goroutines]uint32
		for _, n := range order {
			if g := n >> 16; n&0xffff != next[g] {
				t.Fatalf("message %d of goroutine %d came where %d was due", n&0xffff, g, next[g])
			}
			next[n>>16]++
		}
		for i, m := range r.members {
			m.expect(t, i, order)
		}
		if got := r.Stats().MessagesOut; got != members*goroutines*each {
			t.Errorf("Stats.MessagesOut is %d, want %d", got, members*goroutines*each)
		}
	})
}

// A round over so many members takes several passes of the loop. One goroutine
// broadcasts, adds and removes meanwhile: it knows what everybody is to get.
func TestMembersComeAndGoDuringLongRounds(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members = 2600 // on one loop
		w.cfg.Loops = 1
		r := newRoom(t, w, &websocket.Server{}, members, 0)
		rnd := rand.New(rand.NewPCG(1, 2))
		in, left := make([]bool, members), make([]bool, members)
		want := make([][]uint32, members)
		n := uint32(0)
		for step := range 28 {
			for range 1 + rnd.IntN(60) {
				i := rnd.IntN(members)
				if step == 0 {
					i = step
				}
				if in[i] = !in[i]; in[i] {
					r.group.Add(r.members[i].conn)
				} else {
					r.group.Remove(r.members[i].conn)
				}
			}
			if step%13 == 0 { // everybody
				for i, m := range r.members {
					in[i] = true
					r.group.Add(m.conn)
				}
			}
			for range 1 + rnd.IntN(4) {
				r.group.Broadcast(prepared(n, 4+rnd.IntN(60)))
				for i := range in {
					if in[i] && !left[i] {
						want[i] = append(want[i], n)
					}
				}
				n++
			}
			if step%10 == 5 {
				i := rnd.IntN(members)
				left[i] = true // from here on it may miss what it is to get
				_ = r.members[i].client.Abort()
			}
			if step%3 == 0 {
				runtime.Gosched()
			}
		}
		for i, m := range r.members {
			if !left[i] {
				m.expect(t, i, want[i])
			} else if got := m.list(); !slices.Equal(got[:min(len(got), len(want[i]))], want[i][:min(len(got), len(want[i]))]) {
				t.Errorf("member %d, who left, got %v, want the beginning of %v", i, got, want[i])
			}
		}
		still := 0
		for i := range in {
			if in[i] && !left[i] {
				still++
			}
		}
		eventually(t, "those who have left to be no members", func() bool { return r.group.Len() == still })
		r.Broadcast(prepared(n, 10)) // behind which nothing comes twice
		for i, m := range r.members {
			if !left[i] {
				m.expect(t, i, append(want[i], n))
			}
		}
	})
}

func TestConnectionOfManyGroupsLeavesThemWhenItEnds(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const groups, members = 4_000, 3
		r := newRoom(t, w, &websocket.Server{}, members, 0)
		all, added := make([]websocket.Group, groups), 0
		for i := range all {
			for j, m := range r.members {
				if i%(1+100*j) == 0 {
					all[i].Add(m.conn)
					added++
				}
			}
		}
		memberships := func() (n int) {
			for i := range all {
				n += all[i].Len()
			}
			return n
		}
		eventually(t, "all to be members", func() bool { return memberships() == added })
		for i, m := range r.members {
			_ = m.client.Abort()
			receive(t, "OnClose", m.closed)
			if n, _ := m.conn.Joined(); n != 0 {
				t.Errorf("member %d, who has ended, is in %d groups", i, n)
			}
		}
		if n := memberships(); n != 0 {
			t.Errorf("those who have ended have %d memberships", n)
		}
		all[0].Add(r.members[0].conn)
		all[0].Broadcast(prepared(1, 10))
		all[0].Remove(r.members[0].conn)
		if n := all[0].Len(); n != 0 {
			t.Errorf("a connection that has ended became a member")
		}
	})
}

func TestGroupHasMembersOfSeveralEngines(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members = 20
		a := newRoom(t, w, &websocket.Server{}, members, 0)
		b := newRoom(t, w, &websocket.Server{}, members, 0)
		var g websocket.Group
		both := append(slices.Clone(a.members), b.members...)
		for _, m := range both {
			g.Add(m.conn)
		}
		var wg sync.WaitGroup
		for from := range uint32(4) {
			wg.Go(func() {
				for i := range uint32(50) {
					g.Broadcast(prepared(from<<16|i, 10))
				}
			})
		}
		wg.Wait()
		eventually(t, "the first member to get all", func() bool { return both[0].count.Load() == 200 })
		order := both[0].list()
		for i, m := range both {
			m.expect(t, i, order)
		}
		if n := g.Loops(); n != 4 {
			t.Errorf("the group has parts on %d loops, want 4", n)
		}
		wg.Go(func() { // meanwhile
			for i := range uint32(500) {
				g.Broadcast(prepared(1<<20|i, 10))
			}
		})
		if err := a.eng.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		order = append(order, numbers(1<<20, 1<<20+500)...)
		if n := g.Len(); n != members {
			t.Errorf("with one engine closed the group has %d members, want %d", n, members)
		}
		g.Add(both[0].conn) // of no effect
		g.Broadcast(prepared(7, 10))
		for i, m := range b.members {
			m.expect(t, members+i, append(order, 7))
		}
		if n := g.Loops(); n != 2 {
			t.Errorf("the group has parts on %d loops, want the 2 of the engine that goes on", n)
		}
		if err := b.eng.Close(); err != nil {
			t.Error(err)
		}
		g.Broadcast(prepared(8, 10))
		if n, l := g.Len(), g.Loops(); n != 0 || l != 0 {
			t.Errorf("with both engines closed the group has %d members on %d loops", n, l)
		}
	})
}

// counted counts those of what it is given that the garbage collector has taken.
type counted struct{ given, taken atomic.Int64 }

func count[T any](c *counted, p *T) *T {
	c.given.Add(1)
	runtime.AddCleanup(p, func(*counted) { c.taken.Add(1) }, c)
	return p
}

// all waits until everything was taken.
func (c *counted) all(t *testing.T, what string) {
	t.Helper()
	eventually(t, what+" to be freed", func() bool {
		runtime.GC()
		return c.given.Load() == c.taken.Load()
	})
}

func TestGroupKeepsNeitherConnectionsNorMessages(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members = 300
		var conns, messages, groups counted
		r := newRoom(t, w, &websocket.Server{}, members+1, 0)
		stays := r.members[members] // in all groups that there ever are
		rooms := make([]*websocket.Group, 50)
		for i := range rooms {
			rooms[i] = count(&groups, new(websocket.Group))
			rooms[i].Add(stays.conn)
		}
		r.join(stays)
		for i, m := range r.members[:members] {
			rooms[i%len(rooms)].Add(count(&conns, m.conn))
			r.group.Add(m.conn)
		}
		for i := range uint32(30) {
			r.group.Broadcast(count(&messages, prepared(i, 100)))
		}
		for i, m := range r.members {
			m.expect(t, i, numbers(0, 30))
		}
		messages.all(t, "messages that all have got")
		for _, m := range r.members[:members] {
			_ = m.client.Abort()
			receive(t, "OnClose", m.closed)
			m.conn, m.client = nil, nil
		}
		if n := r.group.Len(); n != 1 {
			t.Errorf("the group has %d members, want the one that stays", n)
		}
		conns.all(t, "connections that have ended")
		for i, g := range rooms {
			g.Remove(stays.conn)
			rooms[i] = nil
		}
		r.group.Broadcast(prepared(77, 10)) // and the loop forgets what it did before
		stays.expect(t, members, append(numbers(0, 30), 77))
		groups.all(t, "groups that a connection has left")
		if n, room := stays.conn.Joined(); n != 1 || room > 100 {
			t.Errorf("the connection is in %d groups and has room for %d", n, room)
		}
	})
}

// More than may wait for a peer is broadcast while the loop is busy with something
// else. Nobody is to blame for that.
func TestBurstIsNoReasonToTakePeersForSlow(t *testing.T) {
	for _, small := range []bool{true, false} {
		t.Run(fmt.Sprintf("small=%v", small), func(t *testing.T) {
			eachDriver(t, func(t *testing.T, w *world) {
				if w.driver == "portable" {
					t.Skip("goroutines send, after any number of the loop's passes")
				}
				const members, bytes = 5, 1_300_000 // 64 KiB and 1 MiB may wait
				size := 1300
				if small {
					size = 100
				}
				w.cfg.Loops = 1
				r := newRoom(t, w, &websocket.Server{}, members, 0)
				r.join(r.members...)
				busy := make(chan struct{})
				_ = r.members[0].conn.Transport().EventLoop().Execute(func() { <-busy })
				for i := range uint32(bytes / size) {
					r.group.Broadcast(prepared(i, size))
				}
				close(busy)
				for i, m := range r.members {
					m.expect(t, i, numbers(0, uint32(bytes/size)))
				}
				if got := r.Stats(); got.ClosedSlow != 0 || got.Conns != members {
					t.Errorf("Stats are %+v", got)
				}
			})
		})
	}
}
