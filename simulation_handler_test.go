package sluice

import (
	"fmt"
	"time"

	"github.com/sluice-go/sluice/buffer"
)

// This file is the engine's side of a script: a handler that does what the
// dice say, and notes what it saw.

// enter checks that no callback runs inside another.
func (s *script) enter(name string, c Conn) *simConn {
	sc, open := s.open[c]
	if !open && name != "OnOpen" {
		s.fail("%s for a connection that is not open", name)
	}
	if s.inCallback {
		s.fail("%s inside another callback", name)
	}
	s.inCallback, s.current = true, c
	number := -1
	if sc != nil {
		number = sc.number
	}
	fmt.Fprintln(s.hash, name, number)
	return sc
}

func (s *script) leave() { s.inCallback, s.current = false, Conn{} }

func (s *script) OnOpen(c Conn) {
	s.enter("OnOpen", c)
	defer s.leave()
	if _, twice := s.open[c]; twice {
		s.fail("OnOpen twice")
	}
	s.open[c] = nil
	if s.dice.IntN(40) == 0 {
		panic(errTest)
	}
}

func (s *script) OnData(c Conn, in *buffer.LinkBuffer) {
	sc := s.enter("OnData", c)
	defer s.leave()
	if sc == nil {
		if sc = s.introduce(c, in); sc == nil {
			return
		}
	}
	if sc.ended {
		s.fail("connection %d: OnData after its end was asked for", sc.number)
	}
	if sc.paused && !sc.woken {
		s.fail("connection %d: OnData while paused", sc.number)
	}
	if in.Len() > sc.left { // else it is Wake's
		sc.heard = c.ch.loop.now
	}
	sc.read(in)
	sc.left = in.Len()
	for s.dice.IntN(3) == 0 {
		sc.engineStep(c)
	}
	if s.dice.IntN(200) == 0 {
		sc.ended = true
		panic(errTest)
	}
}

// introduce reads the number with which every peer begins.
func (s *script) introduce(c Conn, in *buffer.LinkBuffer) *simConn {
	p, err := in.Peek(3)
	if err != nil {
		return nil // not all there yet
	}
	n := int(p[1])<<8 | int(p[2])
	if p[0] != 'c' || n >= len(s.conns) || s.conns[n].opened {
		s.fail("a connection begins with %q", p)
		return nil
	}
	sc := s.conns[n]
	sc.opened, sc.handle = true, c
	s.open[c] = sc
	return sc
}

func (s *script) OnDrain(c Conn) {
	sc := s.enter("OnDrain", c)
	defer s.leave()
	if c.PendingWrite() > 1000 {
		s.fail("OnDrain with %d bytes pending", c.PendingWrite())
	}
	if sc != nil && s.dice.IntN(2) == 0 {
		sc.engineStep(c)
	}
}

func (s *script) OnReadIdle(c Conn) {
	sc := s.enter("OnReadIdle", c)
	defer s.leave()
	now := c.ch.loop.now
	if sc == nil || sc.readIdle == 0 || sc.ended || now-sc.heard < sc.readIdle {
		s.fail("OnReadIdle that was not asked for, of %+v at %d", sc, now)
		return
	}
	sc.heard = now
	if s.dice.IntN(2) == 0 {
		sc.engineStep(c)
	}
	if s.dice.IntN(50) == 0 {
		sc.ended = true
		panic(errTest)
	}
}

func (s *script) OnHangup(c Conn, err error) {
	sc := s.enter("OnHangup", c)
	defer s.leave()
	fmt.Fprintln(s.hash, err)
	if sc == nil || sc.hungUp || sc.job == nil {
		s.fail("OnHangup without an unfinished job, or twice")
		return
	}
	sc.hungUp = true
	if _, err := c.Write([]byte("late")); err == nil || c.AboveHighWater() {
		s.fail("connection %d: writing seems possible in OnHangup", sc.number)
	}
	if sc.job.begun {
		sc.finishJob(false)
	}
	if s.dice.IntN(20) == 0 {
		panic(errTest)
	}
}

func (s *script) OnClose(c Conn, err error) {
	sc := s.enter("OnClose", c)
	defer s.leave()
	fmt.Fprintln(s.hash, err)
	delete(s.open, c)
	if sc != nil {
		sc.closed, sc.cause, sc.left = true, err, c.PendingRead()
		if sc.job != nil && sc.job.begun {
			s.fail("connection %d: OnClose while a job runs", sc.number)
		}
	}
	if _, werr := c.Write([]byte("late")); werr == nil {
		s.fail("Write works in OnClose")
	}
	if s.dice.IntN(100) == 0 {
		panic(errTest)
	}
}

