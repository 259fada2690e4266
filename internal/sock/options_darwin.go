package sock

import "golang.org/x/sys/unix"

// reusePort lets listeners share an address; one of them gets all
// connections.
const reusePort = unix.SO_REUSEPORT

// keepIdle is the option for the seconds before the first keep-alive probe,
// under macOS's name for it.
const keepIdle = unix.TCP_KEEPALIVE
