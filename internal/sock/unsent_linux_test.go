package sock

import (
	"io"
	"net"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/internal/driver"
)

func TestUnsentFallsToZeroWhenThePeerHasEverything(t *testing.T) {
	for network, address := range map[string]string{
		"tcp": "127.0.0.1:0", "unix": filepath.Join(shortDir(t), "s"),
	} {
		var d Descriptors
		ln, addr := listen(t, &d, network, address, driver.ListenOptions{})
		peer, err := net.Dial(network, addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		await(t, ln, unix.POLLIN)
		c, err := NewAcceptor(ln).Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(c)

		var s Sockets
		if n := s.Unsent(c); n != 0 {
			t.Errorf("%s: %d bytes before any was sent", network, n)
		}
		var w Writer
		sent, _, err := w.Write(c, [][]byte{make([]byte, 32<<20)})
		if err != nil {
			t.Fatal(err)
		}
		if s.Unsent(c) == 0 {
			t.Errorf("%s: nothing of %d bytes that nobody reads", network, sent)
		}
		if err := unix.Shutdown(c, unix.SHUT_WR); err != nil {
			t.Fatal(err)
		}
		if n, err := io.Copy(io.Discard, peer); n != int64(sent) || err != nil {
			t.Fatalf("%s: the peer read %d bytes of %d, %v", network, n, sent, err)
		}
		// The peer's kernel may take a moment to acknowledge the last of it.
		for end := time.Now().Add(20 * time.Second); s.Unsent(c) > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %d bytes for ever", network, s.Unsent(c))
			}
		}
	}
	if n := (Sockets{}).Unsent(-1); n != 0 {
		t.Errorf("Unsent of nothing is %d", n)
	}
}
