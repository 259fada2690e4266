package portable_test

import (
	"os"
	"syscall"
	"testing"
)

func init() {
	failAccept = func(t *testing.T) func() {
		var limit syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		none := syscall.Rlimit{Cur: 3, Max: limit.Max}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
			t.Fatal(err)
		}
		return func() {
			if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
				t.Error(err)
			}
		}
	}
	tellsUnsent = true
	descriptors = func() int {
		files, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			panic(err)
		}
		return len(files)
	}
}
