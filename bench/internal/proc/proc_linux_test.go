package proc

import (
	"os"
	"testing"
	"time"
)

func TestCPUGrowsWithWork(t *testing.T) {
	before, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); time.Since(start) < 20*time.Millisecond; {
	}
	after, err := CPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if after <= before {
		t.Fatalf("clock went from %v to %v while the process worked", before, after)
	}
}

func TestResidentGrowsWithTouchedPages(t *testing.T) {
	before, err := Resident(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const size = 16 << 20
	block := make([]byte, size)
	for i := 0; i < size; i += 4096 {
		block[i] = 1
	}
	after, err := Resident(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if grown := after - before; grown < size/2 {
		t.Fatalf("resident memory grew by %d bytes over a touched block of %d", grown, size)
	}
	block[0] = 0
}

func TestNoFiguresOfAMissingProcess(t *testing.T) {
	const none = 1 << 22 // above the largest process id
	if _, err := CPU(none); err == nil {
		t.Error("CPU of a process that does not exist")
	}
	if _, err := Resident(none); err == nil {
		t.Error("Resident of a process that does not exist")
	}
}

func TestBusyCountsTheCoresOfThisProcess(t *testing.T) {
	cores, err := Cores()
	if err != nil || len(cores) == 0 {
		t.Fatalf("Cores: %v, %v", cores, err)
	}
	if busy, err := Busy(cores); err != nil || busy <= 0 {
		t.Fatalf("Busy(%v) = %v, %v", cores, busy, err)
	}
}
