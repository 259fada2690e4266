package ws

import (
	"bytes"
	"io"
	"math"
	"sync"

	"github.com/klauspost/compress/flate"
)

// The levels of compression that Deflater.Level 0 means. Up to 4 a message without
// repetitions is not compressed at all, above 5 some percent cost twice the time. But
// with a dictionary of 32 KiB the levels up to 6 spend their time on that.
const (
	defaultLevel    = 5
	defaultTakeover = 7
)

// tail is what a compressor ends a message with and what is not sent (RFC 7692
// 7.2.1).
const tail = "\x00\x00\xff\xff"

// A message to be inflated is followed by the tail and by a last, empty block, so
// that the decompressor ends there and nowhere else.
const lastBlock = "\x01" + tail

// dictionaryMin is the length from which a message gains by the dictionary: the
// fast compressors do not look into it for a shorter one, but go through it.
const dictionaryMin = 128

// fastMax is the highest level of the fast compressors.
const fastMax = 6

// compressor is a pooled flate.Writer that writes to a slice.
type compressor struct {
	w   *flate.Writer
	out []byte
}

func (c *compressor) Write(p []byte) (int, error) {
	c.out = append(c.out, p...)
	return len(p), nil
}

// compressors has one pool for each level with the largest window, from 1 to 9,
// and one for each smaller window, from 8 to 14 bits, whose level is fixed.
var compressors [10 + maxBits]sync.Pool

// borrow returns a compressor for a window and, if that is the largest, a level.
func borrow(bits, level int) (c *compressor, pool *sync.Pool) {
	pool = &compressors[level]
	if bits < maxBits {
		pool = &compressors[10+bits]
	}
	if c, _ = pool.Get().(*compressor); c != nil {
		return c, pool
	}
	c = new(compressor)
	var err error
	if bits < maxBits {
		c.w, err = flate.NewWriterWindow(c, 1<<bits)
	} else {
		c.w, err = flate.NewWriter(c, level)
	}
	if err != nil {
		panic("ws: " + err.Error()) // the arguments are in range
	}
	return c, pool
}

// Deflater compresses the messages that one side sends. The zero value is one
// without context takeover, with the largest window and the usual level. It is for
// one goroutine at a time.
type Deflater struct {
	Side Side

	// Level is from 1, which is fast, to 9. 0 means 5 or, with Takeover, 7. With a
	// smaller window than the largest it does not count.
	Level int
	seen  []byte // with Takeover: the end of what was sent
}

// Append appends the payload of a compressed message (RFC 7692 7.2.1). With
// Takeover the messages must be sent in the order of the calls.
func (d *Deflater) Append(dst, message []byte) []byte {
	bits, level := lesser(d.Side.Bits, 0), d.Level
	if level < 1 || level > 9 {
		if level = defaultLevel; d.Side.Takeover {
			level = defaultTakeover
		}
	}
	dictionary, fast := d.seen, bits < maxBits || level <= fastMax
	if fast && len(message) < dictionaryMin {
		dictionary = nil
	}
	c, pool := borrow(bits, level)
	c.out = dst
	c.w.ResetDict(c, dictionary)
	_, _ = c.w.Write(message) // neither fails, as c does not
	_ = c.w.Flush()
	dst, c.out = bytes.TrimSuffix(c.out, []byte(tail)), nil
	pool.Put(c)
	d.Sent(message)
	return dst
}

// Sent notes that a message was sent compressed that Append has not compressed:
// one that was compressed once for many, with a window no larger than d's.
func (d *Deflater) Sent(message []byte) {
	if d.Side.Takeover {
		d.seen = slide(d.seen, message, d.Side.window())
	}
}

// slide returns the last size bytes of a stream whose end was window when more is
// added to it.
func slide(window, more []byte, size int) []byte {
	if len(more) >= size {
		return append(window[:0], more[len(more)-size:]...)
	}
	if over := len(window) + len(more) - size; over > 0 {
		window = window[:copy(window, window[over:])]
	}
	return append(window, more...)
}

// decompressor is a pooled flate reader over a slice.
type decompressor struct {
	r    io.ReadCloser
	from bytes.Reader
	in   []byte
	seen []byte // what a further stream may refer to
}

var decompressors = sync.Pool{New: func() any {
	return &decompressor{r: flate.NewReader(bytes.NewReader(nil))}
}}

// maxStreams is how often a message may begin a new stream. One or two are what
// compressors do; each has its price, and takes as little as two bytes.
const maxStreams = 8

// keepMax is the capacity up to which scratch memory goes back to a pool.
const keepMax = 64 << 10

// Inflater decompresses the messages that one side sends. The zero value is one
// without context takeover. It is for one goroutine at a time.
type Inflater struct {
	Side Side
	seen []byte // with Takeover: the end of what came
}

// Append appends the message whose payload p is (RFC 7692 7.2.2). The error is
// ErrCompressed or, if the message has more than limit bytes, ErrMessageLimit;
// one more than limit was written then. 0 means no limit.
func (i *Inflater) Append(dst, p []byte, limit int64) ([]byte, error) {
	d := decompressors.Get().(*decompressor)
	d.in = append(append(d.in[:0], p...), tail+lastBlock...)
	d.from.Reset(d.in)
	out, err := d.inflate(dst, i.seen, limit)
	d.from.Reset(nil)
	if cap(d.in) > keepMax {
		d.in = nil
	}
	decompressors.Put(d)
	if err == nil && i.Side.Takeover {
		i.seen = slide(i.seen, out[len(dst):], i.Side.window())
	}
	return out, err
}

// inflate appends what d.from holds.
func (d *decompressor) inflate(dst, window []byte, limit int64) ([]byte, error) {
	if limit <= 0 || limit == math.MaxInt64 {
		limit = math.MaxInt64 - 1 // one more can be counted
	}
	begin := len(dst)
	_ = d.r.(flate.Resetter).Reset(&d.from, window) // never fails
	for streams := 1; ; {
		size := len(dst) - begin
		room := limit + 1 - int64(size)
		if len(dst) == cap(dst) {
			more := min(int64(max(512, min(size, 1<<20), 2*d.from.Len())), room)
			dst = append(dst, make([]byte, more)...)[:len(dst)]
		}
		free := dst[len(dst):cap(dst)]
		n, err := d.r.Read(free[:min(int64(len(free)), room)])
		dst = dst[:len(dst)+n]
		switch {
		case int64(n) == room:
			return dst, ErrMessageLimit
		case n > 0 && d.from.Len() < len(lastBlock): // it was not the tail that ended the message
			return dst, ErrCompressed
		case err == io.EOF && d.from.Len() == 0:
			return dst, nil
		case err == io.EOF && streams < maxStreams:
			// The sender ended a stream and began another (RFC 7692 7.2.3.4).
			streams++
			d.seen = slide(append(d.seen[:0], window...), dst[begin:], 1<<maxBits)
			_ = d.r.(flate.Resetter).Reset(&d.from, d.seen)
		case err != nil:
			return dst, ErrCompressed
		}
	}
}
