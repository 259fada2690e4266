// Package sock is what drivers over real descriptors share: making listening
// and connecting sockets, reading and writing them, their options and their
// addresses. It exists on Linux, macOS and the BSDs; elsewhere it is empty.
//
// Its functions are thin. They retry what a signal interrupted, they do not
// block on a descriptor that this package made, and where they return an
// error of their own, it names the operation and the address. A write to a
// connection that is gone is an error and no signal: the Go runtime ignores
// SIGPIPE, but for descriptors 1 and 2 when package os writes to them.
package sock
