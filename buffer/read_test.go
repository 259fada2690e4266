package buffer

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"testing/iotest"
)

func TestZeroValueIsAnEmptyBufferOverTheDefaultPool(t *testing.T) {
	live := Default.Live()
	var b LinkBuffer
	b.Release()
	b.WriteString("hello")
	if Default.Live() != live+1 {
		t.Error("the block is not from Default")
	}
	p := newPool(t)
	b.SetPool(p)
	b.Malloc(sizeMedium)
	if Default.Live() != live+1 || p.Live() != 1 {
		t.Error("SetPool does not concern new blocks alone")
	}
	b.Close()
	if Default.Live() != live {
		t.Error("Close did not give the block back")
	}
}

func TestNextPeekAndSkipReadInOrder(t *testing.T) {
	b := newBuffer(newPool(t), "hello ", "world", "!")
	got, err := b.Peek(3)
	want(t, got, err, "hel")
	got, err = b.Next(4)
	want(t, got, err, "hell")
	if err := b.Skip(2); err != nil {
		t.Fatal(err)
	}
	got, err = b.Next(5) // a whole node
	want(t, got, err, "world")
	wantAll(t, b, "!")
	got, err = b.Next(1)
	want(t, got, err, "!")
	wantAll(t, b, "")
	b.Release()
}

func TestReadingMoreThanThereIsConsumesNothing(t *testing.T) {
	p := newPool(t)
	b, dst := newBuffer(p, "abc", "def"), newBuffer(p)
	calls := map[string]func(n int) error{
		"Peek":  func(n int) error { _, err := b.Peek(n); return err },
		"Next":  func(n int) error { _, err := b.Next(n); return err },
		"Skip":  b.Skip,
		"Slice": func(n int) error { return b.Slice(dst, n) },
	}
	for name, call := range calls {
		if err := call(7); !errors.Is(err, ErrShort) {
			t.Errorf("%s(7) of 6 bytes: %v", name, err)
		}
		if err := call(-1); err == nil || errors.Is(err, ErrShort) {
			t.Errorf("%s(-1): %v", name, err)
		}
	}
	if _, err := b.Until('x'); !errors.Is(err, ErrShort) {
		t.Errorf("Until without the delimiter: %v", err)
	}
	wantAll(t, b, "abcdef")
	wantAll(t, dst, "")
	b.Close()
}

func TestZeroLengthsDoNothing(t *testing.T) {
	p := newPool(t)
	b, dst := newBuffer(p), newBuffer(p)
	blk := p.Get(1)
	zero := func() {
		t.Helper()
		got, err := b.Peek(0)
		want(t, got, err, "")
		got, err = b.Next(0)
		want(t, got, err, "")
		n, err := b.Read(nil)
		if n != 0 || err != nil {
			t.Errorf("Read(nil) = %d, %v", n, err)
		}
		if err := errors.Join(b.Skip(0), b.Slice(dst, 0)); err != nil {
			t.Error(err)
		}
		b.Write(nil)
		b.WriteString("")
		b.Append(nil)
		b.Append([]byte{})
		b.AppendBlock(blk, blk.Bytes()[:0])
		b.AppendBuffer(dst)
		b.AppendBuffer(new(LinkBuffer))
		if got := b.Malloc(0); len(got) != 0 {
			t.Errorf("Malloc(0) has %d bytes", len(got))
		}
	}
	zero()
	if b.head != nil || b.Bytes() != nil || b.Buffers(nil, 9) != nil || blk.Shared() {
		t.Error("an empty buffer holds something")
	}
	b.WriteString("x")
	zero()
	wantAll(t, b, "x")
	b.Skip(1)
	zero()
	b.Release()
	blk.Release()
}

func TestLoansStayValidUntilRelease(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p, "first ", "second ", "third")
	first, err := b.Next(6)
	want(t, first, err, "first ")
	peeked, err := b.Peek(3)
	want(t, peeked, err, "sec")
	merged, err := b.Peek(10) // merges a seam, over a block that is lent
	want(t, merged, err, "second thi")
	again, err := b.Peek(10)
	want(t, again, err, "second thi")
	if &again[0] != &merged[0] {
		t.Error("the second Peek copied again")
	}
	whole, err := b.Next(12)
	want(t, whole, err, "second third")
	b.WriteString("more")
	more, err := b.Next(4)
	want(t, more, err, "more")

	scribble(p)
	want(t, first, nil, "first ")
	want(t, peeked, nil, "sec")
	want(t, merged, nil, "second thi")
	want(t, whole, nil, "second third")
	want(t, more, nil, "more")
	b.Release()
	if p.Live() != 0 {
		t.Errorf("an empty released buffer owns %d blocks", p.Live())
	}
}

