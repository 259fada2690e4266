// Package reactor fulfils the contract of package driver over a readiness
// interface of the kernel: epoll on Linux, kqueue on macOS and the BSDs.
// Elsewhere it is empty.
//
// The core knows the kernel only as a poller. An event costs one read into a
// block that the whole loop shares, and what is left is reported again: by
// itself by kqueue, on demand by epoll. A descriptor is registered with the
// poller only while something is wanted of it.
package reactor
