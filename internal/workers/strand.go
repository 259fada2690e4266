package workers

import "sync"

// Strand is a queue of jobs that run in order, one at a time, never two at
// once; a connection has one. The zero value is ready. A Strand belongs to one
// Pool, must not be copied after first use, and while idle owns nothing else.
type Strand struct {
	// OnIdle, if not nil, is called whenever the strand has run out of jobs:
	// on a worker or inside Pool.Close and, like a job, never at the same time
	// as one. Jobs that it adds, or that others have added since, run after
	// it. It must be set before the first job and must not call
	// runtime.Goexit.
	OnIdle func()

	mu         sync.Mutex
	head, tail *node   // jobs not yet started
	next       *Strand // the next in the list of strands that this one is in
	pending    int32   // jobs not yet finished
	active     bool    // true exactly when in a Batch, in the pool's queue or with a worker
	running    bool    // true exactly when a job was started and has not finished
}

// node holds a job that waits in a strand.
type node struct {
	job  func()
	next *node
}

// nodes makes adding a job free of allocations.
var nodes = sync.Pool{New: func() any { return new(node) }}

// Pending returns the number of jobs that were added and have neither finished
// nor been dropped, the running one included. Any goroutine may call it.
func (s *Strand) Pending() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.pending)
}

// Drop forgets the jobs that have not started and returns their number. One
// that is running goes on. OnIdle follows as if they had run. A dropped job's
// resources are its owner's matter: where that counts, let the job run and
// find out by itself that it is not wanted. Any goroutine may call Drop.
func (s *Strand) Drop() int {
	s.mu.Lock()
	first, n := s.head, 0
	s.head, s.tail = nil, nil
	for at := first; at != nil; at = at.next {
		n++
	}
	s.pending -= int32(n)
	s.mu.Unlock()
	for first != nil {
		_, first = free(first)
	}
	return n
}

// push appends a job.
func (s *Strand) push(job func()) {
	n := nodes.Get().(*node)
	n.job = job
	if s.tail == nil {
		s.head = n
	} else {
		s.tail.next = n
	}
	s.tail = n
	s.pending++
}

// finish notes that the job started last has ended. s.mu is held.
func (s *Strand) finish() {
	if s.running {
		s.running = false
		s.pending--
	}
}

// pause is what a worker does to a strand that it will not run on for now.
func (s *Strand) pause() {
	s.mu.Lock()
	s.finish()
	s.mu.Unlock()
}

// start returns the next job to run, after the one started last, or nil.
func (s *Strand) start() (job func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish()
	if s.head == nil {
		return nil
	}
	job, s.head = free(s.head)
	if s.head == nil {
		s.tail = nil
	}
	s.running = true
	return job
}

// retire makes the strand idle, unless it has a job again.
func (s *Strand) retire() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active = s.head != nil
	return !s.active
}

// free returns what a node holds and gives it back.
func free(n *node) (job func(), next *node) {
	job, next = n.job, n.next
	*n = node{}
	nodes.Put(n)
	return job, next
}

// list is a list of strands linked by their next.
type list struct {
	head, tail *Strand
	len        int
}

func (l *list) push(s *Strand) {
	l.append(list{s, s, 1})
}

// append moves the strands of other to the end.
func (l *list) append(other list) {
	switch {
	case other.head == nil:
		return
	case l.head == nil:
		l.head = other.head
	default:
		l.tail.next = other.head
	}
	l.tail = other.tail
	l.len += other.len
}

func (l *list) pop() *Strand {
	s := l.head
	if s == nil {
		return nil
	}
	l.head, s.next = s.next, nil
	if l.head == nil {
		l.tail = nil
	}
	l.len--
	return s
}
