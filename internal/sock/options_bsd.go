//go:build dragonfly || netbsd

package sock

import "golang.org/x/sys/unix"

// reusePort lets listeners share an address. DragonFly spreads connections
// over them; on NetBSD one listener gets them all.
const reusePort = unix.SO_REUSEPORT

// keepIdle is the option for the seconds before the first keep-alive probe.
const keepIdle = unix.TCP_KEEPIDLE
