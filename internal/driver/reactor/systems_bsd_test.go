//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package reactor

import (
	"runtime"
	"testing"

	"github.com/sluice-go/sluice/internal/driver"
)

// systems are what there is to test on this system.
var systems = map[string]func() driver.System{"kqueue": Kqueue}

// descriptorCounter returns nil: not all of these systems list descriptors.
func descriptorCounter(*testing.T) func() int { return nil }

// sendsFiles is true exactly where sendfile is used.
const sendsFiles = runtime.GOOS == "darwin" || runtime.GOOS == "freebsd"

// tellsUnsent is true exactly for what macOS tells.
func tellsUnsent(network string) bool { return runtime.GOOS == "darwin" && network == "tcp" }
