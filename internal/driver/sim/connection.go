package sim

import "syscall"

// pair makes a connection between two ends and returns the first of them.
// Both are still without a holder.
func (n *Network) pair(tcp bool) uint32 {
	i := n.ends.pair()
	for _, e := range []*end{n.ends.at(i), n.ends.at(i ^ 1)} {
		e.fd = -1
		e.state = unborn
		if tcp {
			e.flags = isTCP
		}
	}
	return i
}

// room returns how many bytes end i can send before the way is full. A way to
// an end that is gone is never full: what is sent there is lost.
func (n *Network) room(i uint32) int {
	other := n.ends.at(i ^ 1)
	if other.state == gone {
		return n.bufferBytes
	}
	return n.bufferBytes - n.ends.peek(other).in.len()
}

// write sends what fits of p from end i and returns how much that was.
func (n *Network) write(i uint32, p []byte) (int, error) {
	e, other := n.ends.at(i), n.ends.at(i^1)
	switch {
	case e.is(broken):
		return 0, syscall.ECONNRESET
	case e.is(writeEnded):
		return 0, syscall.EPIPE
	}
	k := min(len(p), n.room(i))
	if k == 0 {
		return 0, nil
	}
	if other.state == gone {
		if !e.is(isTCP) {
			return 0, syscall.EPIPE
		}
		// The first bytes seem to leave; what comes back is a reset.
		n.breakEnd(i)
		return k, nil
	}
	n.ends.busy(other).in.add(p[:k])
	n.touch(i ^ 1)
	return k, nil
}

// read moves bytes that have arrived at end i to p, which makes room for the
// other end.
func (n *Network) read(i uint32, p []byte) int {
	e := n.ends.at(i)
	if e.extra == 0 {
		return 0
	}
	k := n.ends.extras[e.extra].in.take(p)
	n.ends.settle(e)
	if k > 0 {
		n.touch(i ^ 1)
	}
	return k
}

// finish ends the direction from end i to the other one.
func (n *Network) finish(i uint32) {
	n.ends.at(i).flags |= writeEnded
	n.ends.at(i ^ 1).flags |= finished
	n.touch(i ^ 1)
}

// breakEnd lets end i find that its connection was reset. What had arrived
// before can still be read, as in every Unix kernel.
func (n *Network) breakEnd(i uint32) {
	n.ends.at(i).flags |= broken
	n.touch(i)
}

// sever resets a connection from the middle: both ends find it broken, and
// the bytes on their way are lost.
func (n *Network) sever(i uint32) {
	for _, i := range []uint32{i, i ^ 1} {
		e := n.ends.at(i)
		if e.state == gone || e.state == unborn {
			continue
		}
		if e.extra != 0 {
			n.ends.extras[e.extra].in.clear()
			n.ends.settle(e)
		}
		n.breakEnd(i)
	}
}

// close closes end i for good: with reset, or if bytes that had arrived were
// never read, the other end sees a reset, otherwise an orderly end. The end's
// descriptor is free from now on.
func (n *Network) close(i uint32, reset bool) {
	e, other := n.ends.at(i), n.ends.at(i^1)
	if x := n.ends.peek(e); e.extra != 0 {
		reset = reset || x.in.len() > 0
		n.empty(x)
		n.ends.settle(e)
	}
	if e.fd >= 0 {
		n.descriptors.release(int(e.fd))
	}
	e.fd, e.loop, e.state = -1, 0, gone
	switch {
	case other.state == gone || other.state == unborn:
		n.ends.release(i)
	case reset:
		n.breakEnd(i ^ 1)
	default:
		n.finish(i)
	}
}

// empty drops all that x holds and sends those that wait on it home.
func (n *Network) empty(x *extra) {
	x.in.clear()
	if x.taken != nil {
		x.taken.Release()
		x.taken = nil
	}
	x.op = operation{}
	if x.wait != nil {
		x.wait.end()
		x.wait = nil
	}
}

// touch looks whether something has become possible for end i and tells its
// holder. Everything that changes an end ends with it.
func (n *Network) touch(i uint32) {
	e := n.ends.at(i)
	switch {
	case e.state == outside:
		if e.extra != 0 && n.ends.extras[e.extra].wait != nil {
			n.ends.extras[e.extra].wait.cond.Broadcast()
		}
	case e.loop != 0 && !e.is(queued) && n.ripe(i):
		e.flags |= queued
		n.loops[e.loop-1].push(item{kind: endItem, n: i})
	}
}

// ripe is true exactly when end i, which a driver holds, has an event to
// report or a step to make.
func (n *Network) ripe(i uint32) bool {
	e := n.ends.at(i)
	switch e.state {
	case dialing:
		return !n.places.silent(n.ends.at(i ^ 1).place)
	case shutting, detaching:
		return true
	case open:
		return n.receivable(i) || n.answerable(i)
	}
	return false
}

// receivable is true exactly when end i has a Received to report.
func (n *Network) receivable(i uint32) bool {
	e := n.ends.at(i)
	if e.is(paused | ended) {
		return false
	}
	x := n.ends.peek(e)
	return x.taken != nil || x.in.len() > 0 || e.is(finished|broken)
}

// answerable is true exactly when a Send of end i is unanswered and can go on.
func (n *Network) answerable(i uint32) bool {
	e := n.ends.at(i)
	return e.is(sending) && (e.is(broken|spurious) || n.room(i) > 0)
}
