package sluice

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver/sim"
)

func TestConnectionsOfOneLoopHaveOneEventLoop(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		conns := make(chan Conn, 1)
		e := w.engine(t, Config{Loops: 2})
		ln := w.serve(t, e, Funcs{Open: func(c Conn) { conns <- c }})
		loops := map[EventLoop]int{}
		var last Conn
		for range 8 {
			w.connect(t, ln)
			last = receive(t, "OnOpen", conns)
			if n, seen := loops[last.EventLoop()]; seen && n != last.Loop() {
				t.Errorf("loops %d and %d have one EventLoop", n, last.Loop())
			}
			loops[last.EventLoop()] = last.Loop()
		}
		if len(loops) > 2 {
			t.Errorf("two loops have %d EventLoops", len(loops))
		}
		before := last.EventLoop()
		_ = last.Abort()
		eventually(t, "the connection's end", func() bool { return !settling(last) })
		ran := make(chan bool, 1)
		if err := last.EventLoop().Execute(func() { ran <- true }); err != nil || last.EventLoop() != before {
			t.Errorf("after the connection's end: %v", err)
		}
		receive(t, "the function", ran)
	})
	if (Conn{}).EventLoop() != (EventLoop{}) {
		t.Error("the zero Conn has an EventLoop")
	}
	if err := (EventLoop{}).Execute(func() { t.Error("called") }); err != ErrEngineClosed {
		t.Errorf("the zero EventLoop: %v", err)
	}
}

func TestFunctionsOfALoopAndOfItsConnectionsRunInTheOrderGiven(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const givers, each = 8, 2 * perPass
		e := w.engine(t, Config{Loops: 1})
		c, _ := w.pair(t, e, Funcs{})
		var got [givers][]int // touched by the loop alone
		var wg sync.WaitGroup
		for g := range givers {
			wg.Go(func() {
				for i := range each {
					var err error
					if i%2 == 0 {
						err = c.EventLoop().Execute(func() { got[g] = append(got[g], i) })
					} else {
						err = c.Execute(func(Conn) { got[g] = append(got[g], i) })
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		done := make(chan struct{})
		_ = c.EventLoop().Execute(func() { close(done) })
		receive(t, "the last function", done)
		for g := range got {
			if len(got[g]) != each || !slices.IsSorted(got[g]) {
				t.Errorf("goroutine %d: %d of %d functions, in order: %v", g, len(got[g]), each, slices.IsSorted(got[g]))
			}
		}
	})
}

func TestAFunctionGivenOnTheLoopRunsAfterItsGiver(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var steps []string // touched by the loop alone
		done := make(chan struct{})
		e := w.engine(t, Config{Loops: 1})
		_, p := w.pair(t, e, Funcs{Data: func(c Conn, in *buffer.LinkBuffer) {
			_ = in.Skip(in.Len())
			l := c.EventLoop()
			_ = l.Execute(func() {
				steps = append(steps, "first")
				_ = l.Execute(func() { steps = append(steps, "inner"); close(done) })
				steps = append(steps, "first's end")
			})
			_ = c.Execute(func(Conn) { steps = append(steps, "second") })
			steps = append(steps, "OnData's end")
		}})
		if _, err := p.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		receive(t, "the functions", done)
		if want := []string{"OnData's end", "first", "first's end", "second", "inner"}; !slices.Equal(steps, want) {
			t.Errorf("got %q", steps)
		}
	})
}

func TestAPanicInAFunctionOfALoopIsLoggedAndCostsNothing(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var logs logBuffer
		e := w.engine(t, Config{Loops: 1, Logger: slog.New(slog.NewTextHandler(&logs, nil))})
		c, p := w.pair(t, e, Funcs{Data: echo})
		after := make(chan bool, 1)
		_ = c.EventLoop().Execute(func() { panic(errTest) })
		_ = c.EventLoop().Execute(func() { after <- true })
		receive(t, "the next function", after)
		mustEcho(t, p, []byte("all goes on"))
		if s := logs.String(); !strings.Contains(s, errTest.Error()) || !strings.Contains(s, "eventloop_test.go") {
			t.Errorf("the log is %q", s)
		}
	})
}

// givers give functions to a loop until it takes no more. Each holds a lock that
// its functions need: one that ran inside Execute would wait for itself.
type givers struct {
	given, called atomic.Int64
	wg            sync.WaitGroup
}

