package websocket_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

var (
	broadcastSeed  = flag.Uint64("broadcast.seed", 0, "run TestBroadcastTorture with this seed alone")
	broadcastSeeds = flag.Int("broadcast.seeds", 3, "run TestBroadcastTorture with so many seeds")
)

// TestBroadcastTorture has connections of all sorts come and go, read fast, slowly or
// not at all, and end in all ways, in the midst of broadcasts from many goroutines.
// What arrives must be what was sent, in order and once, and in the end all must add
// up and nothing be left.
func TestBroadcastTorture(t *testing.T) {
	first, n := uint64(1), *broadcastSeeds
	if *broadcastSeed != 0 {
		first, n = *broadcastSeed, 1
	}
	eachDriver(t, func(t *testing.T, w *world) {
		for seed := first; seed < first+uint64(n); seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) { newArena(t, &world{driver: w.driver, way: w.way}, seed).run() })
		}
	})
}

// arena is what one seed is carried out in.
type arena struct {
	*site
	t      *testing.T
	seed   uint64
	groups [3]websocket.Group

	mu    sync.Mutex
	conns []*websocket.Conn // some have ended

	opened, closed, heard, got atomic.Int64
	wg                         sync.WaitGroup
}

// random is a goroutine's own.
func (a *arena) random(who int) *rand.Rand { return rand.New(rand.NewPCG(a.seed, uint64(who))) }

func newArena(t *testing.T, w *world, seed uint64) *arena {
	a := &arena{t: t, seed: seed}
	rnd := a.random(0)
	w.cfg.LingerTimeout = 50 * time.Millisecond
	s := &websocket.Server{
		Handler: a, CloseTimeout: 50 * time.Millisecond,
		Backlog: websocket.Backlog{Policy: websocket.Policy(rnd.IntN(3)), Bytes: 2000 + rnd.IntN(50_000)},
	}
	if rnd.IntN(2) == 0 {
		s.Backlog.Age = time.Duration(1+rnd.IntN(10)) * time.Millisecond
	}
	if rnd.IntN(2) == 0 {
		s.Compression = &websocket.Compression{Params: params(rnd.IntN(2) == 0, 0), Threshold: 100}
	}
	a.site = w.serve(t, s)
	return a
}

func (a *arena) OnOpen(c *websocket.Conn) {
	a.opened.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.conns = append(a.conns, c)
	a.groups[0].Add(c)
}

// OnMessage does what the client says.
func (a *arena) OnMessage(c *websocket.Conn, _ websocket.Opcode, p []byte) {
	a.heard.Add(1)
	switch p[0] {
	case 'b':
		a.groups[1].Broadcast(message(9, 1, uint32(a.heard.Load()), 50))
	case 'c':
		_ = c.Close(websocket.NormalClosure, "")
	case 'a':
		_ = c.Abort()
	case 'j':
		a.groups[p[1]%3].Add(c)
	case 'l':
		a.groups[p[1]%3].Remove(c)
	}
}

func (a *arena) OnClose(*websocket.Conn, error) { a.closed.Add(1) }

// any returns one of the connections, nil if there was none yet.
func (a *arena) any(rnd *rand.Rand) *websocket.Conn {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.conns) == 0 {
		return nil
	}
	return a.conns[max(0, len(a.conns)-1-rnd.IntN(20))]
}

// content is a message of a source to a group, which shows what it must be.
func content(source, group byte, n uint32, size int) []byte {
	p := binary.BigEndian.AppendUint32([]byte{source, group}, n)
	if n%2 == 0 {
		return append(p, prose(size)...)
	}
	return append(p, pattern(size)...)
}

func message(source, group byte, n uint32, size int) *websocket.Prepared {
	return websocket.Prepare(websocket.Binary, content(source, group, n, size))
}

func (a *arena) run() {
	const sources, clients = 3, 12
	over := make(chan struct{})
	var talking sync.WaitGroup
	for i := range sources {
		a.wg.Go(func() { a.broadcasts(byte(i), over) })
	}
	a.wg.Go(func() { a.meddles(over) })
	for i := range clients {
		talking.Go(func() {
			rnd := a.random(100 + i)
			for range 3 {
				a.visits(rnd)
			}
		})
	}
	talking.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	if a.seed%2 == 0 { // while there are broadcasts
		if err := a.Shutdown(ctx); err != nil {
			a.t.Errorf("Shutdown: %v", err)
		}
	}
	close(over)
	a.wg.Wait()
	eventually(a.t, "all connections to end", func() bool { return a.Stats().Conns == 0 && a.closed.Load() == a.opened.Load() })
	s := a.Stats()
	if s.Opened != a.opened.Load() || s.MessagesIn != a.heard.Load() {
		a.t.Errorf("Stats are %+v; %d were opened, %d messages heard", s, a.opened.Load(), a.heard.Load())
	}
	if gone := s.DroppedOldest + s.DroppedReplaced + s.DroppedExpired; a.got.Load()+gone > s.MessagesOut {
		a.t.Errorf("Stats are %+v, but clients got %d messages", s, a.got.Load())
	}
	for i := range a.groups {
		if n := a.groups[i].Len(); n != 0 {
			a.t.Errorf("group %d has %d members in the end", i, n)
		}
	}
	for _, c := range a.conns {
		if frames, bytes, _ := c.Waiting(); frames != 0 || bytes != 0 {
			a.t.Errorf("%d frames of %d bytes wait for a connection that has ended", frames, bytes)
		}
		if n, _ := c.Joined(); n != 0 {
			a.t.Errorf("a connection that has ended is in %d groups", n)
		}
	}
}

