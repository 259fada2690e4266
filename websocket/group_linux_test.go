package websocket_test

import (
	"net"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/websocket"
)

// segments returns how many segments with bytes a connection has received.
func segments(t *testing.T, c net.Conn) (n uint32) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			t.Fatal(err)
		}
		n = info.Data_segs_in
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestMessagesBroadcastMeanwhileLeaveTogether(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members, messages = 4, 500
		w.cfg.Loops = 1
		r := newRoom(t, w, &websocket.Server{}, members, members)
		var clients []*client
		for i := range r.members {
			_, c := r.open(i)
			clients = append(clients, c)
		}
		r.join(r.members...)
		before := make([]uint32, members)
		for i, c := range clients {
			before[i] = segments(t, c.Conn)
		}
		busy := make(chan struct{})
		_ = r.members[0].conn.Transport().EventLoop().Execute(func() { <-busy })
		for i := range uint32(messages) {
			r.group.Broadcast(prepared(i, 40))
		}
		close(busy)
		for i, c := range clients {
			for n := range uint32(messages) {
				c.expect(bin, string(numbered(n, 40)))
			}
			if got := segments(t, c.Conn) - before[i]; got > 10 {
				t.Errorf("%d messages came in %d segments", messages, got)
			}
		}
	})
}
