//go:build linux || freebsd

package sluice

// kernelSpreads is true exactly when the kernel spreads connections over the
// listeners that share an address (SO_REUSEPORT, on FreeBSD SO_REUSEPORT_LB).
const kernelSpreads = true
