package buffer

import "unsafe"

// Write copies p to the end. It never fails.
func (b *LinkBuffer) Write(p []byte) (int, error) {
	total := len(p)
	for len(p) > 0 {
		t := b.tail
		if t == nil || len(t.buf) == cap(t.buf) {
			t = b.newBlock(b.sizeFor(len(p)))
			b.link(t)
		}
		n := copy(t.buf[len(t.buf):cap(t.buf)], p)
		t.buf = t.buf[:len(t.buf)+n]
		b.n += n
		p = p[n:]
	}
	return total, nil
}

// WriteString copies s to the end. It never fails.
func (b *LinkBuffer) WriteString(s string) (int, error) {
	return b.Write(unsafe.Slice(unsafe.StringData(s), len(s))) // Write only reads it
}

// WriteByte appends c. It never fails.
func (b *LinkBuffer) WriteByte(c byte) error {
	b.Malloc(1)[0] = c
	return nil
}

// Malloc makes room for n bytes in one piece at the end and returns it. The
// bytes count as written at once; the caller fills them, from an undefined
// content, before anything is read or sent. It panics if
// n is negative.
func (b *LinkBuffer) Malloc(n int) []byte {
	if n <= 0 {
		if n < 0 {
			panic("buffer: negative size")
		}
		return nil
	}
	t := b.tail
	if t == nil || cap(t.buf)-len(t.buf) < n {
		t = b.newBlock(max(n, b.sizeFor(n)))
		b.link(t)
	}
	from := len(t.buf)
	t.buf = t.buf[:from+n]
	b.n += n
	return t.buf[from : from+n : from+n]
}

// Append puts p at the end without a copy. The caller must leave p untouched
// until it is consumed and released.
func (b *LinkBuffer) Append(p []byte) {
	if len(p) == 0 {
		return
	}
	nd := newNode()
	nd.buf = p[:len(p):len(p)]
	b.link(nd)
	b.n += len(p)
}

// AppendBlock puts p, which lies in blk, at the end without a copy, and
// retains blk until p is consumed and released. The buffer writes nothing
// into blk.
func (b *LinkBuffer) AppendBlock(blk *Block, p []byte) {
	if len(p) == 0 {
		return
	}
	nd := blk.take()
	nd.blk = blk
	nd.buf, nd.off = p[:len(p):len(p)], 0
	b.link(nd)
	b.n += len(p)
}

// AppendBuffer moves all unread bytes of src to the end: large pieces without
// a copy, but a piece that would fit into a smaller block than the one it lies
// in is copied, so that what is queued does not hold many times its size. src
// is empty then. If src is b, nothing happens.
func (b *LinkBuffer) AppendBuffer(src *LinkBuffer) {
	if src == b {
		return
	}
	for src.n > 0 {
		r := src.read
		p := r.unread()
		if r.blk != nil && classOf(len(p)) < r.blk.class {
			_, _ = b.Write(p)
			_ = src.Skip(len(p)) // cannot fail
		} else {
			_ = src.Slice(b, len(p)) // cannot fail
		}
	}
}

// Buffers appends the unread pieces to dst in order, at most limit of them,
// and returns it. Nothing is consumed. The pieces are lent until Release, and
// those that are then unread for longer: while the buffer is only written to,
// skipped and released, each stays as it is until it is consumed. The kernel
// may therefore still read from them when a part was reported as sent.
func (b *LinkBuffer) Buffers(dst [][]byte, limit int) [][]byte {
	if b.n == 0 {
		return dst
	}
	b.lent = true
	for nd := b.read; nd != nil && limit > 0; nd = nd.next {
		dst = append(dst, nd.unread())
		limit--
	}
	return dst
}

// sizeFor chooses the size of the next block when n bytes are to be copied:
// about that much, and not less than a share of what the buffer holds, since
// one that holds much is likely to get more. Several blocks of a size are
// preferred to one that stays mostly empty.
func (b *LinkBuffer) sizeFor(n int) int {
	switch n = max(n, b.n); {
	case n <= 2*sizeSmall:
		return sizeSmall
	case n <= 4*sizeMedium:
		return sizeMedium
	}
	return sizeLarge
}
