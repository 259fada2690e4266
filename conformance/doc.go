// Package conformance runs suites that others wrote against Sluice, which is
// why it is a module of its own: what only these tests need is no dependency of
// Sluice's users. It holds tests and nothing to import.
//
//	go -C conformance test ./...
package conformance
