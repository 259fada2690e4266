package sluice

import (
	"testing"
	"unsafe"
)

func TestASlotIsOneCacheLineAndHasNoPointerBehindIt(t *testing.T) {
	var ch chunk
	if size := unsafe.Sizeof(ch.slots[0]); size != 64 {
		t.Errorf("a slot has %d bytes", size)
	}
	if at := unsafe.Offsetof(ch.slots); at%64 != 0 && unsafe.Sizeof(at) == 8 {
		t.Errorf("the slots begin at byte %d of their chunk", at)
	}
	if last := unsafe.Offsetof(ch.loop); last > unsafe.Offsetof(ch.slots) || last < unsafe.Offsetof(ch.refs) {
		t.Error("the last pointer of a chunk is not in front of its slots")
	}
}
