package websocket

import (
	"math/bits"
	"sync"
)

// scratch is memory for a message or a frame while it comes, is inflated or is composed.
// It comes from pools of sizes that are powers of two.
type scratch struct{ b []byte }

// The sizes that are pooled, as powers of two: 512 bytes to 4 MiB. Without those of
// messages that do not come in one read, an echo of 64 KiB costs three times as much,
// most of it for garbage collections.
const (
	scratchMin = 9
	scratchMax = 22
)

var scratches [scratchMax - scratchMin + 1]sync.Pool

// newScratch returns memory with room for n bytes.
func newScratch(n int) *scratch {
	size := max(bits.Len(uint(max(n, 1)-1)), scratchMin)
	if size > scratchMax {
		return &scratch{make([]byte, 0, n)}
	}
	if s, _ := scratches[size-scratchMin].Get().(*scratch); s != nil {
		return s
	}
	return &scratch{make([]byte, 0, 1<<size)}
}

// free gives the memory back, which must not be used any more. What b is by then may
// have more room than it had.
func (s *scratch) free() {
	size := bits.Len(uint(cap(s.b))) - 1
	if s.b = s.b[:0]; size >= scratchMin && size <= scratchMax {
		scratches[size-scratchMin].Put(s)
	}
}

// grow makes room for need bytes, moving what is there.
func (s *scratch) grow(need int) *scratch {
	to := newScratch(need)
	to.b = append(to.b, s.b...)
	s.free()
	return to
}
