//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sluice

import (
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/reactor"
)

// nativeSystems are the drivers of this system, the best first.
func nativeSystems() []driver.System { return []driver.System{reactor.Kqueue()} }

// directSystem is nil: there is none.
func directSystem() driver.System { return nil }
