package sluice

import (
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluice-go/sluice/buffer"
	"github.com/sluice-go/sluice/internal/driver"
	"github.com/sluice-go/sluice/internal/queue"
	"github.com/sluice-go/sluice/internal/tlsconn"
	"github.com/sluice-go/sluice/internal/wheel"
	"github.com/sluice-go/sluice/internal/workers"
)

const (
	// perPass bounds how many requests, functions and new connections one
	// pass takes from each of the loop's queues, so that a flood of them does
	// not keep the loop from input and output.
	perPass = 1024

	// iovMax is how many pieces one Send may have (IOV_MAX on every system).
	iovMax = 1024

	// yieldEvery is how many ms a busy loop goes on before it gives way to
	// other goroutines. The runtime would take its processor away after 10,
	// and again every 20 µs as long as it finds the loop in a system call: an
	// echo of 1 KiB then cost 20, 16 and 41 % more with 100, 1,000 and 10,000
	// connections (medians of 5 runs in turn). A goroutine that the loop made
	// runnable waits in its thread's queue, so the loop also gives way before
	// it blocks in the kernel.
	yieldEvery = 4

	// timeEvery is after how many reports a loop looks at the clock again.
	timeEvery = 8

	// yieldsMax bounds how often in a row a loop gives way for one goroutine.
	yieldsMax = 8

	// copyMax is up to how many bytes are copied behind those that wait
	// already. More stay in the block they arrived in, and the driver takes
	// another.
	copyMax = 8 << 10
)

// eventLoop is a reactor: one goroutine that serves its connections, or, as
// the main loop, accepts them for others. Unless it says otherwise a field or
// method is for that goroutine alone.
type eventLoop struct {
	eng   *Engine
	index int
	drv   driver.Driver  // set before the loop runs
	plain way            // drv, for connections without TLS
	tls   *tlsconn.Layer // nil until there is one with it

	chunks     []*chunk // connections by driver ID
	firstFree  int      // no chunk below it has a free slot
	routes     []*route // by slot.route; nil where free
	freeRoutes []uint32 // indexes of those
	acceptors  []*acceptor
	deadlines  wheel.Wheel     // one entry a connection, by driver ID
	due        []uint32        // IDs whose entry has fired
	onDue      func(id uint32) // appends to due
	timers     timers
	spare      *active           // see keepOrFree
	view       buffer.LinkBuffer // the bytes lent to the OnData that runs
	iov        [][]byte          // scratch for Send
	batch      workers.Batch     // offloaded jobs, handed over at the end of the pass
	now        int64             // ms, when this pass began
	reports    int               // what the driver reported in this pass
	slept      bool              // true exactly when the last Poll was allowed to sleep
	worked     bool              // true exactly when the last Poll reported more than one thing
	yielded    int64             // ms, when the loop last gave way to other goroutines
	yield      bool              // true exactly when it has made a goroutine runnable since
	stopping   bool              // true exactly when no new connection is taken
	count      counters

	// For any goroutine.
	pool        buffer.Pool
	actives     sync.Pool
	attention   queue.Queue[uint32] // connections with requests
	tasks       queue.Queue[task]
	incoming    queue.Queue[incoming]
	parked      atomic.Bool  // true exactly when the loop sleeps or is about to
	assigned    atomic.Int64 // connections given to the loop and not yet gone
	bytesDirect atomic.Int64 // bytes sent by other goroutines
	wakeups     atomic.Int64
	began       atomic.Int64 // loop time in ms of the present pass, or atRest
	published   published
	done        chan struct{} // closed when the loop has ended
	ended       atomic.Bool   // true exactly when the loop takes no more tasks itself
	after       sync.Mutex    // held by the goroutine that takes them then
	giving      sync.RWMutex  // held while a user's function is pushed
	refusing    bool          // true exactly when those are refused; guarded by giving
}

// task is a function for the loop to call: fn for a connection, if it is still
// there, or with the zero Conn for the loop itself; or given, a user's function
// that is bound to no connection. That is a field of its own because a closure
// around it would be an allocation.
type task struct {
	c     Conn
	fn    func(Conn)
	given func()
}

// incoming is an accepted descriptor on its way to its loop.
type incoming struct {
	fd int
	r  *route
}

func newLoop(e *Engine, index int) (*eventLoop, error) {
	l := &eventLoop{eng: e, index: index, iov: make([][]byte, 0, iovMax), done: make(chan struct{})}
	l.batch.Pool = e.jobs
	l.onDue = func(id uint32) { l.due = append(l.due, id) } // once, so that a pass allocates nothing
	l.timers.fire = func(id uint32) { l.timers.due = append(l.timers.due, l.timers.table[id]) }
	l.actives.New = func() any { return new(active) }
	l.spare = newActive(l)
	l.began.Store(atRest)
	l.view.SetPool(&l.pool)
	drv, err := e.sys.New(l, &l.pool)
	if err != nil {
		return nil, err
	}
	l.drv, l.plain = drv, drv
	return l, nil
}

