package sluice

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/sluice-go/sluice/internal/driver"
)

// unusable is a driver that cannot be used here.
type unusable struct{ driver.System }

func (unusable) Name() string { return "unusable" }
func (unusable) Probe() error { return errors.New("the moon is full") }

func TestAutoPassesOverWhatCannotBeUsedAndLogsItOnce(t *testing.T) {
	all := append([]driver.System{unusable{}}, systems()...)
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&text, nil))
	for _, name := range []string{"auto", "", "auto"} {
		s, err := choose(all, name, log)
		if err != nil || s.Name() == "unusable" {
			t.Fatalf("%q chose %v, %v", name, s, err)
		}
	}
	if strings.Count(text.String(), "the moon is full") != 1 || !strings.Contains(text.String(), "driver=unusable") {
		t.Errorf("the log says %q", text.String())
	}
	if _, err := choose(all, "unusable", log); err == nil || !strings.Contains(err.Error(), "the moon is full") {
		t.Errorf("asked for by name: %v", err)
	}
}

func TestCheckDriver(t *testing.T) {
	for _, name := range append(Drivers(), "", "auto") {
		err := CheckDriver(name)
		e, newErr := New(Config{Driver: name, Loops: 1})
		if (err == nil) != (newErr == nil) {
			t.Errorf("%q: CheckDriver says %v, New %v", name, err, newErr)
		}
		if newErr == nil {
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	if err := CheckDriver("select"); err == nil || !strings.Contains(err.Error(), "auto") {
		t.Errorf("an unknown name: %v", err)
	}
}
