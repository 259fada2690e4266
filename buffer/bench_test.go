package buffer

import (
	"fmt"
	"sync"
	"testing"
)

// BenchmarkEcho is one pass of an echo over a linked buffer: AppendBlock, Next,
// Write, Buffers, Skip, Release of both.
func BenchmarkEcho(b *testing.B) {
	for _, size := range messageSizes {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			e := newEcho(new(Pool))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				e.pass(size)
			}
		})
	}
}

// BenchmarkReceive is the least a loop does with bytes that its handler reads
// at once: AppendBlock, Next, Release.
func BenchmarkReceive(b *testing.B) {
	e := newEcho(new(Pool))
	b.ReportAllocs()
	for b.Loop() {
		e.in.AppendBlock(e.scratch, e.scratch.Bytes()[:1024])
		e.in.Next(1024)
		e.in.Release()
	}
}

var messageSizes = []int{64, 1 << 10, 16 << 10}

// BenchmarkSchemes compares the schemes of memory for a connection under the
// same load. Messages are echoed on 64 connections in turn. Reads do not keep
// to the messages' bounds: one brings half a message, which is left unread,
// the next the other half and a whole one. An operation is these two reads.
// waiting-B is the memory that all connections together hold while each waits
// for the second read, idle-B after it.
func BenchmarkSchemes(b *testing.B) {
	for _, size := range messageSizes {
		var pool Pool
		scratch := pool.Get(sizeLarge) // the loop's, shared by its connections
		linked := func(copying bool) func() scheme {
			return func() scheme { return newLinkedScheme(&pool, &scratch, copying) }
		}
		for _, s := range []struct {
			name string
			new  func() scheme
		}{
			{"fixed", func() scheme { return &fixedScheme{size: max(4<<10, 2*size)} }},
			{"ring", func() scheme { return newRingScheme(size) }},
			{"linked", linked(true)},
			{"linked-nocopy", linked(false)},
		} {
			b.Run(fmt.Sprintf("%s/%d", s.name, size), func(b *testing.B) { benchScheme(b, s.new, size) })
		}
	}
}

// A scheme is the memory of one connection.
type scheme interface {
	// read takes what the kernel has, echoes the whole messages of size
	// bytes to kernel, which takes all, and keeps the rest.
	read(wire []byte, size int, kernel []byte)
	held() int // bytes kept
}

func benchScheme(b *testing.B, newScheme func() scheme, size int) {
	wire := pattern(2 * size)
	kernel := make([]byte, 2*size)
	conns := make([]scheme, 64)
	waiting, idle := 0, 0
	for i := range conns {
		conns[i] = newScheme()
		conns[i].read(wire[:size/2], size, kernel)
		conns[i].read(wire[size/2:], size, kernel)
		conns[i].read(wire[:size/2], size, kernel)
	}
	for _, c := range conns {
		waiting += c.held()
		c.read(wire[size/2:], size, kernel)
		idle += c.held()
	}
	if string(kernel[:size]) != string(wire[size:]) {
		b.Fatal("the echo differs")
	}
	b.SetBytes(int64(2 * size))
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		c := conns[i%len(conns)]
		c.read(wire[:size/2], size, kernel)
		c.read(wire[size/2:], size, kernel)
	}
	b.ReportMetric(float64(waiting), "waiting-B")
	b.ReportMetric(float64(idle), "idle-B")
}

// fixedScheme makes an array of a fixed size for every read, and joins it
// with what the last one left.
type fixedScheme struct {
	size int
	rest []byte
}

func (c *fixedScheme) held() int { return cap(c.rest) }

func (c *fixedScheme) read(wire []byte, size int, kernel []byte) {
	buf := make([]byte, c.size)
	data := buf[:copy(buf, wire)]
	if len(c.rest) > 0 {
		data = append(c.rest, data...)
	}
	for len(data) >= size {
		reply := make([]byte, size)
		copy(reply, data[:size])
		data = data[size:]
		copy(kernel, reply)
	}
	c.rest = data
	if len(data) == 0 {
		c.rest = nil
	}
}

