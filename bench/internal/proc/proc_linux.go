// Package proc reads what the kernel knows about a process and about the
// machine: processor time, resident memory, the load of a core.
package proc

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// userTick is the unit of /proc/stat, USER_HZ, which is 100 on every
// architecture that Go runs on.
const userTick = 10 * time.Millisecond

// CPU returns the processor time that all threads of process pid have used,
// the ended ones too, in nanoseconds. It reads the process's own clock, for
// /proc/PID/stat counts in ticks of 10 ms. What the kernel does inside the
// process's system calls, the delivery over loopback included, is part of it
// unless the kernel was built with CONFIG_IRQ_TIME_ACCOUNTING.
func CPU(pid int) (time.Duration, error) {
	const sched = 2 // CPUCLOCK_SCHED, see clock_getcpuclockid(3)
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|sched), &ts); err != nil {
		return 0, fmt.Errorf("processor clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// Resident returns the memory of process pid that is in memory, in bytes. It
// reads smaps_rollup, which counts pages; VmRSS in /proc/PID/status may be off
// by a batch of pages per core. Its proportional variant, PSS, is of no use
// here: processes of one program share its text.
func Resident(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "Rss:" {
			kib, err := strconv.ParseInt(fields[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, fmt.Errorf("process %d: no Rss in smaps_rollup", pid)
}

// Busy returns how long the given cores were not idle since boot, added up.
// It counts in ticks of 10 ms: good for telling noise, not for a figure.
func Busy(cores []int) (time.Duration, error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	var ticks int64
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		for _, core := range cores {
			if len(fields) < 9 || fields[0] != "cpu"+strconv.Itoa(core) {
				continue
			}
			for i, f := range fields[1:9] {
				if i == 3 || i == 4 { // idle, waiting for a disk
					continue
				}
				n, err := strconv.ParseInt(f, 10, 64)
				if err != nil {
					return 0, fmt.Errorf("/proc/stat: %w", err)
				}
				ticks += n
			}
		}
	}
	return time.Duration(ticks) * userTick, nil
}

// Cores returns the cores that this process may run on, in rising order.
func Cores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("sched_getaffinity: %w", err)
	}
	var cores []int
	for i := 0; len(cores) < set.Count(); i++ {
		if set.IsSet(i) {
			cores = append(cores, i)
		}
	}
	return cores, nil
}

// Machine describes processor, kernel and Go in one line.
func Machine() string {
	release := "unknown"
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		release = unix.ByteSliceToString(u.Release[:])
	}
	return fmt.Sprintf("%s, %d cores, Linux %s, %s", processor(), runtime.NumCPU(), release, runtime.Version())
}

func processor() string {
	f, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if name, value, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
