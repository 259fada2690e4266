package ws

import "unicode/utf8"

// runes checks that text which comes in pieces is UTF-8, and fails at the first
// byte that no continuation can mend.
type runes struct {
	tail [utf8.UTFMax]byte // the beginning of a rune that is not whole
	n    uint8             // bytes of it
}

// feed takes the next piece and reports whether the text can still be UTF-8.
func (r *runes) feed(p []byte) bool {
	for r.n > 0 {
		if len(p) == 0 {
			return true
		}
		r.tail[r.n] = p[0]
		r.n++
		p = p[1:]
		if !utf8.FullRune(r.tail[:r.n]) {
			continue
		}
		if !utf8.Valid(r.tail[:r.n]) {
			return false
		}
		r.n = 0
	}
	// A rune that is not whole can only be what begins within the last bytes.
	end := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if at := len(p) - back; utf8.RuneStart(p[at]) {
			if !utf8.FullRune(p[at:]) {
				end = at
			}
			break
		}
	}
	r.n = uint8(copy(r.tail[:], p[end:]))
	return utf8.Valid(p[:end])
}

// whole reports whether the text does not end within a rune.
func (r *runes) whole() bool { return r.n == 0 }
