package sock

import "golang.org/x/sys/unix"

// reusePort lets listeners share an address; one of them gets all
// connections.
const reusePort = unix.SO_REUSEPORT

// OpenBSD has one keep-alive time for the whole system (sysctl
// net.inet.tcp.keepidle); a socket can only switch keep-alive on or off.

func setKeepIdle(fd, seconds int) error { return nil }

func getKeepIdle(fd int) int { return 0 }
