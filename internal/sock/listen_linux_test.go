package sock

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

func TestListenersArePlainTCP(t *testing.T) {
	t.Setenv("GODEBUG", "multipathtcp=1")
	var d Descriptors
	fd, _ := listen(t, &d, "tcp", "127.0.0.1:0", driver.ListenOptions{})
	if got := option(t, fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); got != unix.IPPROTO_TCP {
		t.Errorf("the protocol is %d, want TCP", got)
	}
}

func TestAbstractUnixSocketHasNoFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("@sluice-test", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var d Descriptors
	fd, addr, err := d.Listen(t.Context(), "unix", "@sluice-test", driver.ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	acceptOne(t, fd, addr)
	if err := d.CloseListener(fd); err != nil {
		t.Error(err)
	}
	if !exists("@sluice-test") {
		t.Error("CloseListener removed a file of the same name")
	}
}

func TestKeepAliveBeginsAfterWholeSeconds(t *testing.T) {
	var d Descriptors
	fd, addr := listen(t, &d, "tcp", "127.0.0.1:0", driver.ListenOptions{KeepAlive: 41*time.Second + 1})
	c, _ := acceptOne(t, fd, addr)
	if got := option(t, c, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); got != 42 {
		t.Errorf("keep-alive begins after %d s, want 42", got)
	}
	if err := (Sockets{}).SetKeepAlive(c, 0); err != nil || option(t, c, unix.SOL_SOCKET, unix.SO_KEEPALIVE) != 0 {
		t.Errorf("keep-alive cannot be switched off: %v", err)
	}
}
