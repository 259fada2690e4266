//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package reactor

import "github.com/sluice-go/sluice/internal/driver"

// systems are what there is to test on this system.
var systems = map[string]func() driver.System{"kqueue": Kqueue}
