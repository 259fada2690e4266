package sock

import "golang.org/x/sys/unix"

// reusePort lets listeners share an address and spreads connections over
// them.
const reusePort = unix.SO_REUSEPORT

// keepIdle is the option for the seconds before the first keep-alive probe.
const keepIdle = unix.TCP_KEEPIDLE