// run is the loop: it serves until it is told to stop and its last
// connection is gone.
func (l *eventLoop) run() {
	finished, failed := false, false
	defer func() {
		if v := recover(); v != nil {
			panic(v) // the engine's own bug
		}
		if !finished { // a handler called runtime.Goexit, as testing's FailNow does
			l.log().Error("sluice: a handler ended the goroutine of its loop; handlers must not call runtime.Goexit",
				"loop", l.index, "stack", string(debug.Stack()))
			panic("sluice: runtime.Goexit called in a handler")
		}
	}()
	for !l.finished() {
		if err := l.pass(); err != nil {
			l.log().Error("sluice: the loop cannot go on", "loop", l.index, "driver", l.eng.sys.Name(), "err", err)
			l.eng.fail(err)
			l.abandon(err)
			failed = true
			break
		}
	}
	finished = true
	l.view.Close()
	if !failed {
		l.closeDriver()
	}
	if l.tls != nil {
		l.tls.Close()
	}
	l.publish()
	l.began.Store(atRest)
	l.end()
	close(l.done)
}

// end calls what the loop still owes and has others do so for what comes now.
func (l *eventLoop) end() {
	l.refuse()
	l.after.Lock() // a user's functions are called here, never by who comes later
	l.ended.Store(true)
	for !l.tasks.Empty() {
		l.runTasks()
	}
	l.after.Unlock()
	l.drain()
	l.discard()
}

func (l *eventLoop) closeDriver() {
	if err := l.drv.Close(); err != nil {
		l.log().Error("sluice: closing the driver", "loop", l.index, "err", err)
	}
}

// drain calls the functions that came too late for the loop, which find it
// stopping: whoever waits for one does not wait for ever.
func (l *eventLoop) drain() {
	// Whoever holds the lock sees what others push, also what it pushes itself.
	for !l.tasks.Empty() && l.after.TryLock() {
		l.runTasks()
		l.after.Unlock()
	}
}

// runTasks calls some of the functions that the loop was given.
func (l *eventLoop) runTasks() {
	tasks := l.tasks.Take(perPass)
	for i, t := range tasks {
		tasks[i] = task{} // which would be kept while the loop sleeps
		l.execute("Execute", t)
	}
}

// finished reports whether the loop has nothing left to do for ever. Once its
// connections are gone it takes no more functions of users: one that gives itself
// to the loop again and again would keep it from ending.
func (l *eventLoop) finished() bool {
	if !l.stopping || l.count.conns > 0 {
		return false
	}
	l.refuse()
	return l.incoming.Empty() && l.tasks.Empty()
}

// pass is one turn of the loop: wait for the kernel and take its reports,
// which call the handlers; then what other goroutines and the handlers asked
// for; then timers; at last what the handlers wrote goes out.
func (l *eventLoop) pass() error {
	wait := l.wait()
	l.reports = 0
	if err := l.drv.Poll(wait); err != nil {
		return err
	}
	l.worked = l.reports > 1
	l.begin()
	for _, in := range l.incoming.Take(perPass) {
		l.adopt(in.fd, in.r)
	}
	l.runTasks()
	l.advance()
	l.timers.advance(l)
	for _, id := range l.attention.Take(perPass) {
		l.attend(id)
	}
	l.batch.Submit()
	l.publish()
	return nil
}

// wait returns how long the next Poll may sleep, and marks the loop as parked
// if it may. The order matters: a producer pushes first and looks at parked
// after, the loop sets parked first and looks at the queues after, so one of
// them sees the other.
func (l *eventLoop) wait() time.Duration {
	if l.now-l.yielded >= yieldEvery || l.yield && !l.worked {
		l.yield, l.yielded = false, l.now
		l.giveWay()
	}
	if l.queued() {
		return 0
	}
	if l.worked {
		// Where there was much there is often more by now, and looking costs
		// less than falling asleep and being woken.
		l.worked = false
		return 0
	}
	l.parked.Store(true)
	if l.queued() {
		l.parked.Store(false)
		return 0
	}
	l.slept = true
	l.began.Store(atRest)
	at, ok := l.deadlines.Next()
	if t, more := l.timers.wheel.Next(); more && (!ok || t < at) {
		at, ok = t, true
	}
	if !ok {
		return -1
	}
	return max(0, time.Duration(at)*time.Millisecond-l.drv.Now())
}

// breathe has a long pass give way as a short one does: handlers that compute for
// 50 µs each made it last for 70 ms with 1,000 connections, and every third of the
// processor's time went to the runtime that wanted it back.
func (l *eventLoop) breathe() {
	if now := l.time(); now-l.yielded >= yieldEvery {
		l.yielded = now
		l.giveWay()
	}
}

