package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/sluice-go/sluice/bench/internal/checks"
	"github.com/sluice-go/sluice/bench/internal/table"
)

// checksCmd puts questions of behaviour to Sluice and its peers.
type checksCmd struct {
	Servers []string `help:"Which servers, such as sluice,gnet,nbhttp-mixed; all if none is named."`
	Only    []string `help:"Which checks of P1 to P10; all if none is named. What each asks is printed with its outcome."`
}

func (c *checksCmd) Run() error {
	ctx, stop := untilInterrupted()
	defer stop()
	outcomes, err := checks.Run(ctx, c.Servers, c.Only, func(check, server string) {
		fmt.Fprintf(os.Stderr, "%s %s\n", check, server)
	})
	if err != nil {
		return err
	}
	return printOutcomes(os.Stdout, outcomes)
}

// printOutcomes prints what was asked, a table of the verdicts and the reasons
// of those that are not "pass". It is an error if Sluice fails.
func printOutcomes(w io.Writer, outcomes []checks.Outcome) error {
	verdicts := map[string]map[string]checks.Verdict{} // by server and check
	var servers, ids, reasons, failed []string
	for _, o := range outcomes {
		if verdicts[o.Server] == nil {
			verdicts[o.Server] = map[string]checks.Verdict{}
			servers = append(servers, o.Server)
		}
		verdicts[o.Server][o.Check] = o.Verdict
		if o.Verdict == checks.Fail || o.Verdict == checks.Undecided {
			reasons = append(reasons, fmt.Sprintf("%s %s: %s: %s", o.Check, o.Server, o.Verdict, o.Detail))
		}
		if o.Verdict == checks.Fail && strings.HasPrefix(o.Server, "sluice") {
			failed = append(failed, o.Server+" "+o.Check)
		}
	}
	for _, check := range checks.All {
		for _, o := range outcomes {
			if o.Check == check.ID {
				ids = append(ids, check.ID)
				fmt.Fprintf(w, "%-4s %s\n", check.ID, check.About)
				break
			}
		}
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, s := range servers {
		row := []string{s}
		for _, id := range ids {
			row = append(row, string(verdicts[s][id]))
		}
		rows = append(rows, row)
	}
	if err := table.Print(w, append([]string{"server"}, ids...), rows); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, r := range reasons {
		fmt.Fprintln(w, r)
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// checkServerCmd is one server that is checked.
type checkServerCmd struct {
	Setup string `arg:"" help:"A checks.Setup as JSON."`
}

func (c *checkServerCmd) Run() error {
	var s checks.Setup
	if err := json.Unmarshal([]byte(c.Setup), &s); err != nil {
		return err
	}
	return checks.Serve(s)
}