func TestReleaseKeepsWhatIsUnread(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p, "one", "two", "three")
	b.Next(4)
	b.Release()
	if p.Live() != 2 {
		t.Errorf("%d blocks are held for what lies in 2", p.Live())
	}
	scribble(p)
	wantAll(t, b, "wothree")
	b.Close()
	if p.Live() != 0 || b.Len() != 0 {
		t.Errorf("after Close: %d blocks, Len %d", p.Live(), b.Len())
	}
	b.WriteString("again")
	wantAll(t, b, "again")
	b.Close()
}

func TestLentSlicesEndAtTheirLength(t *testing.T) {
	b := newBuffer(newPool(t), "abc", "def")
	blk := b.pool.Get(1)
	lent := [][]byte{b.Malloc(3)}
	for _, n := range []int{1, 3, 5} {
		p, _ := b.Peek(n)
		lent = append(lent, p)
	}
	lent = append(lent, b.Buffers(nil, 9)...)
	b.AppendBlock(blk, blk.Bytes()[:1])
	lent = append(lent, b.Bytes())
	for i, p := range lent {
		if cap(p) != len(p) {
			t.Errorf("slice %d has %d bytes behind it that an append would overwrite", i, cap(p)-len(p))
		}
	}
	blk.Release()
	b.Close()
}

func TestReadingAheadInSmallStepsCopiesEachByteOnce(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p, strings.Split(strings.Repeat("x", 1000), "")...)
	for n := 2; n <= 1000; n++ {
		got, err := b.Peek(n)
		want(t, got, err, strings.Repeat("x", n))
	}
	if merged := p.Live() - 1000; merged != 1 {
		t.Errorf("the bytes were copied into %d blocks, one after the other", merged)
	}
	b.Release()
	if p.Live() != 1 {
		t.Errorf("%d blocks after a merge of all", p.Live())
	}
	b.Close()
}

func TestReadingFarAheadCopiesSeldom(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	b.Write(pattern(100 * sizeLarge))
	for n := sizeLarge; n <= 100*sizeLarge; n += sizeLarge {
		if _, err := b.Peek(n); err != nil {
			t.Fatal(err)
		}
	}
	if merged := p.live[classExact].Load(); merged > 25 {
		t.Errorf("100 steps copied everything %d times", merged)
	}
	b.Close()
}

func TestUntilAndIndexByteSearchOverSeams(t *testing.T) {
	b := newBuffer(newPool(t), "GET / HTTP", "/1.1\r", "\n", "Host: x\r\n", "rest")
	for _, c := range []struct {
		delim      byte
		from, want int
	}{
		{'G', 0, 0}, {'G', -5, 0}, {'G', 1, -1}, {'/', 0, 4}, {'/', 4, 4}, {'/', 5, 10},
		{'\n', 0, 15}, {'\n', 15, 15}, {'\n', 16, 24}, {'t', 0, 19}, {'t', 26, 28},
		{'t', 29, -1}, {'t', math.MaxInt, -1}, {'?', 0, -1},
	} {
		if got := b.IndexByte(c.delim, c.from); got != c.want {
			t.Errorf("IndexByte(%q, %d) = %d, want %d", c.delim, c.from, got, c.want)
		}
	}
	line, err := b.Until('\n')
	want(t, line, err, "GET / HTTP/1.1\r\n")
	header, err := b.Until('\n')
	want(t, header, err, "Host: x\r\n")
	want(t, line, nil, "GET / HTTP/1.1\r\n")
	if i := b.IndexByte('H', 0); i != -1 {
		t.Errorf("IndexByte found a consumed byte at %d", i)
	}
	b.Close()
	if i := b.IndexByte('r', 0); i != -1 {
		t.Errorf("IndexByte found %d in an empty buffer", i)
	}
}

func TestReadIsAnIOReader(t *testing.T) {
	content := pattern(100 << 10)
	b := newBuffer(newPool(t))
	b.Write(content[:70<<10])
	b.Append(content[70<<10:])
	if err := iotest.TestReader(b, content); err != nil {
		t.Error(err)
	}
	if n, err := b.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("Read of an empty buffer = %d, %v", n, err)
	}
}

func TestCopyingReadersNeedNoRelease(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	chunk := make([]byte, 700)
	b.WriteString("lent once")
	b.Peek(4)
	b.Release()
	for range 100 {
		b.Write(chunk)
		if b.Len() > 5000 {
			b.Skip(2000)
		}
		b.Read(chunk[:600])
		if p.Live() > 10 {
			t.Fatalf("%d blocks are held for %d bytes", p.Live(), b.Len())
		}
	}
	io.Copy(io.Discard, b)
	if p.Live() != 0 {
		t.Errorf("%d blocks after reading all", p.Live())
	}
}

