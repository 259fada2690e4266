//go:build !unix

package sluice

// shortenBacklog does nothing where the backlog cannot be changed.
func shortenBacklog(uintptr) {}
