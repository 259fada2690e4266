package servers

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"github.com/sluice-go/sluice/bench/internal/child"
)

// sizes are those of messages, in bytes: what is measured, and beside the
// bounds of buffers.
var sizes = []int{1, 64, 1 << 10, 4<<10 + 1, 8 << 10, 8<<10 + 1, 64<<10 - 1, 64 << 10, 64<<10 + 1}

// message returns bytes that no other message has.
func message(size int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], rand.Uint64())
	p := make([]byte, size)
	rand.NewChaCha8(seed).Read(p)
	return p
}

// On all cores, so that there are several loops where there are several cores.
func TestEchoServersSendEveryByteBack(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		_, addr := startOn(t, s, cores(t))
		for range 8 {
			c := dialTo(t, s, addr)
			for _, size := range sizes {
				want, got := message(size), make([]byte, size)
				if _, err := c.Write(want); err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d bytes: %v, or other bytes came back", size, err)
				}
			}
		}
	}, Echo, TLS)
}

// A client that asks for more than the sockets hold before it reads gets all of
// it, and another one does not wait for it.
func TestReferencesKeepWhatTheKernelDoesNotTake(t *testing.T) {
	for _, s := range echoReferences {
		t.Run(s.Name, func(t *testing.T) {
			_, addr := start(t, s)
			slow, other := dial(t, addr), dial(t, addr)
			want := message(16 << 20)
			written := make(chan error, 1)
			go func() {
				_, err := slow.Write(want)
				written <- err
			}()
			for range 100 {
				exchange(t, other, []byte("hello"))
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(slow, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("%v, or other bytes came back", err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Clients that leave while much waits for them take nothing with them.
func TestReferencesOutliveClientsThatLeave(t *testing.T) {
	for _, s := range echoReferences {
		t.Run(s.Name, func(t *testing.T) {
			p, addr := start(t, s)
			before := descriptors(t, p.PID())
			for i := range 200 {
				c := dial(t, addr).(*net.TCPConn)
				c.SetWriteBuffer(4 << 20)
				c.Write(message(i * 16 << 10 % (2 << 20)))
				c.SetLinger(i%2 - 1) // every other one with a reset
				c.Close()
			}
			exchange(t, dial(t, addr), message(64<<10))
			c := dial(t, addr)
			for descriptors(t, p.PID()) > before+2 {
				exchange(t, c, []byte("hello")) // until its deadline
			}
		})
	}
}

func exchange(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := c.Write(want); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%v, or other bytes came back", err)
	}
}

func descriptors(t *testing.T, pid int) int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestHTTPServersGiveTheSameAnswers(t *testing.T) {
	fields := []string{"Content-Length", "Content-Type", "Date"}
	each(t, func(t *testing.T, s Server) {
		_, addr := start(t, s)
		c := dialTo(t, s, addr)
		in := bufio.NewReader(c)
		targets := []string{PlainPath, WorkPath + "?n=1000"}
		if s.NoWork {
			targets = targets[:1]
		}
		for _, target := range slices.Concat(targets, targets) {
			want, err := Body(target)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", target)
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r.Body)
			if err != nil || r.StatusCode != http.StatusOK || string(got) != want || r.ContentLength != int64(len(want)) {
				t.Errorf("%s: %s, %v, %d bytes: %.20q", target, r.Status, err, r.ContentLength, got)
			}
			if s.Foreign { // About tells which fields it has in addition
				r.Header.Del("Server")
				r.Header.Del("Connection")
			}
			if has := slices.Sorted(maps.Keys(r.Header)); !slices.Equal(has, fields) || r.Header.Get("Content-Type") != contentType {
				t.Errorf("%s: the answer has the fields %v", target, r.Header)
			}
		}
	}, HTTP, HTTPS)
}

func TestNginxIsNotMeasuredOnSeveralCores(t *testing.T) {
	command, err := nginxCommand(t.TempDir(), freeAddr(t))
	if err != nil {
		t.Skip(err)
	}
	all := cores(t)
	if len(all) == 1 {
		t.Skip("there is but one")
	}
	p, err := child.Start(context.Background(), all, command)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Kill()
	select {
	case <-p.Ended():
		if text := p.Err().Error(); !strings.Contains(text, "one core only") {
			t.Error(text)
		}
	case <-time.After(deadline):
		t.Error("it runs")
	}
}

// dialWebSocket is dialTo with the handshake made.
func dialWebSocket(t *testing.T, s Server, addr string) *websocket.Conn {
	t.Helper()
	c, _, err := websocket.NewClient(dialTo(t, s, addr), &url.URL{Scheme: "ws", Host: addr, Path: "/"}, nil, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// receive wants the next message of c.
func receive(t *testing.T, c *websocket.Conn, want []byte) {
	t.Helper()
	kind, got, err := c.ReadMessage()
	if err != nil || kind != websocket.BinaryMessage || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes: kind %d, %v, or other bytes came", len(want), kind, err)
	}
}

func TestWebSocketServersSendMessagesBack(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		_, addr := start(t, s)
		c := dialWebSocket(t, s, addr)
		for _, size := range sizes {
			want := message(size)
			if err := c.WriteMessage(websocket.BinaryMessage, want); err != nil {
				t.Fatal(err)
			}
			receive(t, c, want)
		}
	}, WebSocket, WSS)
}

// On all cores, so that the members of a room are on several loops where there
// are several cores.
func TestBroadcastServersSendMessagesToAll(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		_, addr := startOn(t, s, cores(t))
		var all []*websocket.Conn
		enter := func() {
			c := dialWebSocket(t, s, addr)
			receive(t, c, nil)
			all = append(all, c)
		}
		for range 8 {
			enter()
		}
		const underWay = 8
		for i, size := range sizes {
			var messages [underWay][]byte
			for j := range messages {
				messages[j] = message(size)
				if err := all[i%len(all)].WriteMessage(websocket.BinaryMessage, messages[j]); err != nil {
					t.Fatal(err)
				}
			}
			for _, c := range all {
				for _, want := range messages {
					receive(t, c, want)
				}
			}
			all[0].Close()
			all = all[1:]
			enter()
		}
	}, Broadcast)
}

func TestRoomsHoldWhoeverHasJoinedAndNotLeft(t *testing.T) {
	var r room[int]
	for i := range 5 {
		r.join(i)
	}
	before := r.members()
	r.leave(3)
	r.leave(7)
	r.join(9)
	if got := slices.Sorted(slices.Values(r.members())); !slices.Equal(got, []int{0, 1, 2, 4, 9}) || len(before) != 5 {
		t.Errorf("%v, before them %v", got, before)
	}
}

func TestGRPCServersSendMessagesBack(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		_, addr := start(t, s)
		c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, cancel := context.WithTimeout(context.Background(), deadline)
		defer cancel()
		for _, size := range append(sizes, 0) {
			want, got := message(size), mem.BufferSlice{}
			err := c.Invoke(ctx, "/bench.Echo/Echo", &mem.BufferSlice{mem.SliceBuffer(want)}, &got, grpc.ForceCodecV2(rawCodec{}))
			if err != nil || !bytes.Equal(got.Materialize(), want) {
				t.Fatalf("%d bytes: %v, or other bytes came back", size, err)
			}
			got.Free()
		}
	}, GRPC)
}