func TestSkipAndReadLeaveLoansAlone(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p, "lent", "skipped", "read")
	lent, err := b.Next(4)
	b.Skip(7)
	io.ReadAll(b)
	scribble(p)
	want(t, lent, err, "lent")
	b.Release()
}

func TestSliceKeepsBlocksAliveWithoutTheSource(t *testing.T) {
	for _, lent := range []bool{false, true} {
		p := newPool(t)
		b, dst := newBuffer(p, "head ", "body ", "tail"), newBuffer(p)
		b.Append([]byte(" of the caller"))
		var head []byte
		if lent {
			head, _ = b.Peek(4)
		}
		first := &b.read.buf[2]
		b.Skip(2)
		if err := b.Slice(dst, 15); err != nil {
			t.Fatal(err)
		}
		wantAll(t, dst, "ad body tail of")
		if &dst.read.unread()[0] != first {
			t.Error("Slice copied")
		}
		wantAll(t, b, " the caller")
		if lent { // what the destination gives back is still lent by b
			dst.Skip(10)
			dst.Release()
			scribble(p)
			want(t, head, nil, "head")
			b.Close()
			scribble(p)
			wantAll(t, dst, "il of")
		} else {
			b.Close()
			scribble(p)
			wantAll(t, dst, "ad body tail of")
		}
		dst.Close()
	}
}

func TestSliceIntoItselfIsRefused(t *testing.T) {
	b := newBuffer(newPool(t), "abc")
	if err := b.Slice(b, 2); err == nil {
		t.Error("no error")
	}
	b.AppendBuffer(b)
	wantAll(t, b, "abc")
	b.Close()
}

func TestSliceAndSourceDoNotWriteIntoEachOther(t *testing.T) {
	p := newPool(t)
	b, dst := newBuffer(p), newBuffer(p)
	b.WriteString("abcdef")
	b.Slice(dst, 3) // both lie in one block with room behind
	b.WriteString("ghi")
	dst.WriteString("XYZ")
	wantAll(t, b, "defghi")
	wantAll(t, dst, "abcXYZ")

	peeked, err := b.Peek(2)
	b.Slice(dst, 6) // all of it, while some is lent
	b.WriteString("123")
	dst.WriteString("456")
	wantAll(t, b, "123")
	wantAll(t, dst, "abcXYZdefghi456")
	want(t, peeked, err, "de")
	b.Close()
	dst.Close()
}

func TestCompactFreesLargeBlocksFromSmallRests(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	scratch := p.Get(sizeLarge)
	content := pattern(sizeLarge)
	copy(scratch.Bytes(), content)

	b.AppendBlock(scratch, scratch.Bytes())
	b.Next(sizeLarge - 100)
	b.Compact()
	if scratch.Shared() || p.LiveBytes() != sizeLarge+sizeSmall {
		t.Errorf("100 bytes hold %d", p.LiveBytes()-sizeLarge)
	}
	b.AppendBlock(scratch, scratch.Bytes()[:200]) // fits behind the rest
	b.Compact()
	if scratch.Shared() || p.LiveBytes() != sizeLarge+sizeSmall {
		t.Errorf("300 bytes hold %d", p.LiveBytes()-sizeLarge)
	}
	wantAll(t, b, string(content[sizeLarge-100:])+string(content[:200]))
	b.AppendBlock(scratch, scratch.Bytes()[:20<<10])
	b.Compact()
	if !scratch.Shared() {
		t.Error("Compact copied a large rest")
	}
	b.Close()
	b.Compact()
	scratch.Release()
}

func TestCompactOfManySmallArrivalsHoldsLittleMore(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	scratch := p.Get(sizeLarge)
	var all bytes.Buffer
	for i := range 3000 {
		n := copy(scratch.Bytes(), pattern(i%97+1))
		all.Write(scratch.Bytes()[:n])
		b.AppendBlock(scratch, scratch.Bytes()[:n])
		b.Compact()
	}
	if held := p.LiveBytes() - sizeLarge; scratch.Shared() || held > int64(all.Len())+sizeLarge {
		t.Errorf("%d bytes hold %d", all.Len(), held)
	}
	wantAll(t, b, all.String())
	b.Close()
	scratch.Release()
}

func TestCompactLeavesRoomForWhatIsToCome(t *testing.T) {
	p := newPool(t)
	b := newBuffer(p)
	b.Write(pattern(sizeLarge)) // fills a block; the next is chosen for growth
	b.WriteString("x")
	before := &b.Buffers(nil, 2)[1][0]
	b.Compact()
	if after := &b.Buffers(nil, 2)[1][0]; after != before {
		t.Error("Compact copied a piece that was about to grow")
	}
	b.Close()
}
