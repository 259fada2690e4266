package servers

import (
	"errors"
	"strings"
	"testing"
)

func TestTheTableIsComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range All {
		if seen[s.Name] {
			t.Errorf("%s is there twice", s.Name)
		}
		seen[s.Name] = true
		if s.Foreign != (s.Serve == nil) || s.Serve == nil && s.Command == nil {
			t.Errorf("%s: a Go program is served by this one, another has a command", s.Name)
		}
		if !strings.HasSuffix(s.About, ".") {
			t.Errorf("%s: about %q", s.Name, s.About)
		}
	}
	for _, name := range []string{Bare, NetHTTP, FastHTTP} {
		if !seen[name] {
			t.Errorf("there is no %s", name)
		}
	}
}

func TestABuildIsNotRepeated(t *testing.T) {
	calls, failure := 0, errors.New("no compiler")
	for range 2 {
		err := once(t.Name(), func() error { calls++; return failure })
		if err != failure || calls != 1 {
			t.Errorf("%v, %d calls", err, calls)
		}
	}
}

func TestServersAreFoundByNameAndByProtocol(t *testing.T) {
	s, err := Find("sluice-http")
	if err != nil || s.Name != "sluice-http" || s.Protocol != HTTP {
		t.Errorf("found %+v, %v", s, err)
	}
	if _, err := Find("nobody"); err == nil || !strings.Contains(err.Error(), "gnet, ") {
		t.Errorf("an error that does not name the servers: %v", err)
	}
	if v, err := Find("sluice-main"); err != nil || !v.Variant {
		t.Errorf("found %+v, %v", v, err)
	}
	for _, s := range Of(Echo) {
		if s.Variant || s.Protocol != Echo {
			t.Errorf("%s is among the echo servers", s.Name)
		}
	}
}
