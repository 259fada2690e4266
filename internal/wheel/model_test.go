package wheel

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
)

// model checks a wheel against a map of times.
type model struct {
	t     *testing.T
	w     Wheel
	now   int64
	times map[uint32]int64
	inner func(id uint32) // what fire does besides checking
}

func newModel(t *testing.T) *model {
	return &model{t: t, times: make(map[uint32]int64), inner: func(uint32) {}}
}

func (m *model) set(id uint32, at int64) {
	m.w.Set(id, at)
	m.times[id] = at
}

func (m *model) clear(id uint32) {
	m.w.Clear(id)
	delete(m.times, id)
}

func (m *model) advance(now int64) {
	overdue := m.now // entries set at or before it fire first, in the order of Set
	m.now = now
	expect := make(map[uint32]bool) // due when Advance begins and not touched since
	for id, at := range m.times {
		if at <= now {
			expect[id] = true
		}
	}
	last := overdue
	m.w.Advance(now, func(id uint32) {
		if !expect[id] {
			m.t.Fatalf("fired %d, set for %d (%v), at %d", id, m.times[id], expect, now)
		}
		at := m.times[id]
		if at < last && last > overdue {
			m.t.Fatalf("fired %d of time %d after one of %d", id, at, last)
		}
		last = max(last, at)
		delete(expect, id)
		delete(m.times, id)
		before := m.snapshot()
		m.inner(id)
		for other := range expect { // what fire set or cleared is not this Advance's
			if at, ok := m.times[other]; !ok || at != before[other] {
				delete(expect, other)
			}
		}
	})
	if len(expect) != 0 {
		m.t.Fatalf("Advance(%d) left %v", now, expect)
	}
	m.check()
}

func (m *model) snapshot() map[uint32]int64 {
	c := make(map[uint32]int64, len(m.times))
	for id, at := range m.times {
		c[id] = at
	}
	return c
}

// check compares Next and the bitmaps with the model.
func (m *model) check() {
	at, ok := m.w.Next()
	if ok != (len(m.times) > 0) {
		m.t.Fatalf("Next says %v of %d entries", ok, len(m.times))
	}
	overdue := false
	for id, due := range m.times {
		overdue = overdue || due <= m.now
		if at > max(due, m.now) {
			m.t.Fatalf("Next is %d, %d is due at %d", at, id, due)
		}
	}
	if ok && !overdue && at <= m.now {
		m.t.Fatalf("Next is %d at %d and nothing is overdue", at, m.now)
	}
	for list := range due {
		bit := m.w.occupied[list/slots]>>(list%slots)&1 == 1
		if bit == m.w.isEmpty(list) {
			m.t.Fatalf("slot %d: bit %v", list, bit)
		}
	}
	for level, word := range m.w.occupied {
		if (word != 0) != (m.w.nonempty>>level&1 == 1) {
			m.t.Fatalf("level %d: bitmap %b", level, m.w.nonempty)
		}
	}
}

// randomWait favours short times but knows every level.
func randomWait(rng *rand.Rand) int64 {
	return rng.Int64N(1<<rng.IntN(45)+1) - 2
}

func TestAgainstModel(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		m := newModel(t)
		ids := 1 + rng.Uint32N(40)
		m.inner = func(id uint32) {
			// Changed times differ from the old ones, so that the model
			// can tell a moved entry from one that was left alone.
			switch other := rng.Uint32N(ids); rng.IntN(6) {
			case 0:
				m.set(id, m.now+randomWait(rng))
			case 1:
				m.clear(other)
			case 2:
				if at := m.now + randomWait(rng); at != m.times[other] {
					m.set(other, at)
				}
			}
		}
		for range 400 {
			switch rng.IntN(5) {
			case 0, 1:
				m.set(rng.Uint32N(ids), m.now+randomWait(rng))
			case 2:
				m.clear(rng.Uint32N(ids))
			case 3:
				m.advance(m.now + max(0, randomWait(rng)))
			case 4:
				if at, ok := m.w.Next(); ok {
					m.advance(max(at, m.now))
				}
			}
			m.check()
		}
	}
}

func FuzzAgainstModel(f *testing.F) {
	f.Add([]byte{0, 1, 0, 64, 0, 2, 16, 0, 2, 0, 0, 255, 1, 1, 0, 0, 2, 0, 255, 255})
	f.Fuzz(func(t *testing.T, ops []byte) {
		m := newModel(t)
		m.inner = func(id uint32) { // a third of the ids set themselves anew, some of them overdue
			if id%3 == 0 {
				m.set(id, m.now+int64(id)*37-100)
			}
		}
		for ; len(ops) >= 4 && m.now < 1<<60; ops = ops[4:] {
			id := uint32(ops[1] % 16)
			// The low nibble scales, so that few bytes reach every level.
			n := int64(binary.BigEndian.Uint16(ops[2:])>>4) << (ops[3] % 16 * 3)
			switch ops[0] % 4 {
			case 0:
				m.set(id, m.now+n)
			case 1:
				m.clear(id)
			case 2:
				m.advance(m.now + n)
			case 3:
				m.set(id, m.now-n%100)
			}
			m.check()
		}
	})
}
