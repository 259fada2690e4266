package sim

import (
	"hash/crc32"
	"os"
	"syscall"

	"github.com/sluice-go/sluice/internal/driver"
)

// operation is the Send under way of a Completion end. It reads the caller's
// memory until it is answered, as a kernel would.
type operation struct {
	bufs  [][]byte
	done  int    // bytes copied
	limit int    // bytes after which it is answered
	sum   uint32 // of bufs, to tell whether the caller left them alone
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(bufs [][]byte) uint32 {
	var sum uint32
	for _, p := range bufs {
		sum = crc32.Update(sum, castagnoli, p)
	}
	return sum
}

// Send sends at once what fits, or begins an operation.
func (d *loop) Send(id driver.ID, bufs [][]byte) (int, error) {
	d.enter("Send")
	n := d.net
	defer n.mu.Unlock()
	i := d.find(id, "Send", false)
	if i == 0 {
		return 0, os.NewSyscallError("send", syscall.EBADF)
	}
	e := n.ends.at(i)
	switch {
	case e.is(sending):
		d.violate("Send of connection %d while another is unanswered", id)
		return 0, os.NewSyscallError("send", syscall.EALREADY)
	case e.is(writeEnded):
		d.violate("Send of connection %d after CloseWrite", id)
		return 0, os.NewSyscallError("send", syscall.EPIPE)
	}
	total := 0
	for _, p := range bufs {
		total += len(p)
	}
	if total == 0 {
		return 0, nil
	}
	limit, wanton := total, n.chance(n.faults.Spurious)
	if n.chance(n.faults.PartialSend) {
		limit = n.rng.IntN(total)
	}
	sent := 0
	if e.is(completion) {
		if wanton {
			limit = 0
		}
		bufs = append([][]byte(nil), bufs...)
		n.ends.busy(e).op = operation{bufs: bufs, limit: limit, sum: checksum(bufs)}
	} else {
		var err error
		if sent, err = n.gather(i, bufs, 0, limit); err != nil {
			return sent, os.NewSyscallError("send", err)
		}
		if sent == total {
			return sent, nil
		}
	}
	e.flags |= sending
	if wanton {
		e.flags |= spurious
	}
	n.touch(i)
	return sent, nil
}

// gather sends up to want bytes of bufs from offset from on, as far as there is
// room, and returns how many.
func (n *Network) gather(i uint32, bufs [][]byte, from, want int) (sent int, err error) {
	for _, p := range bufs {
		skip := min(from, len(p))
		from -= skip
		p = p[skip:]
		p = p[:min(len(p), want-sent)]
		if len(p) == 0 {
			continue
		}
		k, err := n.write(i, p)
		sent += k
		if err != nil || k < len(p) {
			return sent, err
		}
	}
	return sent, nil
}

// answer goes on with the unanswered Send of end i and reports when it is
// over.
func (d *loop) answer(i uint32) event {
	n := d.net
	e := n.ends.at(i)
	ev := event{kind: sentEvent, id: driver.ID(e.id)}
	if e.is(completion) {
		op := &n.ends.busy(e).op
		k, err := n.gather(i, op.bufs, op.done, op.limit-op.done)
		op.done += k
		if err == nil && op.done < op.limit {
			return event{}
		}
		ev.n, ev.err = op.done, err
	} else if e.is(broken) {
		ev.err = syscall.ECONNRESET
	}
	if ev.err != nil {
		ev.err = os.NewSyscallError("send", ev.err)
	}
	n.drop(i)
	return ev
}

// drop ends the Send of end i, if there is one.
func (n *Network) drop(i uint32) {
	e := n.ends.at(i)
	e.flags &^= sending | spurious
	if e.extra == 0 {
		return
	}
	if x := n.ends.extras[e.extra]; x.op.bufs != nil {
		if checksum(x.op.bufs) != x.op.sum {
			n.violate("loop %d: the memory of a Send of connection %d was changed before its Sent", e.loop, e.id)
		}
		x.op = operation{}
		n.ends.settle(e)
	}
}

// abandon ends the Send of a connection that was shut. The kernel may have
// been sending meanwhile: some more of it may leave.
func (n *Network) abandon(i uint32) {
	e := n.ends.at(i)
	if e.is(sending) && !e.is(aborting) {
		op := &n.ends.busy(e).op
		// An error means that the connection is broken, which ends it too.
		_, _ = n.gather(i, op.bufs, op.done, n.rng.IntN(op.limit-op.done+1))
	}
	n.drop(i)
}

// CloseWrite ends the sending direction.
func (d *loop) CloseWrite(id driver.ID) {
	d.enter("CloseWrite")
	n := d.net
	defer n.mu.Unlock()
	i := d.find(id, "CloseWrite", false)
	if i == 0 {
		return
	}
	e := n.ends.at(i)
	if e.is(sending) {
		d.violate("CloseWrite of connection %d while a Send is unanswered", id)
		n.drop(i)
	}
	if !e.is(writeEnded) {
		n.finish(i)
	}
}
