//go:build dragonfly || netbsd || openbsd

package sock

import (
	"errors"
	"os"
)

// TrySendFile returns errors.ErrUnsupported: NetBSD and OpenBSD have no
// sendfile, and DragonFly's has not been tried.
func (Sockets) TrySendFile(int, *os.File, int64, int) (int, error) {
	return 0, errors.ErrUnsupported
}