// giveWay lets the goroutines run that are runnable. One Gosched is not enough:
// every 61st time the scheduler looks first where the loop waits then, and takes
// it before those that it gave way to. If the loop now blocked in the kernel,
// they would wait until the runtime notices, which takes it up to 10 ms: with a
// handler for each of 100 connections the slowest percent took 17 ms instead of 1,
// and a third of the throughput was lost.
func (l *eventLoop) giveWay() {
	runtime.Gosched()
	runtime.Gosched()
	for n := 0; n < yieldsMax && l.eng.jobs.Coming(); n++ {
		runtime.Gosched()
	}
}

// queued reports whether work waits that needs no report of the kernel.
func (l *eventLoop) queued() bool {
	return !l.attention.Empty() || !l.tasks.Empty() || !l.incoming.Empty() ||
		len(l.due) > 0 || len(l.timers.due) > 0 || l.stopping && l.count.conns == 0
}

// begin marks the time of a pass: at its first event or, without one, when
// Poll has returned.
func (l *eventLoop) begin() {
	if l.reports++; l.reports > 1 {
		if l.reports%timeEvery == 0 {
			l.breathe()
		}
		return
	}
	if now := l.time(); now != l.now || l.slept { // seldom: a store that others see costs
		l.now, l.slept = now, false
		l.began.Store(now)
	}
	if l.parked.Load() {
		l.parked.Store(false)
	}
}

// time is the loop's clock in ms. Any goroutine may call it.
func (l *eventLoop) time() int64 { return int64(l.drv.Now() / time.Millisecond) }

// deadline is the loop time d from now, rounded up: nothing fires early. Any
// goroutine may call it.
func (l *eventLoop) deadline(d time.Duration) int64 { return ms(l.drv.Now() + min(d, maxWait)) }

// wake makes a parked loop look at its queues. Any goroutine may call it,
// after it has pushed.
func (l *eventLoop) wake() {
	if l.parked.Load() && l.parked.CompareAndSwap(true, false) {
		l.wakeups.Add(1)
		l.drv.Wake()
	}
}

// do has the loop call fn. Any goroutine may call it.
func (l *eventLoop) do(fn func()) {
	l.tasks.Push(task{fn: func(Conn) { fn() }})
	l.wake()
	if l.ended.Load() {
		l.drain()
	}
}

// execute calls a task's function; callback is its name if it panics.
func (l *eventLoop) execute(callback string, t task) {
	switch {
	case t.given != nil:
		l.callGiven(t.given)
		return
	case t.c.ch == nil:
		t.fn(Conn{})
		return
	}
	s := t.c.slot()
	if !l.enter(s, t.c.key>>slotBits) {
		return
	}
	l.callFunc(callback, t.c, t.fn)
	l.leave(t.c.ch, uint32(t.c.key&slotMask))
}

// attend looks after a connection that asked for something.
func (l *eventLoop) attend(id uint32) {
	ch, i := l.at(id)
	if ch == nil {
		return // its connection ended and the chunk was given back
	}
	s := &ch.slots[i]
	s.mu.Lock()
	s.flags &^= flagQueued
	l.settle(ch, i, s)
}

// enter begins a callback of the connection of generation gen: what it asks
// for meanwhile is attended to by leave. It reports false if there is no such
// connection, or it has ended.
func (l *eventLoop) enter(s *slot, gen uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gen != gen || s.flags&flagOpened == 0 || s.state == stateShut {
		return false
	}
	s.flags |= flagBusy
	return true
}

// leave ends a callback.
func (l *eventLoop) leave(ch *chunk, i uint32) {
	s := &ch.slots[i]
	s.mu.Lock()
	s.flags &^= flagBusy
	l.settle(ch, i, s)
}

func (l *eventLoop) log() *slog.Logger { return l.eng.cfg.Logger }

// guard is deferred around every call of a user's function: a panic in it
// costs c and nothing else.
func (l *eventLoop) guard(callback string, c Conn) {
	v := recover()
	if v == nil {
		return
	}
	l.log().Error("sluice: panic in a handler; its connection is closed",
		"callback", callback, "panic", v, "remote", c.RemoteAddr().String(), "stack", string(debug.Stack()))
	_ = c.abort(&PanicError{callback, v})
}

func (l *eventLoop) callOpen(h Handler, c Conn) {
	defer l.guard("OnOpen", c)
	h.OnOpen(c)
}

func (l *eventLoop) callData(h Handler, c Conn, in *buffer.LinkBuffer) {
	defer l.guard("OnData", c)
	h.OnData(c, in)
}

func (l *eventLoop) callHangup(h HangupHandler, c Conn, err error) {
	defer l.guard("OnHangup", c)
	h.OnHangup(c, err)
}

func (l *eventLoop) callClose(h Handler, c Conn, err error) {
	defer l.guard("OnClose", c)
	h.OnClose(c, err)
}

func (l *eventLoop) callFunc(callback string, c Conn, fn func(Conn)) {
	defer l.guard(callback, c)
	fn(c)
}
