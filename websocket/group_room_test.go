package websocket_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

// The descriptors of the runtime's poller, which package net makes, are no leak of the
// test that runs first.
func init() {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		_ = ln.Close()
	}
}

// room is a server with connections that write down what they are sent.
type room struct {
	*site
	group   websocket.Group
	members []*member
}

// member is a connection of a room, both ends of it.
type member struct {
	conn   *websocket.Conn // the server's
	client *websocket.Conn // nil if the test reads itself
	opened chan struct{}   // told by the server's OnOpen
	closed chan error      // what the server's OnClose was given
	gone   chan error      // what the client's OnClose was given
	count  atomic.Int64    // len(got)

	mu  sync.Mutex
	got []uint32
}

// numbered returns a message of so many bytes with a number.
func numbered(n uint32, size int) []byte {
	return append(binary.BigEndian.AppendUint32(make([]byte, 0, size), n), prose(size-4)...)
}

func number(p []byte) uint32 { return binary.BigEndian.Uint32(p) }

// prepared is a numbered message for many.
func prepared(n uint32, size int) *websocket.Prepared {
	return websocket.Prepare(websocket.Binary, numbered(n, size))
}

// take writes a message down.
func (m *member) take(n uint32) {
	m.mu.Lock()
	m.got = append(m.got, n)
	m.mu.Unlock()
	m.count.Add(1)
}

// list returns what was written down.
func (m *member) list() []uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

// newRoom starts a server on which n connections are opened, of which the first so
// many are left to the test to open, with open.
func newRoom(t *testing.T, w *world, s *websocket.Server, n, later int) *room {
	t.Helper()
	eng, _ := (&world{driver: w.driver}).engine(t)
	r := &room{members: make([]*member, n)}
	for i := range r.members {
		r.members[i] = &member{opened: make(chan struct{}, 1), closed: make(chan error, 1), gone: make(chan error, 1)}
	}
	s.Accept = func(q *websocket.Request) (any, error) {
		i, err := strconv.Atoi(strings.TrimPrefix(q.Query(), "n="))
		return r.members[i], err
	}
	s.Handler = websocket.Funcs{
		Open: func(c *websocket.Conn) {
			m := c.Context().(*member)
			m.conn = c
			m.opened <- struct{}{}
		},
		Close: func(c *websocket.Conn, err error) { c.Context().(*member).closed <- err },
	}
	r.site = w.serve(t, s)
	t.Cleanup(func() {
		for _, m := range r.members {
			if m.client != nil {
				_ = m.client.Abort()
			}
		}
	})
	d := r.dialer(eng)
	var wg sync.WaitGroup
	next := atomic.Int64{}
	next.Store(int64(later))
	for range 8 {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				c, err := d.Dial(context.Background(), fmt.Sprintf("ws://%s/?n=%d", r.addr, i), r.members[i])
				if err != nil {
					t.Error(err)
					return
				}
				r.members[i].client = c
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, m := range r.members[later:] {
		receive(t, "OnOpen", m.opened)
	}
	return r
}

// dialer opens the connections of members.
func (r *room) dialer(eng *sluice.Engine) *websocket.Dialer {
	return &websocket.Dialer{
		Engine: eng, Compression: r.Compression, KeepAlive: -1,
		Handler: websocket.Funcs{
			Message: func(c *websocket.Conn, _ websocket.Opcode, p []byte) { c.Context().(*member).take(number(p)) },
			Close:   func(c *websocket.Conn, err error) { c.Context().(*member).gone <- err },
		},
	}
}

// open opens the connection of a member that was left to the test.
func (r *room) open(i int, fields ...string) (*member, *client) {
	r.t.Helper()
	c := r.dial()
	c.send(strings.Replace(hello(fields...), "a=1", fmt.Sprintf("n=%d", i), 1))
	c.switched()
	receive(r.t, "OnOpen", r.members[i].opened)
	return r.members[i], c
}

// join adds members to the room's group.
func (r *room) join(members ...*member) {
	for _, m := range members {
		r.group.Add(m.conn)
	}
	eventually(r.t, "the members to be in the group", func() bool { return r.group.Len() >= len(members) })
}

// expect waits until a member has got messages and checks them.
func (m *member) expect(t testing.TB, who int, want []uint32) {
	t.Helper()
	eventually(t, fmt.Sprintf("member %d to get %d messages", who, len(want)), func() bool { return m.count.Load() >= int64(len(want)) })
	if got := m.list(); !slices.Equal(got, want) {
		t.Fatalf("member %d got %d messages, want %d; they differ from the %dth on: %.200v, want %.200v", who, len(got), len(want),
			differ(got, want), got[differ(got, want):], want[differ(got, want):])
	}
}

// differ returns where two lists begin to differ.
func differ(a, b []uint32) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// numbers returns those from a to before b.
func numbers(a, b uint32) (all []uint32) {
	for ; a < b; a++ {
		all = append(all, a)
	}
	return all
}