// ring is a ring buffer that doubles when it is full.
type ring struct {
	buf      []byte
	start, n int
}

func (r *ring) write(p []byte) {
	if r.n+len(p) > len(r.buf) {
		grown := make([]byte, max(2*len(r.buf), r.n+len(p)))
		n := r.n
		r.read(grown[:n])
		r.buf, r.start, r.n = grown, 0, n
	}
	end := (r.start + r.n) % len(r.buf)
	copy(r.buf, p[copy(r.buf[end:], p):])
	r.n += len(p)
}

func (r *ring) read(p []byte) {
	copy(p[copy(p, r.buf[r.start:]):], r.buf)
	r.start = (r.start + len(p)) % len(r.buf)
	r.n -= len(p)
}

// ringScheme is a ring for each direction. A message may lie across the end
// of the ring, so it is copied out to be read.
type ringScheme struct {
	in, out ring
	message []byte
}

func newRingScheme(size int) *ringScheme {
	return &ringScheme{
		in:      ring{buf: make([]byte, sizeSmall)},
		out:     ring{buf: make([]byte, sizeSmall)},
		message: make([]byte, size),
	}
}

func (c *ringScheme) held() int { return len(c.in.buf) + len(c.out.buf) }

func (c *ringScheme) read(wire []byte, size int, kernel []byte) {
	c.in.write(wire)
	for c.in.n >= size {
		c.in.read(c.message)
		c.out.write(c.message)
		c.out.read(kernel[:c.out.n])
	}
}

// linkedScheme is a LinkBuffer for each direction. The kernel reads into the
// loop's scratch block, which the connection keeps if it needs much of it.
type linkedScheme struct {
	scratch **Block
	pool    *Pool
	copying bool
	in, out LinkBuffer
	pieces  [][]byte
}

func newLinkedScheme(pool *Pool, scratch **Block, copying bool) *linkedScheme {
	c := &linkedScheme{scratch: scratch, pool: pool, copying: copying, pieces: make([][]byte, 0, 16)}
	c.in.SetPool(pool)
	c.out.SetPool(pool)
	return c
}

func (c *linkedScheme) held() int {
	n := 0
	for nd := c.in.head; nd != nil; nd = nd.next {
		n += len(nd.blk.mem)
	}
	return n
}

func (c *linkedScheme) read(wire []byte, size int, kernel []byte) {
	blk := *c.scratch
	c.in.AppendBlock(blk, blk.Bytes()[:copy(blk.Bytes(), wire)])
	for c.in.Len() >= size {
		if c.copying {
			message, _ := c.in.Next(size)
			c.out.Write(message)
		} else {
			_ = c.in.Slice(&c.out, size)
		}
		n := 0
		for _, p := range c.out.Buffers(c.pieces, 16) {
			n += copy(kernel[n:], p)
		}
		_ = c.out.Skip(n)
		c.out.Release()
	}
	c.in.Compact()
	if blk.Shared() {
		blk.Release()
		*c.scratch = c.pool.Get(sizeLarge)
	}
}

// BenchmarkReadBuffer compares where the buffer of a read may come from: a
// fixed one of the loop, or one borrowed for every read and returned.
func BenchmarkReadBuffer(b *testing.B) {
	for _, size := range messageSizes {
		wire, kernel := pattern(size), make([]byte, size)
		run := func(name string, with func(use func(buf []byte))) {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					with(func(buf []byte) { copy(kernel, buf[:copy(buf, wire)]) })
				}
			})
		}
		fixed := make([]byte, sizeLarge)
		run("loop", func(use func([]byte)) { use(fixed) })
		pool := sync.Pool{New: func() any { return new([sizeLarge]byte) }}
		run("syncpool", func(use func([]byte)) {
			buf := pool.Get().(*[sizeLarge]byte)
			use(buf[:])
			pool.Put(buf)
		})
		var blocks Pool
		run("block", func(use func([]byte)) {
			blk := blocks.Get(sizeLarge)
			use(blk.Bytes())
			blk.Release()
		})
		run("make", func(use func([]byte)) { use(make([]byte, max(4<<10, size))) })
	}
}
