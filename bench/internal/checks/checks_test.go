package checks

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestMain lets the test binary be its own children, as the program is.
func TestMain(m *testing.M) {
	libraries = append(libraries, faulty...)
	if len(os.Args) == 3 && os.Args[1] == Command {
		var s Setup
		err := json.Unmarshal([]byte(os.Args[2]), &s)
		if err == nil {
			err = Serve(s)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func run(t *testing.T, names, ids []string) []Outcome {
	t.Helper()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	outcomes, err := Run(t.Context(), names, ids, func(string, string) {})
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

func TestSluicePassesEveryCheckThatApplies(t *testing.T) {
	names := []string{"sluice", "sluice-main", "sluice-http", "sluice-native"}
	asked := map[string]bool{}
	for _, o := range run(t, names, nil) {
		switch o.Verdict {
		case Fail:
			t.Errorf("%s fails %s: %s", o.Server, o.Check, o.Detail)
		case Undecided:
			t.Logf("%s of %s cannot be decided here: %s", o.Check, o.Server, o.Detail)
		case NA:
			continue
		}
		asked[o.Check] = true
	}
	for _, id := range IDs() {
		if !asked[id] {
			t.Errorf("%s was put to no server", id)
		}
	}
}

// A check that only Sluice passed might be one that only Sluice can pass.
func TestEveryCheckIsPassedByAnother(t *testing.T) {
	for id, name := range map[string]string{
		"P1": "net", "P2": "netpoll", "P3": "net", "P4": "net", "P5": "net",
		"P6": "netpoll", "P7": "net", "P8": "net", "P9": "evio", "P10": "nethttp",
	} {
		for _, o := range run(t, []string{name}, []string{id}) {
			if o.Verdict != Pass && o.Verdict != Undecided {
				t.Errorf("%s of %s: %s: %s", id, name, o.Verdict, o.Detail)
			}
		}
	}
}

func TestFaultyServersFailEveryCheck(t *testing.T) {
	reasons := map[string]string{
		"P1":  "ended: faulty stopped serving: accept",
		"P2":  "ended: panic: a handler's fault, on purpose",
		"P3":  "4194304 bytes of 8388608 arrived, then the connection ended in order",
		"P4":  "bytes of 3145728 reached the handler, then",
		"P5":  "4194304 bytes of 8388608 arrived: ",
		"P6":  "64000 bytes of 128000 arrived: ",
		"P7":  "4194304 bytes of 8388608 arrived: ",
		"P8":  "SetNoDelay: TCP_NODELAY from 1 to 0",
		"P9":  "another connection of the loop has no answer",
		"P10": fmt.Sprintf("%[1]d of %[1]d: a sign in Content-Length: accepted with 200", len(refused)+1),
	}
	for _, id := range IDs() {
		t.Run(id, func(t *testing.T) {
			t.Parallel() // they wait most of the time
			name := "faulty"
			if id == "P10" {
				name = "faulty-http"
			}
			switch o := run(t, []string{name}, []string{id})[0]; {
			case o.Verdict == Undecided:
				t.Skip(o.Detail)
			case o.Verdict != Fail || !strings.Contains(o.Detail, reasons[id]):
				t.Errorf("%s, %q; want %q", o.Verdict, o.Detail, reasons[id])
			}
		})
	}
}

func TestUnknownNamesAreRefused(t *testing.T) {
	never := func(check, server string) { t.Errorf("%s of %s begins", check, server) }
	if _, err := Run(context.Background(), []string{"gnut"}, nil, never); err == nil || !strings.Contains(err.Error(), "gnet") {
		t.Errorf("got %v", err)
	}
	if _, err := Run(context.Background(), nil, []string{"P11"}, never); err == nil || !strings.Contains(err.Error(), "P10") {
		t.Errorf("got %v", err)
	}
	if err := Serve(Setup{Server: "net", Network: "tcp", Addr: "192.0.2.1:7000"}); err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeAskedIsNotStarted(t *testing.T) {
	for _, l := range libraries {
		for _, check := range All {
			if l.http && check.http || !l.http && check.core && l.lacks[check.ID] == "" {
				continue
			}
			o := check.ask(context.Background(), library{name: l.name, http: l.http, lacks: l.lacks}, nil)
			if o.Verdict != NA || o.Detail == "" {
				t.Errorf("%s of %s: %+v", check.ID, l.name, o)
			}
		}
	}
}
