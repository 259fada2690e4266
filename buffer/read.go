package buffer

import (
	"bytes"
	"errors"
	"io"
)

// ErrShort is returned by methods that were asked for more bytes than there
// are. Nothing was consumed.
var ErrShort = errors.New("buffer: not enough bytes")

var (
	errNegative = errors.New("buffer: negative count")
	errSelf     = errors.New("buffer: Slice of a buffer into itself")
)

// check tells whether n bytes can be read.
func (b *LinkBuffer) check(n int) error {
	if n < 0 {
		return errNegative
	}
	if n > b.n {
		return ErrShort
	}
	return nil
}

// Peek lends the next n bytes in one piece without consuming them. The slice
// is valid until Release or Close and must not be written to. The error is
// ErrShort if there are fewer.
//
// Bytes that lie in several blocks are copied into one first, which takes
// their place, so that reading them again is free.
func (b *LinkBuffer) Peek(n int) ([]byte, error) {
	if err := b.check(n); err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, nil
	}
	if len(b.read.buf)-b.read.off < n {
		b.gather(n)
	}
	b.lent = true
	r := b.read
	return r.buf[r.off : r.off+n : r.off+n], nil
}

// Next is Peek that also consumes the bytes.
func (b *LinkBuffer) Next(n int) ([]byte, error) {
	p, err := b.Peek(n)
	b.consume(len(p))
	return p, err
}

// Skip consumes n bytes. The error is ErrShort if there are fewer.
func (b *LinkBuffer) Skip(n int) error {
	if err := b.check(n); err != nil {
		return err
	}
	b.consume(n)
	b.settle()
	return nil
}

// Until lends and consumes the bytes up to and including the first delim, as
// Next does. The error is ErrShort if there is none.
func (b *LinkBuffer) Until(delim byte) ([]byte, error) {
	i := b.IndexByte(delim, 0)
	if i < 0 {
		return nil, ErrShort
	}
	return b.Next(i + 1)
}

// IndexByte returns the offset of the first delim at or after offset from, or
// -1 if there is none. Offsets count from the first unread byte; a negative
// from means 0. Nothing is copied or consumed.
func (b *LinkBuffer) IndexByte(delim byte, from int) int {
	from = max(from, 0)
	start := 0 // the offset of the node
	for nd := b.read; nd != nil && start < b.n; nd = nd.next {
		p := nd.unread()
		if skip := max(from-start, 0); skip < len(p) {
			if i := bytes.IndexByte(p[skip:], delim); i >= 0 {
				return start + skip + i
			}
		}
		start += len(p)
	}
	return -1
}

// Slice moves the next n bytes to the end of dst without a copy. The blocks
// they lie in stay alive for as long as b or dst needs them: a few bytes keep
// a whole block, of 64 KiB perhaps. AppendBuffer and Write copy what is small.
// The error is ErrShort if there are fewer; dst must not be b.
func (b *LinkBuffer) Slice(dst *LinkBuffer, n int) error {
	if err := b.check(n); err != nil {
		return err
	}
	if dst == b {
		return errSelf
	}
	for n > 0 {
		r := b.read
		p := r.unread()
		if len(p) > n {
			p = p[:n]
		}
		n -= len(p)
		if !b.lent && len(p) == len(r.buf)-r.off {
			b.unlinkFirst()
			dst.link(r)
			dst.n += len(p)
			continue
		}
		if r.blk != nil {
			dst.AppendBlock(r.blk, p)
		} else {
			dst.Append(p)
		}
		b.consume(len(p))
	}
	return nil
}

// unlinkFirst takes the first unread node out of a list that nothing is lent of.
func (b *LinkBuffer) unlinkFirst() {
	r := b.read
	b.n -= len(r.buf) - r.off
	b.head, b.read = r.next, r.next
	if r.next == nil {
		b.tail = nil
	}
}

// Read copies the next bytes into p and consumes them. It returns io.EOF
// exactly when the buffer is empty and p is not.
func (b *LinkBuffer) Read(p []byte) (int, error) {
	if b.n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	total := min(len(p), b.n)
	for rest := p[:total]; len(rest) > 0; {
		n := copy(rest, b.read.unread())
		rest = rest[n:]
		b.consume(n)
	}
	b.settle()
	return total, nil
}

// Bytes lends all unread bytes in one piece, as Peek(Len()) does.
func (b *LinkBuffer) Bytes() []byte {
	p, _ := b.Peek(b.n)
	return p
}

// settle gives consumed blocks back early if nothing is lent, so that a
// buffer that is only copied from does not grow for want of a Release.
func (b *LinkBuffer) settle() {
	if !b.lent {
		b.Release()
	}
}

// consume marks n bytes, which are there, as read.
func (b *LinkBuffer) consume(n int) {
	if n == 0 {
		return
	}
	b.n -= n
	r := b.read
	for left := len(r.buf) - r.off; n >= left && r.next != nil; left = len(r.buf) - r.off {
		n -= left
		r.off = len(r.buf)
		r = r.next
	}
	r.off += n
	b.read = r
}

// gather copies the first n unread bytes, which lie in several nodes, into
// one: the first if it has the room, so that reading ever further ahead does
// not copy the same bytes every time, else a new one. Nodes that are emptied
// stay in the list as consumed, because they may be lent.
func (b *LinkBuffer) gather(n int) {
	to := b.read
	if cap(to.buf)-to.off < n {
		size := n
		if size > sizeLarge {
			size += size / 4 // exact blocks have no room to grow otherwise
		}
		first := to
		to = b.newBlock(size)
		to.next, first.next = first.next, to
		to.buf = append(to.buf, first.unread()...)
		first.off = len(first.buf)
		b.read = to
	}
	for missing := n - (len(to.buf) - to.off); missing > 0; {
		from := to.next
		p := from.unread()
		p = p[:min(len(p), missing)]
		to.buf = append(to.buf, p...)
		from.off += len(p)
		missing -= len(p)
		if from.off == len(from.buf) {
			if to.next = from.next; to.next == nil {
				b.tail = to
			}
			from.next, b.head = b.head, from
		}
	}
}
