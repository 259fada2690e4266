package websocket

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-go/sluice"
)

// Group is a set of connections, of one Server or of several, to which messages are
// sent together: a room, a topic. The zero value is empty and ready; it must not be
// copied. Any goroutine may call its methods. What one goroutine asks for is carried
// out in the order of its calls, on the loops of the connections: Add and then
// Broadcast reaches the new member. A connection that ends leaves its groups by
// itself.
type Group struct {
	mu     sync.Mutex
	shards map[sluice.EventLoop]*shard
	count  atomic.Int64
}

// deliveries is how many members get a message before the loop attends to its other
// work.
const deliveries = 1024

// shard is a group's part on one loop. Unless it says otherwise a field is for that
// loop alone.
type shard struct {
	group *Group
	loop  sluice.EventLoop

	members []*Conn // nil where one has left during a round
	holes   int     // of those
	waiting []*Prepared

	// A round gives some messages to every member. It may take several passes.
	running bool        // true exactly when a step will be called
	round   []*Prepared // nil between rounds
	next    int         // the member to go on with
	end     int         // those from here on came later
}

// join is a connection's place in a group.
type join struct {
	shard *shard
	at    int // in shard.members
}

// shard returns the group's part on a loop.
func (g *Group) shard(l sluice.EventLoop) *shard {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.shards[l]
	if s == nil {
		if g.shards == nil {
			g.shards = make(map[sluice.EventLoop]*shard)
		}
		s = &shard{group: g, loop: l}
		g.shards[l] = s
	}
	return s
}

// Add makes c a member, unless it is one or has ended.
func (g *Group) Add(c *Conn) {
	s := g.shard(c.conn.EventLoop())
	_ = s.loop.Execute(func() { s.add(c) }) // fails only when c has ended
}

// Remove ends c's membership, if it is a member.
func (g *Group) Remove(c *Conn) {
	s := g.shard(c.conn.EventLoop())
	_ = s.loop.Execute(func() { s.remove(c) })
}

// Len returns how many members there are at present.
func (g *Group) Len() int { return int(g.count.Load()) }

// Broadcast sends a message to all members, as WritePrepared does to one. It does not
// wait. All members get the messages of all goroutines in the same order.
func (g *Group) Broadcast(p *Prepared) {
	g.each(func(s *shard) { s.broadcast(p) })
}

// each has every loop call fn for its part of the group, and returns how many will.
func (g *Group) each(fn func(s *shard)) (loops int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for l, s := range g.shards {
		if l.Execute(func() { fn(s) }) == nil {
			loops++
		} else { // its engine has ended, and with it the members
			delete(g.shards, l)
		}
	}
	return loops
}

// add makes c a member.
func (s *shard) add(c *Conn) {
	if c.is(isEnded) || s.place(c) >= 0 {
		return
	}
	s.put(c, len(s.members))
	s.members = append(s.members, c)
	s.group.count.Add(1)
}

// place returns c's place among the members, or -1. A connection keeps that among
// all of its service's itself, and those in other groups, which it mostly is not in,
// in a list.
func (s *shard) place(c *Conn) int {
	if s.group == &c.of.all {
		return int(c.home)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.more != nil {
		for _, j := range c.more.joins {
			if j.shard == s {
				return j.at
			}
		}
	}
	return -1
}

// put notes c's place among the members; -1 means that it is none any more.
func (s *shard) put(c *Conn, at int) {
	if s.group == &c.of.all {
		c.home = int32(at)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.extra()
	i := slices.IndexFunc(x.joins, func(j join) bool { return j.shard == s })
	switch {
	case i < 0:
		x.joins = append(x.joins, join{s, at})
	case at < 0:
		x.joins = slices.Delete(slices.Clone(x.joins), i, i+1)
	default:
		x.joins[i].at = at
	}
}

// remove ends c's membership.
func (s *shard) remove(c *Conn) {
	at := s.place(c)
	if at < 0 {
		return
	}
	s.put(c, -1)
	s.members[at] = nil
	s.holes++
	s.group.count.Add(-1)
	s.compact()
}

// compact closes the holes, once they are worth it and no round counts on the
// members' places.
func (s *shard) compact() {
	if s.round != nil || s.holes < len(s.members)/2 {
		return
	}
	kept := s.members[:0]
	for _, c := range s.members {
		if c != nil {
			s.put(c, len(kept))
			kept = append(kept, c)
		}
	}
	clear(s.members[len(kept):])
	s.members, s.holes = kept, 0
	if cap(kept) > 4*len(kept)+64 {
		s.members = append([]*Conn(nil), kept...)
	}
}

// broadcast sends p to every member, with the next round.
func (s *shard) broadcast(p *Prepared) {
	s.waiting = append(s.waiting, p)
	if !s.running {
		s.running = true
		s.step()
	}
}

// step goes on with the round, or begins one with the messages that wait: the more
// there are, the more of them leave together.
func (s *shard) step() {
	if s.round == nil {
		s.round, s.waiting = s.waiting, nil
		s.next, s.end = 0, len(s.members)
	}
	for stop := min(s.end, s.next+deliveries); s.next < stop; s.next++ {
		if c := s.members[s.next]; c != nil {
			c.writeRound(s.round)
		}
	}
	if s.next == s.end {
		s.round = nil
		s.compact()
		if len(s.waiting) == 0 {
			s.running = false
			return
		}
	}
	_ = s.loop.Execute(s.step) // fails only when the members have ended
}

// writeRound is WritePrepared for several messages, from a Group.
func (c *Conn) writeRound(round []*Prepared) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range round {
		if c.writePrepared(p) != nil { // it is closing, or will be
			round = round[:i]
			break
		}
	}
	if len(round) > 0 {
		c.of.count(c.conn.Loop()).out.Add(int64(len(round)))
	}
}
