package reactor

import "github.com/sluice-go/sluice/internal/driver"

// systems are what there is to test on Linux: epoll, and the logic of kqueue
// over a double of the kernel's part.
var systems = map[string]func() driver.System{
	"epoll":  Epoll,
	"kqueue": kqueueDouble,
}
