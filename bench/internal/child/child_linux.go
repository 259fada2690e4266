// Package child starts a program, this one again or another, as a process of
// its own that is bound to some cores, and makes sure that it ends.
package child

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// mark begins every line that a child has for its parent; servers under test
// print lines of their own.
const mark = "\x01bench "

const (
	// keptOutput bounds what is kept of a child's other output, in bytes.
	keptOutput = 2 << 10
	// longestLine bounds a line for the parent, in bytes.
	longestLine = 64 << 10
	// longestArg bounds an argument in an error message, in characters.
	longestArg = 60
)

// Say sends one line of text, which begins with word, to the parent.
func Say(word, text string) {
	fmt.Fprintf(os.Stdout, "%s%s %s\n", mark, word, text)
}

// Process is a running child.
type Process struct {
	cmd  *exec.Cmd
	in   io.Writer
	out  *output
	done chan struct{} // closed once the child has ended and its output is read
}

// self is this program's file.
const self = "/proc/self/exe"

// Self returns the command line of this program with args.
func Self(args ...string) []string { return append([]string{self}, args...) }

// Start runs a command on the given cores. If it is a Go program its runtime
// sees as many processors. It is killed when ctx ends, and when this process
// does.
func Start(ctx context.Context, cores []int, command []string) (*Process, error) {
	p := &Process{
		cmd:  exec.CommandContext(ctx, command[0], command[1:]...),
		out:  &output{said: make(chan string, 4)},
		done: make(chan struct{}),
	}
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(len(cores)))
	p.cmd.Stdout = p.out
	p.cmd.Stderr = p.out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil { // cmd closes it
		return nil, err
	}
	failed := make(chan error)
	forker() <- func() { failed <- startOn(cores, p.cmd) }
	if err := <-failed; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name(), err)
	}
	go func() {
		p.cmd.Wait() // reads all output; the state it found stays in cmd
		close(p.out.said)
		close(p.done)
	}()
	return p, nil
}

// name is what messages call the child: its command line, long arguments cut.
func (p *Process) name() string {
	var args []string
	for _, arg := range p.cmd.Args {
		if text := []rune(arg); len(text) > longestArg {
			arg = string(text[:longestArg]) + "..."
		}
		args = append(args, arg)
	}
	return strings.TrimPrefix(strings.Join(args, " "), self+" ")
}

// forker returns the way to the goroutine that starts every child. It keeps a
// thread of its own, for good: a child inherits the cores of the thread that
// forks it, and is told of its parent's death when that thread ends.
var forker = sync.OnceValue(func() chan<- func() {
	jobs := make(chan func())
	go func() {
		runtime.LockOSThread()
		for job := range jobs {
			job()
		}
	}()
	return jobs
})

func startOn(cores []int, cmd *exec.Cmd) error {
	var set unix.CPUSet
	for _, core := range cores {
		set.Set(core)
	}
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("bind to cores %v: %w", cores, err)
	}
	return cmd.Start()
}

// PID returns the child's process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Await returns the text of the child's next line that begins with word. It
// is an error if the child ends first, or ctx.
func (p *Process) Await(ctx context.Context, word string) (string, error) {
	for {
		select {
		case line, ok := <-p.out.said:
			if !ok {
				<-p.done
				return "", p.Err()
			}
			if text, ok := strings.CutPrefix(line, word+" "); ok {
				return text, nil
			}
		case <-ctx.Done():
			return "", fmt.Errorf("%s: no %q: %w", p.name(), word, ctx.Err())
		}
	}
}

// Ended returns a channel that is closed once the child has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Err says how the child ended. To be called after that only.
func (p *Process) Err() error {
	return fmt.Errorf("%s: %v: %s", p.name(), p.cmd.ProcessState, p.out.rest())
}

// Tell writes a line to the child's standard input.
func (p *Process) Tell(line string) error {
	_, err := io.WriteString(p.in, line+"\n")
	return err
}

// Signal sends the child a signal.
func (p *Process) Signal(s os.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends the child and waits for its end.
func (p *Process) Kill() {
	p.cmd.Process.Kill() // fails only if it has ended already
	<-p.done
}

// output splits what a child prints into lines for the parent and the rest,
// of which the end is kept for error messages. Its mutex is for rest, which
// another goroutine calls.
type output struct {
	said chan string // what Say sent, closed at the child's end

	mu   sync.Mutex
	line []byte // the beginning of an unfinished line
	kept []byte
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for part := range bytes.Lines(p) {
		o.line = append(o.line, part...)
		if part[len(part)-1] != '\n' && len(o.line) < longestLine {
			break
		}
		if text, ok := bytes.CutPrefix(o.line, []byte(mark)); ok {
			select {
			case o.said <- string(bytes.TrimSuffix(text, []byte("\n"))):
			default: // nobody waits for so many
			}
		} else {
			o.kept = append(o.kept, o.line...)
			o.kept = o.kept[max(0, len(o.kept)-keptOutput):]
		}
		o.line = o.line[:0]
	}
	return len(p), nil
}

// rest returns the end of what the child printed for no one in particular.
func (o *output) rest() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.TrimSpace(string(o.kept) + string(o.line))
}
