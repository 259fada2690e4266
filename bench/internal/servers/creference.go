package servers

import (
	"embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed creference
var cSources embed.FS

// cReference returns the Command of a server in C, which takes its number of
// loops from GOMAXPROCS, too.
func cReference(name string) func(dir, addr string) ([]string, error) {
	return func(dir, addr string) ([]string, error) {
		host, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		program := filepath.Join(dir, "c-"+name)
		err = once(program, func() error { return compile(dir, name, program) })
		return []string{program, host, port}, err
	}
}

func compile(dir, name, program string) error {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return fmt.Errorf("install a C compiler to measure c-%s: %w", name, err)
	}
	if err := os.CopyFS(dir, cSources); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	source := filepath.Join(dir, "creference", name+".c")
	return output(exec.Command(cc, "-std=gnu11", "-O2", "-pthread", "-Wall", "-Wextra", "-o", program, source))
}
