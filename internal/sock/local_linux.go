package sock

import "golang.org/x/sys/unix"

// Local tells whether fd is a socket that is not TCP.
func Local(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err != nil || domain != unix.AF_INET && domain != unix.AF_INET6
}