func (g *givers) begin(t *testing.T, l EventLoop) {
	for range 4 {
		var mu sync.Mutex
		g.wg.Go(func() {
			for {
				mu.Lock()
				err := l.Execute(func() {
					mu.Lock()
					defer mu.Unlock()
					g.called.Add(1)
				})
				mu.Unlock()
				if err != nil {
					if err != ErrEngineClosed {
						t.Error(err)
					}
					return
				}
				g.given.Add(1)
				for g.given.Load() > g.called.Load()+perPass && !l.l.ended.Load() { // the queue has no limit
					time.Sleep(time.Millisecond)
				}
			}
		})
	}
	// One that gives itself to the loop again and again must not keep it from ending.
	var again func()
	again = func() {
		g.called.Add(1)
		if l.Execute(again) == nil {
			g.given.Add(1)
		}
	}
	if err := l.Execute(again); err != nil {
		t.Error(err)
	}
	g.given.Add(1)
	eventually(t, "some functions", func() bool { return g.called.Load() > 100 })
}

// check must be called when the engine has ended.
func (g *givers) check(t *testing.T, l EventLoop) {
	t.Helper()
	called := g.called.Load()
	g.wg.Wait()
	if given := g.given.Load(); given != called || g.called.Load() != called {
		t.Errorf("%d functions were taken; %d were called before the end, %d after it", given, called, g.called.Load()-called)
	}
	if err := l.Execute(func() { t.Error("called after the end") }); !errors.Is(err, ErrEngineClosed) {
		t.Errorf("after the end: %v", err)
	}
}

func TestEveryFunctionThatALoopHasTakenIsCalledOnceHoweverTheEngineEnds(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for name, end := range map[string]func(e *Engine) error{
			"Close":    (*Engine).Close,
			"Shutdown": func(e *Engine) error { return e.Shutdown(t.Context()) },
		} {
			t.Run(name, func(t *testing.T) {
				e := w.engine(t, Config{Loops: 1})
				ln := w.serve(t, e, Funcs{Data: echo})
				defer ln.Close()
				p := w.connect(t, ln)
				mustEcho(t, p, []byte("x"))
				l := EventLoop{e.loops[0]}
				var g givers
				g.begin(t, l)
				go func() { _, _ = p.Read(make([]byte, 1)); p.Close() }()
				if err := end(e); err != nil {
					t.Error(err)
				}
				g.check(t, l)
			})
		}
	})
}

func TestEveryFunctionThatALoopHasTakenIsCalledOnceThoughTheDriverFails(t *testing.T) {
	w := simWorld(t, sim.Config{Live: true, Seed: 1})
	e, fail := failingEngine(t, w.sys)
	l := EventLoop{e.loops[0]}
	var g givers
	g.begin(t, l)
	fail()
	if err := e.Wait(); !errors.Is(err, errTest) {
		t.Errorf("Wait: %v", err)
	}
	g.check(t, l)
}

func TestFunctionsAreTakenWhileShutdownWaitsForConnections(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		e := w.engine(t, Config{Loops: 1})
		c, p := w.pair(t, e, Funcs{})
		release, ended := make(chan struct{}), make(chan error, 1)
		_ = c.Offload(func(Conn) { <-release })
		go func() { ended <- e.Shutdown(t.Context()) }()
		l := c.EventLoop()
		stopping := make(chan bool)
		eventually(t, "the loop to be stopping", func() bool {
			if err := l.Execute(func() { stopping <- l.l.stopping }); err != nil {
				t.Fatal(err)
			}
			return <-stopping
		})
		close(release)
		go func() { _, _ = p.Read(make([]byte, 1)); p.Close() }()
		if err := receive(t, "Shutdown", ended); err != nil {
			t.Error(err)
		}
		if err := l.Execute(func() {}); err != ErrEngineClosed {
			t.Errorf("after Shutdown: %v", err)
		}
	})
}

func TestGivingALoopAFunctionAllocatesNothing(t *testing.T) {
	s := newStepped(t, Config{})
	l := s.eng.loops[0]
	called := 0
	fn := func() { called++ }
	give := func() {
		for range 100 {
			_ = EventLoop{l}.Execute(fn)
		}
		l.runTasks()
	}
	give()
	if n := testing.AllocsPerRun(10, give); n > 0 || called < 1000 {
		t.Errorf("%v allocations for 100 functions; %d were called", n, called)
	}
}
