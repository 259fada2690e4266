package reactor

import (
	"os"
	"testing"

	"github.com/sluice-go/sluice/internal/driver"
)

// systems are what there is to test on Linux: epoll, and the logic of kqueue
// over a double of the kernel's part.
var systems = map[string]func() driver.System{
	"epoll":  Epoll,
	"kqueue": kqueueDouble,
}

// sendsFiles is true: Linux has sendfile.
const sendsFiles = true

// tellsUnsent is true: Linux tells what is unsent of every socket.
func tellsUnsent(string) bool { return true }

// descriptorCounter returns what counts the open descriptors of the process.
func descriptorCounter(t *testing.T) func() int {
	return func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries) // with the directory itself, each time
	}
}
