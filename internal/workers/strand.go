package workers

import "sync"

// Strand is a queue of jobs that run in order, one at a time, never two at
// once; a connection has one. The zero value is ready. A Strand belongs to one
// Pool, must not be copied after first use, and while idle owns nothing else.
type Strand struct {
	mu         sync.Mutex
	head, tail *node   // jobs not yet started
	next       *Strand // the next in the list of strands that this one is in
	active     bool    // true exactly when in a Batch, in the pool's queue or with a worker
}

// node holds a job that waits in a strand.
type node struct {
	job  func()
	next *node
}

// nodes makes adding a job free of allocations.
var nodes = sync.Pool{New: func() any { return new(node) }}

// Drop forgets the jobs that have not started and returns their number. One
// that is running goes on. A dropped job's resources are its owner's matter:
// where that counts, let the job run and find out by itself that it is not
// wanted. Any goroutine may call Drop.
func (s *Strand) Drop() int {
	s.mu.Lock()
	first, n := s.head, 0
	s.head, s.tail = nil, nil
	s.mu.Unlock()
	for ; first != nil; n++ {
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
}

// start returns the next job to run. If there is none, the strand is idle from
// now on.
func (s *Strand) start() (job func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil {
		s.active = false
		return nil
	}
	job, s.head = free(s.head)
	if s.head == nil {
		s.tail = nil
	}
	return job
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
