// Package wheel is a hierarchical timing wheel for very many deadlines: a few
// bytes each, without a pointer, set and cleared in a few nanoseconds.
//
// A level has 64 slots. A slot of level 0 is one millisecond wide, one of
// level l is 64^l milliseconds. An entry lies in the level of the highest
// base-64 digit in which its time differs from the wheel's, in the slot of
// that digit. Hence every entry of a level is due before every entry of the
// levels above, the slots of a level never wrap around, and the first occupied
// slot is found from two bitmaps. When the wheel's time reaches the start of a
// slot above level 0, the slot's entries move to lower levels.
package wheel

import "math/bits"

const (
	levelBits = 6              // bits of a time that one level decides: one word of bitmap
	slots     = 1 << levelBits // slots of a level
	levels    = 11             // 11 levels of 6 bits hold any positive int64: no time is out of range

	due    = levels * slots // list of the entries whose time has come
	firing = due + 1        // list of the entries that the Advance in progress has still to fire

	listRef = 1 << 31 // marks a reference to the head of a list

	// maxID keeps references to entries (id + 1) apart from those to lists.
	maxID = listRef - 2
)

// links places an entry, or the head of a list, in a circular list. A
// reference is an entry's id + 1 or listRef + a list's index. Zero means that
// an entry is not set, or that a list was never used.
type links struct {
	next, prev uint32
}

// entry is what the wheel holds for an id.
type entry struct {
	links
	at int64
}

// Wheel holds at most one time for each of many ids, which index a dense
// slice and should therefore be small numbers, at most 2^31-2. Times are
// milliseconds of a clock that starts at or after zero and never goes back.
// The zero value is an empty wheel. A Wheel is for one goroutine at a time.
type Wheel struct {
	now      int64 // the time of the latest Advance; no slot that has begun is occupied
	entries  []entry
	lists    [levels*slots + 2]links
	occupied [levels]uint64 // bit s of word l: slot s of level l is not empty
	nonempty uint16         // bit l: level l has an occupied slot
}

// Set makes the wheel fire id once, by the first Advance to at or later. It
// replaces the time that id may have had. A time already reached fires by the
// next Advance; inside fire that is not the Advance in progress.
func (w *Wheel) Set(id uint32, at int64) {
	if int(id) >= len(w.entries) {
		w.grow(id)
	}
	e := &w.entries[id]
	if e.prev != 0 {
		w.unlink(e)
	}
	e.at = at
	w.place(id+1, e)
}

// Clear takes the time of id back. It does nothing if none is set.
func (w *Wheel) Clear(id uint32) {
	if int(id) >= len(w.entries) {
		return
	}
	if e := &w.entries[id]; e.prev != 0 {
		w.unlink(e)
	}
}

// Advance moves the wheel's time to now and calls fire for every id whose time
// has come: first those that were overdue when they were set, then the others
// in the order of their times, those of one millisecond in the order in which
// they were set. An id is cleared before its fire is called. fire may call Set
// and Clear for any id; one that it clears or sets anew and that is due but not
// yet fired is not fired by this Advance. If fire panics, the next Advance
// fires the rest.
func (w *Wheel) Advance(now int64, fire func(id uint32)) {
	for {
		level, slot, at, ok := w.first()
		if !ok || at > now {
			break
		}
		w.now = at
		w.empty(level, slot)
	}
	w.now = max(w.now, now)
	w.splice(due, firing)
	for !w.isEmpty(firing) {
		id := w.lists[firing].next - 1
		w.unlink(&w.entries[id])
		fire(id)
	}
}

// Next returns a time that is not later than that of any entry, or false if no
// entry is set. Whoever sleeps until then and calls Advance never oversleeps.
// Above level 0 the time is the start of a slot, where Advance may have nothing
// to fire and only moves entries down; one set less than 64^k ms ahead is moved
// at most k times (3 times for less than 4.4 minutes, 4 times for less than 4.6
// hours). Only while an entry is overdue is the time not later than that of the
// latest Advance.
func (w *Wheel) Next() (at int64, ok bool) {
	if !w.isEmpty(due) || !w.isEmpty(firing) {
		return w.now, true
	}
	_, _, at, ok = w.first()
	return at, ok
}

// first finds the first occupied slot and the time at which it starts.
func (w *Wheel) first() (level, slot int, at int64, ok bool) {
	if w.nonempty == 0 {
		return 0, 0, 0, false
	}
	level = bits.TrailingZeros16(w.nonempty)
	slot = bits.TrailingZeros64(w.occupied[level])
	shift := levelBits * level
	above := int64(-1) << (shift + levelBits) // the digits that the level's entries share with now
	return level, slot, w.now&above | int64(slot)<<shift, true
}

// empty distributes the entries of a slot that starts at this very moment over
// the levels below. Those of level 0 are due all at once.
func (w *Wheel) empty(level, slot int) {
	list := level*slots + slot
	w.vacate(list)
	if level == 0 {
		w.splice(list, due)
		return
	}
	head := &w.lists[list]
	ref := head.next
	head.next, head.prev = 0, 0
	for ref != listRef|uint32(list) {
		e := &w.entries[ref-1]
		next := e.next
		w.place(ref, e)
		ref = next
	}
}

// place puts an entry that is in no list into the one that its time demands.
func (w *Wheel) place(ref uint32, e *entry) {
	list := due
	if e.at > w.now {
		level := (bits.Len64(uint64(e.at^w.now)) - 1) / levelBits
		slot := int(e.at>>(levelBits*level)) & (slots - 1)
		list = level*slots + slot
		w.occupied[level] |= 1 << slot
		w.nonempty |= 1 << level
	}
	self := listRef | uint32(list)
	head := &w.lists[list]
	if head.next == 0 {
		head.next, head.prev = self, self
	}
	e.next, e.prev = self, head.prev
	w.at(head.prev).next = ref
	head.prev = ref
}

// unlink takes an entry out of its list and leaves it unset.
func (w *Wheel) unlink(e *entry) {
	w.at(e.next).prev = e.prev
	w.at(e.prev).next = e.next
	if e.next == e.prev { // it was alone: both are the list
		if list := int(e.next &^ listRef); list < due {
			w.vacate(list)
		}
	}
	e.next, e.prev = 0, 0
}

// splice moves all entries of one list to the end of another.
func (w *Wheel) splice(from, to int) {
	if w.isEmpty(from) {
		return
	}
	src, dst := &w.lists[from], &w.lists[to]
	self := listRef | uint32(to)
	if dst.next == 0 {
		dst.next, dst.prev = self, self
	}
	w.at(dst.prev).next = src.next
	w.at(src.next).prev = dst.prev
	w.at(src.prev).next = self
	dst.prev = src.prev
	src.next, src.prev = 0, 0
}

// vacate notes that a slot is empty.
func (w *Wheel) vacate(list int) {
	level := list / slots
	w.occupied[level] &^= 1 << (list % slots)
	if w.occupied[level] == 0 {
		w.nonempty &^= 1 << level
	}
}

// isEmpty reports whether a list has no entry.
func (w *Wheel) isEmpty(list int) bool {
	next := w.lists[list].next
	return next == 0 || next == listRef|uint32(list)
}

// at returns the links that a reference stands for.
func (w *Wheel) at(ref uint32) *links {
	if ref&listRef != 0 {
		return &w.lists[ref&^listRef]
	}
	return &w.entries[ref-1].links
}

// grow makes room for id.
func (w *Wheel) grow(id uint32) {
	if id > maxID {
		panic("wheel: id too large")
	}
	w.entries = append(w.entries, make([]entry, int(id)+1-len(w.entries))...)
}
