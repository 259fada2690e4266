// Package uring is io_uring(7) for one event loop: a ring of submissions and
// completions shared with the kernel, rings of buffers that the kernel fills,
// and what is needed to set them up. It makes raw system calls and needs no cgo.
//
// A Ring is made by anyone and then belongs to one locked thread
// (IORING_SETUP_SINGLE_ISSUER); only Wake is for others. It needs Linux 6.1,
// of which Probe tells whether it is there.
package uring
