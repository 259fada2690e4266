// Package tlspeers tests Sluice's TLS against implementations that are not Go's. It
// has tests only.
package tlspeers
