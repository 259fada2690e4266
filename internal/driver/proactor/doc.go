// Package proactor is the driver over io_uring(7), a completion interface: the
// kernel receives and sends by itself and reports what came of it. A connection
// has one receive that goes on until it is ended, into buffers that all share,
// and at most one send. What the loop asked for reaches the kernel with the next
// Poll, all of it in the one system call that also waits.
//
// The kernel refers to a connection until it has reported the end of both. So a
// connection ends in two steps: what is under way is cancelled, and when that has
// been reported its descriptor is closed and its name free. No report can then be
// taken for another connection's, and none touches memory that is another's.
package proactor
