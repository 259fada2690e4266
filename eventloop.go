package sluice

import "runtime/debug"

// EventLoop is a handle of one of an engine's event loops: a small value to be
// copied, compared and used as a key of a map. What belongs to a loop rather than
// to a connection, such as the list of those connections of a group that it
// serves, is kept by it and touched in functions given to Execute alone.
type EventLoop struct {
	l *eventLoop
}

// EventLoop returns the loop of the connection, also when that has ended. It does
// not change. That of the zero Conn is the zero EventLoop.
func (c Conn) EventLoop() EventLoop {
	if c.ch == nil {
		return EventLoop{}
	}
	return EventLoop{c.ch.loop}
}

// Execute has the loop call fn after the functions given before, those given to
// Conn.Execute for connections of the loop included, and never during a callback or
// within Execute itself: on the loop, fn is called later in the same pass or in one
// that follows. Any goroutine may call it. Like a callback, fn must not block. A
// panic in it is logged and costs nothing else.
//
// With a nil error fn is called exactly once, whatever happens to the engine, and
// on the loop's own goroutine, which the end of the engine waits for. Otherwise it
// is never called. ErrEngineClosed is returned when the engine is ending and the
// loop's last connection has gone, when the loop has failed, and by the zero
// EventLoop: while connections are closed in order, functions are still taken.
func (e EventLoop) Execute(fn func()) error {
	switch {
	case fn == nil:
		return errNilFunc
	case e.l == nil || !e.l.give(fn):
		return ErrEngineClosed
	}
	return nil
}

// give has the loop call a user's function and reports whether it will. Any
// goroutine may call it.
func (l *eventLoop) give(fn func()) bool {
	l.giving.RLock()
	defer l.giving.RUnlock()
	if l.refusing {
		return false
	}
	l.tasks.Push(task{given: fn})
	l.wake()
	return true
}

// refuse has give fail from now on. What was given before is in the queue then.
func (l *eventLoop) refuse() {
	l.giving.Lock()
	l.refusing = true
	l.giving.Unlock()
}

// callGiven calls a function that Execute was given.
func (l *eventLoop) callGiven(fn func()) {
	defer func() {
		if v := recover(); v != nil {
			l.log().Error("sluice: panic in a function that EventLoop.Execute was given",
				"loop", l.index, "panic", v, "stack", string(debug.Stack()))
		}
	}()
	fn()
}
