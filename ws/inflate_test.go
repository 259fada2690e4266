package ws_test

import (
	"errors"
	"io"
)

// naive is a decompressor of RFC 1951 as the RFC describes it, bit by bit. It
// notes how far back a stream refers.
type naive struct {
	in       string
	bit      int    // the next one's index
	out      []byte // begins with the dictionary
	farthest int    // the greatest distance
	streams  int    // that have ended
	empty    bool   // true exactly when the last block was stored, and empty
}

var (
	errCut       = io.ErrUnexpectedEOF
	errBad       = errors.New("malformed")
	errEmptyCode = errors.New("a symbol of a code without symbols")
)

// naively inflates a message's payload, with what came before it in the window.
func naively(payload string, window []byte) (n *naive, out []byte, err error) {
	n = &naive{in: payload + "\x00\x00\xff\xff", out: append([]byte(nil), window...)}
	for n.bit < 8*len(n.in) && err == nil {
		err = n.block()
	}
	if err == nil && !n.empty {
		err = errBad // such a block is what a message ends with
	}
	return n, n.out[len(window):], err
}

// take returns the next bits, the first one lowest.
func (n *naive) take(bits int) (v int, err error) {
	for i := range bits {
		if n.bit >= 8*len(n.in) {
			return 0, errCut
		}
		v |= int(n.in[n.bit/8]>>(n.bit%8)&1) << i
		n.bit++
	}
	return v, nil
}

// align skips to the next byte.
func (n *naive) align() { n.bit = (n.bit + 7) / 8 * 8 }

func (n *naive) block() error {
	final, err := n.take(1)
	if err != nil {
		return err
	}
	kind, err := n.take(2)
	if err != nil {
		return err
	}
	n.empty = false
	switch kind {
	case 0:
		err = n.stored()
	case 1:
		err = n.copies(fixedLiterals, fixedDistances)
	case 2:
		var literals, distances code
		if literals, distances, err = n.dynamic(); err == nil {
			err = n.copies(literals, distances)
		}
	default:
		err = errBad
	}
	if final == 1 && err == nil {
		n.align() // another stream may follow
		n.streams++
	}
	return err
}

func (n *naive) stored() error {
	n.align()
	size, err := n.take(16)
	if err != nil {
		return err
	}
	inverse, err := n.take(16)
	if err != nil {
		return err
	}
	if size^0xffff != inverse {
		return errBad
	}
	n.empty = size == 0
	for range size {
		c, err := n.take(8)
		if err != nil {
			return err
		}
		n.out = append(n.out, byte(c))
	}
	return nil
}

// code is a Huffman code: how many symbols there are of each length, and the
// symbols in the order of their codes.
type code struct {
	count   [16]int
	symbols []int
}

// newCode makes the code whose lengths are given (RFC 1951 3.2.2).
func newCode(lengths []int) (c code, err error) {
	left := 1 << 15
	for length := 1; length <= 15; length++ {
		for symbol, l := range lengths {
			if l == length {
				c.count[length]++
				c.symbols = append(c.symbols, symbol)
				left -= 1 << (15 - length)
			}
		}
	}
	one := len(c.symbols) == 1 && c.count[1] == 1
	if left < 0 || left > 0 && len(c.symbols) > 0 && !one {
		return c, errBad
	}
	return c, nil
}

var fixedLiterals, fixedDistances = fixed()

func fixed() (literals, distances code) {
	lengths := make([]int, 288)
	for i := range lengths {
		switch {
		case i < 144:
			lengths[i] = 8
		case i < 256:
			lengths[i] = 9
		case i < 280:
			lengths[i] = 7
		default:
			lengths[i] = 8
		}
	}
	literals, _ = newCode(lengths)
	five := make([]int, 32)
	for i := range five {
		five[i] = 5
	}
	distances, _ = newCode(five)
	return literals, distances
}

// symbol reads a symbol of a code.
func (n *naive) symbol(c code) (int, error) {
	if len(c.symbols) == 0 {
		return 0, errEmptyCode
	}
	value, first, index := 0, 0, 0
	for length := 1; length <= 15; length++ {
		b, err := n.take(1)
		if err != nil {
			return 0, err
		}
		value |= b
		if value-first < c.count[length] {
			return c.symbols[index+value-first], nil
		}
		index += c.count[length]
		first = (first + c.count[length]) << 1
		value <<= 1
	}
	return 0, errBad
}

// dynamic reads the codes of a block (RFC 1951 3.2.7).
func (n *naive) dynamic() (literals, distances code, err error) {
	counts, err := n.take(14)
	if err != nil {
		return literals, distances, err
	}
	nl, nd, nc := counts&31+257, counts>>5&31+1, counts>>10+4
	if nl > 286 || nd > 30 {
		return literals, distances, errBad
	}
	order := [19]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}
	lengths := make([]int, 19)
	for i := range nc {
		if lengths[order[i]], err = n.take(3); err != nil {
			return literals, distances, err
		}
	}
	c, err := newCode(lengths)
	if err != nil {
		return literals, distances, err
	}
	lengths = nil
	for len(lengths) < nl+nd {
		s, err := n.symbol(c)
		if err != nil {
			return literals, distances, err
		}
		value, times, bits := s, 1, 0
		switch s {
		case 16:
			if len(lengths) == 0 {
				return literals, distances, errBad
			}
			value, times, bits = lengths[len(lengths)-1], 3, 2
		case 17:
			value, times, bits = 0, 3, 3
		case 18:
			value, times, bits = 0, 11, 7
		}
		more, err := n.take(bits)
		if err != nil {
			return literals, distances, err
		}
		for range times + more {
			lengths = append(lengths, value)
		}
	}
	if len(lengths) > nl+nd {
		return literals, distances, errBad
	}
	if literals, err = newCode(lengths[:nl]); err == nil {
		distances, err = newCode(lengths[nl:])
	}
	return literals, distances, err
}

// copies reads a block's literals and copies (RFC 1951 3.2.5).
func (n *naive) copies(literals, distances code) error {
	for {
		s, err := n.symbol(literals)
		switch {
		case err != nil:
			return err
		case s < 256:
			n.out = append(n.out, byte(s))
			continue
		case s == 256:
			return nil
		case s > 285:
			return errBad
		}
		length, bits := s-254, 0
		switch {
		case s == 285:
			length = 258
		case s >= 265:
			bits = (s - 261) / 4
			length = (4+(s-261)%4)<<bits + 3
		}
		more, err := n.take(bits)
		if err != nil {
			return err
		}
		length += more
		if s, err = n.symbol(distances); err != nil {
			return err
		}
		distance := s + 1
		if bits = 0; s >= 4 {
			bits = s/2 - 1
			distance = (2+s%2)<<bits + 1
		}
		if s > 29 {
			return errBad
		}
		if more, err = n.take(bits); err != nil {
			return err
		}
		distance += more
		if distance > len(n.out) {
			return errBad
		}
		n.farthest = max(n.farthest, distance)
		for range length {
			n.out = append(n.out, n.out[len(n.out)-distance])
		}
	}
}
