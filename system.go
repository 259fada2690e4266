package sluice

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"

	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/driver/portable"
)

// systems are the drivers that this binary has, the best first.
func systems() []driver.System { return append(nativeSystems(), portable.New()) }

// Drivers returns the names that Config.Driver may have on this system, the best
// first. CheckDriver tells which of them work on this machine.
func Drivers() []string {
	var names []string
	for _, s := range systems() {
		names = append(names, s.Name())
	}
	return names
}

// systemFor returns the driver that cfg asks for.
func systemFor(cfg Config) (driver.System, error) {
	log := cmp.Or(cfg.Logger, slog.Default())
	if !cfg.DirectDescriptors {
		return choose(systems(), cfg.Driver, log)
	}
	s := directSystem()
	if s == nil {
		return nil, fmt.Errorf("sluice: Config.DirectDescriptors on %s: %w; it needs io_uring", runtime.GOOS, errors.ErrUnsupported)
	}
	if cfg.Driver != "" && cfg.Driver != "auto" && cfg.Driver != s.Name() {
		return nil, fmt.Errorf("sluice: Config.DirectDescriptors needs the driver %s; Config.Driver is %s", s.Name(), cfg.Driver)
	}
	return choose([]driver.System{s}, s.Name(), log)
}

// CheckDriver returns nil if Config.Driver may be name here, and otherwise an
// error that says what the system lacks for it. "" and "auto" always work.
func CheckDriver(name string) error {
	_, err := choose(systems(), name, slog.New(slog.DiscardHandler))
	return err
}

// passedOver has each driver that auto passes over logged once.
var passedOver sync.Map

// choose returns the driver of the given name among all, the best first.
func choose(all []driver.System, name string, log *slog.Logger) (driver.System, error) {
	for _, s := range all {
		err := s.Probe()
		switch {
		case name == s.Name() && err != nil:
			return nil, fmt.Errorf("sluice: the driver %s cannot be used: %w; Config.Driver auto takes the best that can", name, err)
		case name == s.Name(), err == nil && (name == "" || name == "auto"):
			return s, nil
		case name == "" || name == "auto":
			if _, again := passedOver.LoadOrStore(s.Name(), true); !again {
				log.Info("sluice: a better driver cannot be used here", "driver", s.Name(), "err", err)
			}
		}
	}
	return nil, fmt.Errorf("sluice: there is no driver %q on %s; Config.Driver must be auto, %s",
		name, runtime.GOOS, strings.Join(Drivers(), " or "))
}
