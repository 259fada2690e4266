package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/panjf2000/gnet/v2"
)

type gnetHandler struct{ gnet.BuiltinEventEngine }

func (*gnetHandler) OnTraffic(c gnet.Conn) gnet.Action {
	in, err := c.Next(-1)
	if err != nil {
		return gnet.Close
	}
	if _, err := c.Write(in); err != nil {
		return gnet.Close
	}
	return gnet.None
}

func gnetEcho(addr string) error {
	return gnet.Run(new(gnetHandler), "tcp4://"+addr,
		gnet.WithNumEventLoop(Loops()),
		gnet.WithReusePort(true), // without, another loop accepts, which costs about a fiftieth more
	)
}

// gnetPollOptEcho is the same in a program that is built with pollOptTag.
func gnetPollOptEcho(addr string) error {
	if !hasPollOpt {
		return errors.New("gnet-poll_opt is a program of its own: build this one with -tags " + pollOptTag)
	}
	return gnetEcho(addr)
}

// pollOptTag is the build tag that makes gnet keep pointers to its connections
// in epoll, instead of finding them by their descriptors.
const pollOptTag = "poll_opt"

// buildWithPollOpt builds this program once more, with pollOptTag.
func buildWithPollOpt(dir, addr string) ([]string, error) {
	file := filepath.Join(dir, "bench-"+pollOptTag)
	err := once(file, func() error {
		_, here, _, _ := runtime.Caller(0)
		source := filepath.Join(filepath.Dir(here), "..", "..")
		if _, err := os.Stat(filepath.Join(source, "go.mod")); err != nil {
			return fmt.Errorf("gnet-poll_opt is built from this program's source, which is not there: %w", err)
		}
		build := exec.Command("go", "build", "-tags", pollOptTag, "-o", file, ".")
		build.Dir = source
		return output(build)
	})
	return []string{file, "serve", "gnet-poll_opt", "--addr", addr}, err
}
