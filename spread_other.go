//go:build !linux && !freebsd

package sluice

// kernelSpreads is true exactly when the kernel spreads connections over the
// listeners that share an address. Here the one bound last gets them all.
const kernelSpreads = false
