package servers

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
)

// once calls build unless there is a file.
func once(file string, build func() error) error {
	_, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return build()
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
