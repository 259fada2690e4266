package websocket

import (
	"iter"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluice-go/sluice"
)

// Group is a set of connections, of one Server or of several, to which messages are
// sent together: a room, a topic. The zero value is empty and ready; it must not be
// copied. Any goroutine may call its methods. What one goroutine asks of a Group is
// carried out in the order of its calls, on the loops of the connections: Broadcast reaches
// those who were added before and not those who are added after it. A connection that
// ends leaves its groups by itself.
type Group struct {
	mu     sync.Mutex
	shards map[sluice.EventLoop]*shard
	count  atomic.Int64
}

// queueMax is how many bytes of messages, with heldCost for each, may wait in a shard for
// one more to be taken.
const queueMax = 4 << 20

// deliveries is how many messages the members of a shard are given before the loop
// attends to its other work.
const deliveries = 1024

// shard is a group's part on one loop. Unless it says otherwise a field is for that
// loop alone.
type shard struct {
	group *Group
	loop  sluice.EventLoop

	waiting atomic.Int64 // bytes of messages that were not given to all, with heldCost for each; for all goroutines

	members []*Conn // nil where one has left
	holes   int     // of those
	queue   []due   // messages, the oldest first

	// A round gives the first messages of the queue to the members. It may take
	// several passes, and the next one begins in another: what was written leaves
	// between them, so that who keeps up is not taken for slow.
	running bool // true exactly when step will be called
	again   func()
	round   int // messages of the queue; 0 between rounds
	next    int // the member to go on with
}

// due is a message for the members up to end; those from there on came later.
type due struct {
	p   *Prepared
	end int
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
		s.again = s.step
		g.shards[l] = s
	}
	return s
}

// Add makes c a member, unless it is one or has ended.
func (g *Group) Add(c *Conn) { g.ask(c, (*shard).add) }

// Remove ends c's membership, if it is a member. It still gets what was broadcast
// before.
func (g *Group) Remove(c *Conn) { g.ask(c, (*shard).remove) }

// ask has c's loop call fn for its part of the group.
func (g *Group) ask(c *Conn, fn func(s *shard, c *Conn)) {
	s := g.shard(c.conn.EventLoop())
	if s.loop.Execute(func() { fn(s, c) }) != nil { // its engine has ended, and with it c
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.shards, s.loop)
	}
}

// Len returns how many members there are. An Add or Remove that the member's loop has not
// carried out yet is not counted.
func (g *Group) Len() int { return int(g.count.Load()) }

// Broadcast sends a message to all members, as WritePrepared does to one. It does not
// wait, so that what is written to a member right after it may arrive before it, and a
// member that is closed right after it may not get it. (To part with somebody use
// WritePrepared and Close; Server.Shutdown comes after what was broadcast before.) All
// members get the messages of all goroutines in the same order.
//
// It returns ErrBacklog, and sends p to nobody, while 4 MiB of earlier messages wait
// for a loop to give them to the members: more is broadcast than the machine can
// deliver. Peers that are slow are no reason; they meet their Backlog.
func (g *Group) Broadcast(p *Prepared) error {
	p.check()
	cost := int64(len(p.frame) + heldCost)
	g.mu.Lock()
	defer g.mu.Unlock()
	for l, s := range g.shards {
		if s.waiting.Load() < queueMax {
			continue
		}
		if l.Execute(func() {}) == nil {
			return ErrBacklog
		}
		delete(g.shards, l) // its engine has ended, and with it the members
	}
	for _, s := range g.shards {
		s.waiting.Add(cost)
	}
	g.each(func(s *shard) { s.broadcast(p) })
	return nil
}

// each has every loop call fn for its part of the group, and returns how many will, with
// mu held.
func (g *Group) each(fn func(s *shard)) (loops int) {
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
	case at >= 0:
		x.joins[i].at = at
	case len(x.joins) == 1:
		x.joins = nil
	default: // so that OnClose, which goes through them, finds each at the front
		x.joins[i] = x.joins[0]
		x.joins[0] = join{}
		x.joins = x.joins[1:]
	}
}

// remove ends c's membership. What is still due to it, it is given now.
func (s *shard) remove(c *Conn) {
	at := s.place(c)
	if at < 0 {
		return
	}
	if at < s.next {
		s.send(c, at, s.queue[s.round:])
	} else {
		s.send(c, at, s.queue)
	}
	s.put(c, -1)
	s.members[at] = nil
	s.holes++
	s.group.count.Add(-1)
	s.compact()
}

// open returns the members.
func (s *shard) open() iter.Seq[*Conn] {
	return func(yield func(*Conn) bool) {
		for _, c := range s.members {
			if c != nil && !yield(c) {
				return
			}
		}
	}
}

// compact closes the holes, once they are worth it and no round counts on the
// members' places.
func (s *shard) compact() {
	if s.round > 0 || s.holes < len(s.members)/2 {
		return
	}
	kept, queue := s.members[:0], s.queue
	for at, c := range s.members {
		for ; len(queue) > 0 && queue[0].end == at; queue = queue[1:] {
			queue[0].end = len(kept)
		}
		if c != nil {
			s.put(c, len(kept))
			kept = append(kept, c)
		}
	}
	for i := range queue {
		queue[i].end = len(kept)
	}
	clear(s.members[len(kept):])
	s.members, s.holes = kept, 0
	if cap(kept) > 4*len(kept)+64 {
		s.members = append([]*Conn(nil), kept...)
	}
}

// broadcast sends p to every member: at once, or with a later round if the loop has
// given them something in this pass.
func (s *shard) broadcast(p *Prepared) {
	s.queue = append(s.queue, due{p, len(s.members)})
	if !s.running {
		s.running = true
		s.step()
	}
}

// step goes on with the round, or begins one. The more messages wait, the more of them
// leave together.
func (s *shard) step() {
	if s.round == 0 && len(s.queue) == 0 {
		s.queue, s.running = nil, false
		return
	}
	if s.round == 0 {
		s.begin()
	}
	end := s.queue[s.round-1].end // the others' are not greater
	for stop := min(end, s.next+max(1, deliveries/s.round)); s.next < stop; s.next++ {
		if c := s.members[s.next]; c != nil {
			s.send(c, s.next, s.queue[:s.round])
		}
	}
	if s.next == end {
		for _, m := range s.queue[:s.round] {
			s.waiting.Add(-int64(len(m.p.frame) + heldCost))
		}
		clear(s.queue[:s.round])
		s.queue = s.queue[s.round:]
		s.round, s.next = 0, 0
		s.compact()
	}
	_ = s.loop.Execute(s.again) // fails only when the members have ended
}

// begin begins a round with as many messages as may be on their way to a peer that
// reads what it is sent.
func (s *shard) begin() {
	bytes := 0
	for s.round < min(len(s.queue), deliveries) {
		bytes += len(s.queue[s.round].p.frame)
		if s.round > 0 && bytes > onTheWay {
			return
		}
		s.round++
	}
}

// send gives c, the member at a place, those of some messages that are due to it.
func (s *shard) send(c *Conn, at int, messages []due) {
	for len(messages) > 0 && messages[0].end <= at {
		messages = messages[1:]
	}
	if len(messages) > 0 {
		c.writeRound(messages)
	}
}

// writeRound is WritePrepared for several messages, from a Group.
func (c *Conn) writeRound(messages []due) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sent := 0
	for _, m := range messages {
		if c.writePrepared(m.p) == nil {
			sent++
		}
	}
	c.of.count(c.conn.Loop()).out.Add(int64(sent))
}