// broadcasts sends messages to groups and to single connections.
func (a *arena) broadcasts(source byte, over chan struct{}) {
	rnd := a.random(1 + int(source))
	for n := uint32(0); ; n++ {
		select {
		case <-over:
			return
		default:
		}
		size := rnd.IntN(300)
		if rnd.IntN(5) == 0 {
			size = rnd.IntN(20_000)
		}
		if c := a.any(rnd); c != nil && rnd.IntN(3) == 0 {
			_ = c.WriteMessage(websocket.Binary, content(source, 7, n, size))
			continue
		}
		g := rnd.IntN(3)
		a.groups[g].Broadcast(message(source, byte(g), n, size))
		if rnd.IntN(10) == 0 {
			time.Sleep(time.Duration(rnd.IntN(500)) * time.Microsecond)
		}
	}
}

// meddles does to connections what others may do at any time.
func (a *arena) meddles(over chan struct{}) {
	rnd := a.random(50)
	for {
		select {
		case <-over:
			return
		case <-time.After(time.Duration(rnd.IntN(300)) * time.Microsecond):
		}
		c := a.any(rnd)
		if c == nil {
			continue
		}
		switch rnd.IntN(12) {
		case 0:
			_ = c.Close(websocket.Status(4000+rnd.IntN(10)), "meddled")
		case 1:
			_ = c.Abort()
		case 2:
			_ = c.Ping([]byte("p"))
		case 3:
			a.wg.Go(func() {
				if w, err := c.Writer(websocket.Binary); err == nil {
					_, _ = w.Write(content(8, 8, 1, 1000))
					_ = w.Close()
				}
			})
		case 4:
			_ = c.Transport().Execute(func(sluice.Conn) { _ = c.WritePrepared(message(10, 10, 3, 100)) })
		case 5, 6, 7:
			a.groups[rnd.IntN(3)].Remove(c)
		default:
			a.groups[rnd.IntN(3)].Add(c)
		}
	}
}

// visits opens a connection, talks and leaves in one of all ways.
func (a *arena) visits(rnd *rand.Rand) {
	var offer []string
	d := &decoder{}
	if rnd.IntN(2) == 0 {
		offer = []string{"Sec-WebSocket-Extensions: permessage-deflate"}
	}
	c := a.dial()
	defer c.Close()
	c.send(hello(offer...))
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return // it was meddled with
	}
	if e := resp.Header.Get("Sec-WebSocket-Extensions"); e != "" && !strings.Contains(e, "server_no_context_takeover") {
		d.window = 32 << 10
	}
	next := map[[2]byte]uint32{}
	for left := 20 + rnd.IntN(400); left > 0; left-- {
		switch rnd.IntN(40) {
		case 0:
			time.Sleep(time.Duration(rnd.IntN(10)) * time.Millisecond) // slow
		case 1:
			a.says(c, rnd)
		}
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // it may be in no group any more
		first, p, err := c.next()
		if err != nil || first == closing {
			return
		}
		if first&^rsv1 != bin {
			continue
		}
		if first&rsv1 != 0 {
			p = d.inflate(a.t, p)
		}
		a.checks([]byte(p), next)
	}
	switch rnd.IntN(5) {
	case 0:
		c.reset()
	case 1:
		_ = c.Close()
	case 2:
		_ = c.Conn.(*net.TCPConn).CloseWrite()
	case 3:
		time.Sleep(time.Duration(rnd.IntN(30)) * time.Millisecond) // and takes nothing
	default:
		_, _ = c.Write([]byte(closeFrame(1000, "")))
		for _, _, err := c.next(); err == nil; {
			_, _, err = c.next()
		}
	}
}

// says has the server do something in its callback.
func (a *arena) says(c *client, rnd *rand.Rand) {
	what := "bbbbbbjjjllca"
	p := []byte{what[rnd.IntN(len(what))], byte(rnd.IntN(3))}
	_, _ = c.Write([]byte(frame(bin, string(p))))
}

// checks that a message is what it must be, and behind those that it must be behind.
func (a *arena) checks(p []byte, next map[[2]byte]uint32) {
	a.got.Add(1)
	if len(p) < 6 {
		a.t.Errorf("a message is %q", p)
		return
	}
	source, group, n := p[0], p[1], binary.BigEndian.Uint32(p[2:])
	if !bytes.Equal(p, content(source, group, n, len(p)-6)) {
		a.t.Errorf("message %d of %d to %d is not what was sent", n, source, group)
	}
	if source > 7 { // those are not numbered in the order of their sending
		return
	}
	if key := [2]byte{source, group}; n < next[key] {
		a.t.Errorf("message %d of %d to %d came behind %d", n, source, group, next[key]-1)
	} else {
		next[key] = n + 1
	}
}
