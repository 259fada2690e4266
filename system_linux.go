package sluice

import (
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/proactor"
	"github.com/sluice-go/sluice/internal/driver/reactor"
)

// nativeSystems are the drivers of this system, the best first.
func nativeSystems() []driver.System { return []driver.System{reactor.Epoll(), proactor.IOUring()} }

// directSystem is the driver of Config.DirectDescriptors.
func directSystem() driver.System { return proactor.Direct() }
