package servers

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// setNoDelay sets TCP_NODELAY on every listener of this process, from which it
// passes on to connections. It is for libraries that neither set it nor let
// their users do so.
func setNoDelay() {
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && v == 1 {
			unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) // TestConnectionsDoNotDelay sees to it
		}
	}
}
