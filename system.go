package sluice

import (
	"fmt"
	"runtime"
	"strings"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/portable"
)

// systems are the drivers that this binary has, the best first.
func systems() []driver.System { return append(nativeSystems(), portable.New()) }

// Drivers returns the names that Config.Driver may have on this system, the
// one that "auto" means first.
func Drivers() []string {
	var names []string
	for _, s := range systems() {
		names = append(names, s.Name())
	}
	return names
}

// systemFor returns the driver of the given name.
func systemFor(name string) (driver.System, error) {
	all := systems()
	if name == "" || name == "auto" {
		return all[0], nil
	}
	for _, s := range all {
		if s.Name() == name {
			return s, nil
		}
	}
	return nil, fmt.Errorf("sluice: there is no driver %q on %s; Config.Driver must be auto, %s",
		name, runtime.GOOS, strings.Join(Drivers(), " or "))
}
