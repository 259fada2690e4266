//go:build !linux && !darwin && !dragonfly && !freebsd && !netbsd && !openbsd

package sluice

import "github.com/sluice-go/sluice/internal/driver"

// nativeSystems are the drivers of this system: none but the portable one.
func nativeSystems() []driver.System { return nil }

// directSystem is nil: there is none.
func directSystem() driver.System { return nil }
