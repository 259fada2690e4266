package http1

import "math"

// The states of a chunked body (RFC 9112 7.1), from inChunk on. A byte that is
// not allowed in a state leads to chunkBad.
const (
	chunkBad       = inChunk + iota
	chunkSize0     // before the first digit of a size
	chunkSize      // after a digit of it
	chunkName0     // after the semicolon of an extension
	chunkName      // in its name
	chunkValue0    // after its equals sign
	chunkValue     // in its value, a token
	chunkQuoted    // in its value, a quoted string
	chunkEscape    // after a backslash in it
	chunkQuotedEnd // after its end
	chunkLF        // after the CR of a size line
	chunkData      // in the chunk's data
	chunkDataCR    // after them
	chunkDataLF    // after the CR behind them
	chunkTrailer   // at the beginning of a trailer line
	chunkLine      // in a trailer line
	chunkEndLF     // after the CR of the empty line at the end
	chunkStates    = iota + int(inChunk)
)

// Kinds of bytes in chunked framing.
const (
	kindOther = iota // control characters
	kindHex
	kindToken
	kindText // of a quoted string, but for those below
	kindQuote
	kindBackslash
	kindSemicolon
	kindEquals
	kindCR
	kindLF
	kinds
)

var kindOf = func() (t [256]uint8) {
	for c := range 256 {
		switch {
		case class[c]&isHex != 0:
			t[c] = kindHex
		case class[c]&isToken != 0:
			t[c] = kindToken
		case class[c]&isText != 0:
			t[c] = kindText
		}
	}
	t['"'], t['\\'], t[';'], t['='] = kindQuote, kindBackslash, kindSemicolon, kindEquals
	t['\r'], t['\n'] = kindCR, kindLF
	return t
}()

// chunkNext is the automaton. There is no way from a space to anywhere: the
// "bad" whitespace that the grammar tolerates around extensions is not sent by
// anyone and has been read in different ways.
var chunkNext = func() (t [chunkStates][kinds]state) {
	for s := range t {
		for k := range t[s] {
			t[s][k] = chunkBad
		}
	}
	for _, edge := range []struct {
		from  state
		kinds []int
		to    state
	}{
		{chunkSize0, []int{kindHex}, chunkSize},
		{chunkSize, []int{kindHex}, chunkSize},
		{chunkSize, []int{kindSemicolon}, chunkName0},
		{chunkSize, []int{kindCR}, chunkLF},
		{chunkName0, []int{kindHex, kindToken}, chunkName},
		{chunkName, []int{kindHex, kindToken}, chunkName},
		{chunkName, []int{kindSemicolon}, chunkName0},
		{chunkName, []int{kindEquals}, chunkValue0},
		{chunkName, []int{kindCR}, chunkLF},
		{chunkValue0, []int{kindHex, kindToken}, chunkValue},
		{chunkValue0, []int{kindQuote}, chunkQuoted},
		{chunkValue, []int{kindHex, kindToken}, chunkValue},
		{chunkValue, []int{kindSemicolon}, chunkName0},
		{chunkValue, []int{kindCR}, chunkLF},
		{chunkQuoted, []int{kindHex, kindToken, kindText, kindSemicolon, kindEquals}, chunkQuoted},
		{chunkQuoted, []int{kindBackslash}, chunkEscape},
		{chunkQuoted, []int{kindQuote}, chunkQuotedEnd},
		{chunkEscape, []int{kindHex, kindToken, kindText, kindSemicolon, kindEquals, kindBackslash, kindQuote}, chunkQuoted},
		{chunkQuotedEnd, []int{kindSemicolon}, chunkName0},
		{chunkQuotedEnd, []int{kindCR}, chunkLF},
		{chunkLF, []int{kindLF}, chunkData},
		{chunkDataCR, []int{kindCR}, chunkDataLF},
		{chunkDataLF, []int{kindLF}, chunkSize0},
		{chunkTrailer, []int{kindCR}, chunkEndLF},
		{chunkTrailer, []int{kindHex, kindToken}, chunkLine},
		{chunkEndLF, []int{kindLF}, isDone},
	} {
		for _, k := range edge.kinds {
			t[edge.from][k] = edge.to
		}
	}
	return t
}()

// chunked reads a chunked body as Body does.
func (d *Decoder) chunked(p []byte) (data []byte, n int, e *Error) {
	for n < len(p) && d.state != isDone {
		switch d.state {
		case chunkData:
			data = d.take(p[n:])
			if d.left == 0 {
				d.state = chunkDataCR
			}
			return data, n + len(data), nil
		case chunkLine:
			taken, e := d.trailerLine(p[n:])
			if e != nil {
				return nil, 0, e
			}
			n += taken
			continue
		}
		next := chunkNext[d.state][kindOf[p[n]]]
		if e := d.enter(next, p[n]); e != nil {
			return nil, 0, e
		}
		if d.state != chunkLine { // its first byte belongs to the line
			n++
		}
	}
	return nil, n, nil
}

// enter changes to the next state of chunked framing, to which c has led.
func (d *Decoder) enter(next state, c byte) *Error {
	d.state = next
	switch next {
	case chunkBad:
		return ErrChunk
	case chunkSize:
		return d.sizeDigit(c)
	case chunkName0, chunkName, chunkValue0, chunkValue, chunkQuoted, chunkEscape, chunkQuotedEnd:
		if d.extensions++; d.extensions > maxExtensions {
			return ErrChunkExtensions
		}
	case chunkData:
		d.digits = 0
		if d.left == 0 {
			d.state = chunkTrailer
			return nil
		}
		if d.total >= 0 {
			if d.left > d.total {
				return ErrBodyTooLarge
			}
			d.total -= d.left
		}
	case isDone:
		if d.trailer != nil {
			d.trailer.finish()
		}
	}
	return nil
}

// sizeDigit adds a digit to the size of the chunk.
func (d *Decoder) sizeDigit(c byte) *Error {
	if d.digits++; d.digits > maxChunkDigits || d.left > math.MaxInt64>>4 {
		return ErrChunk
	}
	if c > '9' {
		c += 9 // the low half of a letter: A is 1
	}
	d.left = d.left<<4 | int64(c&0xf)
	return nil
}
