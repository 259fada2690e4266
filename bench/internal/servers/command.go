package servers

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
)

// builds holds how the building of each file went.
var (
	buildsMu sync.Mutex
	builds   = map[string]error{}
)

// once calls build the first time that it is called for a file, and returns
// what came of it every time.
func once(file string, build func() error) error {
	buildsMu.Lock()
	defer buildsMu.Unlock()
	err, done := builds[file]
	if !done {
		err = build()
		builds[file] = err
	}
	return err
}

// output runs a command to its end. The error has what it printed.
func output(cmd *exec.Cmd) error {
	printed, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(printed)))
	}
	return nil
}