// TestConnectionsDoNotDelay looks at the server's own end of a connection that
// is made once the server has answered, as those of a measurement are.
func TestConnectionsDoNotDelay(t *testing.T) {
	each(t, func(t *testing.T, s Server) {
		if s.Name == sluiceDirect {
			return // its connections are no descriptors
		}
		p, addr := start(t, s)
		first := dial(t, addr)
		fmt.Fprintf(first, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", PlainPath)
		if _, err := first.Read(make([]byte, 4<<10)); err != nil {
			t.Fatal(err)
		}
		c := dial(t, addr)
		for range 2 { // nginx waits for the first answer
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", PlainPath) // which an echo server sends back
			if _, err := c.Read(make([]byte, 4<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if v := noDelay(t, p.PID(), netip.MustParseAddrPort(c.LocalAddr().String())); v != 1 {
			t.Errorf("TCP_NODELAY is %d", v)
		}
	}, Echo, HTTP)
}

// noDelay returns the value of TCP_NODELAY of another process's connection to
// an address.
func noDelay(t *testing.T, pid int, to netip.AddrPort) int {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Skip("this kernel cannot tell: ", err)
	}
	defer unix.Close(process)
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		number, _ := strconv.Atoi(e.Name())
		fd, err := unix.PidfdGetfd(process, number, 0)
		if err != nil {
			continue
		}
		defer unix.Close(fd)
		peer, err := unix.Getpeername(fd)
		if in, ok := peer.(*unix.SockaddrInet4); err == nil && ok && netip.AddrPortFrom(netip.AddrFrom4(in.Addr), uint16(in.Port)) == to {
			v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatal("the server has no such connection")
	return 0
}
