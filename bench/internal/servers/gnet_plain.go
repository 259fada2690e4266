//go:build !poll_opt

package servers

// hasPollOpt is true exactly when this program is built with pollOptTag.
const hasPollOpt = false
