// Package buffer holds bytes between a socket and the code that uses them,
// without copying them on the way.
package buffer
