package child

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/bench/internal/proc"
)

// roles are what the test binary does as a child.
var roles = map[string]func(){
	"idle": func() { select {} },
	"fail": func() {
		fmt.Fprintln(os.Stderr, "no such luck")
		os.Exit(3)
	},
	"talk": func() {
		fmt.Println("a line for nobody")
		Say("ignored", "text")
		Say("processors", fmt.Sprint(runtime.NumCPU(), runtime.GOMAXPROCS(0)))
		cores, _ := proc.Cores()
		Say("bound", fmt.Sprint(cores))
	},
	"chatter": func() {
		for _, part := range []string{mark + "result ", strings.Repeat("x", 10_000), strings.Repeat("y", 10_000) + "\n"} {
			os.Stdout.WriteString(part)
			time.Sleep(time.Millisecond)
		}
	},
	"answer": func() {
		line, _ := bufio.NewReader(os.Stdin).ReadString('\n')
		Say("heard", strings.TrimSpace(line))
	},
	"parent": func() {
		p, err := Start(context.Background(), []int{firstCore()}, Self("idle"))
		if err != nil {
			panic(err)
		}
		Say("pid", strconv.Itoa(p.PID()))
		select {}
	},
}

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && roles[os.Args[1]] != nil {
		roles[os.Args[1]]()
		return
	}
	os.Exit(m.Run())
}

func firstCore() int {
	cores, err := proc.Cores()
	if err != nil {
		panic(err)
	}
	return cores[0]
}

func start(t *testing.T, core int, role string) (*Process, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	p, err := Start(ctx, []int{core}, Self(role))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p, ctx
}

func TestChildIsBoundToItsCore(t *testing.T) {
	before, err := proc.Cores()
	if err != nil {
		t.Fatal(err)
	}
	for _, core := range before {
		p, ctx := start(t, core, "talk")
		if text, err := p.Await(ctx, "processors"); err != nil || text != "1 1" {
			t.Errorf("the child sees %q processors, %v", text, err)
		}
		if text, err := p.Await(ctx, "bound"); err != nil || text != fmt.Sprintf("[%d]", core) {
			t.Errorf("bound to %q, %v, want core %d", text, err, core)
		}
	}
	if after, _ := proc.Cores(); !slices.Equal(before, after) {
		t.Errorf("the parent was bound to %v, now to %v", before, after)
	}
}

func TestAwaitTellsHowTheChildEnded(t *testing.T) {
	p, ctx := start(t, firstCore(), "fail")
	_, err := p.Await(ctx, "anything")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such luck") {
		t.Errorf("got %v", err)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	p, ctx := start(t, firstCore(), "idle")
	ctx, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
	defer cancel()
	if _, err := p.Await(ctx, "anything"); err == nil {
		t.Error("no error")
	}
}

func TestKilledChildIsGone(t *testing.T) {
	p, _ := start(t, firstCore(), "idle")
	p.Kill()
	if running(p.PID()) {
		t.Error("still there")
	}
	p.Kill() // once more does nothing
}

func TestChildrenEndWithTheirParent(t *testing.T) {
	p, ctx := start(t, firstCore(), "parent")
	text, err := p.Await(ctx, "pid")
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	if !running(pid) {
		t.Fatal("the grandchild does not run")
	}
	p.Kill()
	for running(pid) {
		if ctx.Err() != nil {
			t.Fatal("the grandchild outlives its parent")
		}
		time.Sleep(time.Millisecond)
	}
}

// running tells whether process pid exists and has not ended.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

func TestAChildHearsWhatItIsTold(t *testing.T) {
	p, ctx := start(t, firstCore(), "answer")
	if err := p.Tell("go"); err != nil {
		t.Fatal(err)
	}
	if text, err := p.Await(ctx, "heard"); err != nil || text != "go" {
		t.Errorf("it heard %q: %v", text, err)
	}
}

func TestAnotherProgramIsNamedWithItsArguments(t *testing.T) {
	p, err := Start(context.Background(), []int{firstCore()}, []string{"false", "argument"})
	if err != nil {
		t.Skip("there is no program false: ", err)
	}
	<-p.Ended()
	if text := p.Err().Error(); !strings.HasPrefix(text, "false argument: ") {
		t.Errorf("got %q", text)
	}
}

func TestALongArgumentIsCutInErrors(t *testing.T) {
	p, err := Start(context.Background(), []int{firstCore()}, []string{"false", strings.Repeat("é", 1000), "end"})
	if err != nil {
		t.Skip("there is no program false: ", err)
	}
	<-p.Ended()
	if text := p.Err().Error(); !strings.HasPrefix(text, "false "+strings.Repeat("é", longestArg)+"... end: ") {
		t.Errorf("got %q", text)
	}
}

func TestALongLineInPiecesArrivesWhole(t *testing.T) {
	p, ctx := start(t, firstCore(), "chatter")
	if text, err := p.Await(ctx, "result"); err != nil || len(text) != 20_000 {
		t.Errorf("%d bytes: %v", len(text), err)
	}
}