// read takes some of the bytes that are there, by one of the ways to do so.
func (c *simConn) read(in *buffer.LinkBuffer) {
	d := c.s.dice
	n := in.Len()
	if n > 0 && d.IntN(3) == 0 {
		n = d.IntN(n + 1)
	}
	switch d.IntN(4) {
	case 0:
		p, _ := in.Next(n)
		c.got = append(c.got, p...)
	case 1:
		p := make([]byte, n)
		k, _ := in.Read(p)
		c.got = append(c.got, p[:k]...)
	case 2:
		p, _ := in.Peek(n)
		c.got = append(c.got, p...)
		_ = in.Skip(n)
	case 3:
		var other buffer.LinkBuffer
		_ = in.Slice(&other, n)
		c.got = append(c.got, other.Bytes()...)
		if d.IntN(2) == 0 && c.keep.Len() < 10_000 {
			c.kept = append(c.kept, other.Bytes()...)
			c.keep.AppendBuffer(&other) // keeps the blocks beyond the callback
		}
		other.Close()
	}
}

// engineStep does one thing with the connection's handle.
func (c *simConn) engineStep(h Conn) {
	d := c.s.dice
	switch what := d.IntN(24); what {
	case 0:
		if h.Close() == nil {
			c.ended = true
		}
	case 1:
		if d.IntN(4) == 0 && h.Abort() == nil {
			c.ended, c.aborted = true, true
		}
	case 2:
		if d.IntN(2) == 0 && h.CloseWrite() == nil {
			c.finSent = true
		}
	case 3:
		if h.PauseRead() == nil {
			c.paused = c.s.inCallback && c.s.current == h
		}
	case 4, 5:
		if h.ResumeRead() == nil {
			c.paused = false
		}
	case 6:
		if h.Wake() == nil {
			c.woken = true
		}
	case 7:
		c.execute(h)
	case 8:
		t, err := h.AfterFunc(time.Duration(d.IntN(400))*time.Millisecond, func(h Conn) {
			c.s.enter("AfterFunc", h)
			defer c.s.leave()
			c.engineStep(h)
		})
		if err == nil && d.IntN(3) == 0 {
			t.Stop()
		}
	case 9:
		c.idleAfter(h, int64(d.IntN(1000)))
	case 10:
		_ = h.SetNoDelay(d.IntN(2) == 0)
		_ = h.RemoteAddr()
		_ = h.LocalAddr()
	case 11:
		_ = h.Flush()
	case 12:
		_ = h.SetWaterMarks(d.IntN(1000), 1000+d.IntN(4000), 1<<20)
	case 13:
		c.offload(h)
	default:
		c.write(h, what)
	}
}

// execute gives a function to the connection, or to its loop alone.
func (c *simConn) execute(h Conn) {
	s := c.s
	if s.dice.IntN(2) == 0 {
		_ = h.Execute(func(h Conn) {
			s.enter("Execute", h)
			defer s.leave()
			c.engineStep(h)
		})
		return
	}
	err := h.EventLoop().Execute(func() {
		if s.called++; s.inCallback {
			s.fail("a function of EventLoop.Execute inside a callback")
		}
		c.engineStep(h)
		if s.dice.IntN(20) == 0 {
			panic(errTest)
		}
	})
	if err == nil {
		s.given++
	}
}

// idleAfter sets one of the two times whose clock is one.
func (c *simConn) idleAfter(h Conn, ms int64) {
	d := time.Duration(ms) * time.Millisecond
	if c.s.dice.IntN(2) == 0 {
		if h.SetReadIdle(d) == nil {
			c.readIdle, c.heard = ms, h.ch.loop.time()
		}
	} else if h.SetIdleTimeout(d) == nil {
		c.readIdle = 0
	}
}

// each visits the listener's connections as Listener.Each does, which is not
// called because it would wait for the passes that the script makes.
func (s *script) each() {
	seen := map[Conn]bool{}
	for _, l := range s.eng.loops {
		w := &walk{l: l, route: s.ln.acceptors[0].route, done: func() {}}
		w.fn = func(c Conn) {
			sc := s.enter("Each", c)
			defer s.leave()
			if seen[c] || c.Loop() != l.index {
				s.fail("Each visits a connection twice, or another loop's")
			}
			seen[c] = true
			if sc != nil {
				sc.engineStep(c)
			}
		}
		l.do(w.begin)
	}
}

// write writes the next bytes of the connection's stream by one of the ways
// to do so.
func (c *simConn) write(h Conn, way int) {
	d := c.s.dice
	p := c.more(1, len(c.written), d.IntN(1<<d.IntN(14)))
	var err error
	switch way % 5 {
	case 0:
		_, err = h.Write(p)
	case 1:
		_, err = h.WriteString(string(p))
	case 2:
		err = h.Append(p)
	case 3:
		_, err = h.Writev(split(p, 1+d.IntN(9)))
	case 4:
		var b buffer.LinkBuffer
		cut := d.IntN(len(p) + 1)
		copy(b.Malloc(cut), p)
		b.Append(p[cut:])
		err = h.WriteBuffer(&b)
		b.Close()
	}
	switch {
	case err == nil && (c.closed || c.ended || c.finSent):
		c.s.fail("connection %d: a write after the end was accepted", c.number)
	case err == nil:
		c.written = append(c.written, p...)
	}
}
