package websocket_test

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/websocket"
)

func TestPreparedIsLinkedIntoEveryConnection(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const members, messages, size = 1000, 8, 16 << 10
		r := newRoom(t, w, &websocket.Server{KeepAlive: -1}, members, members)
		var received atomic.Int64
		for i := range r.members {
			_, c := r.open(i)
			c.r.Reset(nil) // what follows is only counted
			go func() {
				p := make([]byte, size)
				for {
					n, err := c.Conn.Read(p)
					received.Add(int64(n))
					if err != nil {
						return
					}
				}
			}()
		}
		r.join(r.members...)
		p := prepared(1, size)
		var before, after runtime.MemStats
		for round := range int64(messages) {
			if round == 2 { // it has warmed up
				runtime.ReadMemStats(&before)
			}
			r.group.Broadcast(p)
			eventually(t, "everybody to get the message", func() bool { return received.Load() == (round+1)*members*(size+4) })
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / (messages - 2) / members; n > 512 {
			t.Errorf("a message of %d bytes costs %d bytes of memory for each connection", size, n)
		}
	})
}

func TestPreparedIsCompressedOnceForEachWindow(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const each, size = 5, 3000
		s := &websocket.Server{Compression: &websocket.Compression{}}
		r := newRoom(t, w, s, 4*each, 4*each)
		p, message := prepared(1, size), string(numbered(1, size))
		var clients []*client
		for i := range r.members {
			switch i % 4 {
			case 0:
				_, c := r.open(i)
				clients = append(clients, c)
			case 1:
				_, c := r.open(i, "Sec-WebSocket-Extensions: permessage-deflate")
				clients = append(clients, c)
			default:
				_, c := r.open(i, fmt.Sprintf("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=%d", 7+i%4))
				clients = append(clients, c)
			}
		}
		r.join(r.members...)
		r.group.Broadcast(p)
		var frames map[int][]byte
		for again := range 2 {
			for i, c := range clients {
				first, got, err := c.next()
				if i%4 == 0 {
					if err != nil || first != bin || got != message {
						t.Fatalf("client %d got %#x, %d bytes, %v", i, first, len(got), err)
					}
					continue
				}
				d := decoder{}
				if plain := d.inflate(t, got); err != nil || first != bin|rsv1 || plain != message || len(got) > size/4 {
					t.Fatalf("client %d got %#x, %d bytes, of which come %d, %v", i, first, len(got), len(plain), err)
				}
			}
			now := p.Compressed()
			if len(now) != 3 || now[15] == nil || now[9] == nil || now[10] == nil {
				t.Errorf("it was compressed for %d windows, want 3", len(now))
			}
			if again == 0 {
				frames = now
				r.group.Broadcast(p)
			}
			for bits, f := range now {
				if &f[0] != &frames[bits][0] {
					t.Errorf("it was compressed again for %d bits", bits)
				}
			}
		}
	})
}

// decoder inflates messages with the standard library.
type decoder struct {
	window int // 0 means that none refers to those before
	seen   []byte
}

func (d *decoder) inflate(t testing.TB, payload string) string {
	t.Helper()
	r := flate.NewReaderDict(strings.NewReader(payload+"\x00\x00\xff\xff\x01\x00\x00\xff\xff"), d.seen)
	p, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("a message of %d bytes cannot be inflated: %v", len(payload), err)
	}
	if d.window > 0 {
		d.seen = append(d.seen, p...)
		d.seen = bytes.Clone(d.seen[max(0, len(d.seen)-d.window):])
	}
	return string(p)
}

// message reads a message, inflated if it was compressed.
func (c *client) message(d *decoder) (p []byte, compressed bool) {
	c.t.Helper()
	first, got, err := c.next()
	switch {
	case err != nil || first&^rsv1 != bin:
		c.t.Fatalf("a message is %#x, %d bytes, %v", first, len(got), err)
	case first&rsv1 != 0:
		return []byte(d.inflate(c.t, got)), true
	}
	return []byte(got), false
}

// eachContext runs a test with context takeover in windows of several sizes.
func eachContext(t *testing.T, test func(t *testing.T, w *world, s *websocket.Server, offer string, d *decoder)) {
	eachDriver(t, func(t *testing.T, w *world) {
		for _, bits := range []int{15, 9} {
			t.Run(fmt.Sprint(bits), func(t *testing.T) {
				s := &websocket.Server{Compression: &websocket.Compression{Params: params(true, 0), Threshold: 50}, KeepAlive: -1}
				offer := "Sec-WebSocket-Extensions: permessage-deflate"
				if bits < 15 {
					offer += fmt.Sprintf("; server_max_window_bits=%d", bits)
				}
				test(t, w, s, offer, &decoder{window: 1 << bits})
			})
		}
	})
}

// similar returns a message that has much in common with others.
func similar(rnd *rand.Rand, n uint32) []byte {
	p := numbered(n, 4+rnd.IntN(100))
	for range rnd.IntN(20) {
		p = fmt.Appendf(p, `{"price": %d, "name": %q}`, rnd.IntN(1000), strings.Repeat("x", rnd.IntN(30)))
	}
	return p
}

func TestPreparedMixesWithMessagesThatReferToThoseBefore(t *testing.T) {
	eachContext(t, func(t *testing.T, w *world, s *websocket.Server, offer string, d *decoder) {
		const messages = 500
		r := newRoom(t, w, s, 1, 1)
		m, c := r.open(0, offer)
		rnd := rand.New(rand.NewPCG(3, 4))
		var want [][]byte
		var ready []*websocket.Prepared // and sent again
		var text [][]byte
		for n := range uint32(messages) {
			p := similar(rnd, n)
			var err error
			switch again := rnd.IntN(3); {
			case again == 0:
				err = m.conn.WriteMessage(websocket.Binary, p)
			case again == 1 || len(ready) == 0:
				ready, text = append(ready, websocket.Prepare(websocket.Binary, p)), append(text, p)
				err = m.conn.WritePrepared(ready[len(ready)-1])
			default:
				i := rnd.IntN(len(ready))
				p = text[i]
				err = m.conn.WritePrepared(ready[i])
			}
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, p)
		}
		small, big := 0, 0
		for i, p := range want {
			got, compressed := c.message(d)
			if !bytes.Equal(got, p) {
				t.Fatalf("message %d is %d bytes, want %d", i, len(got), len(p))
			}
			if compressed && len(p) < 50 {
				t.Errorf("message %d of %d bytes came compressed: %v", i, len(p), compressed)
			}
			if compressed {
				small++
			} else {
				big++
			}
		}
		if small < messages/2 || big == 0 {
			t.Errorf("%d messages came compressed, %d as they were", small, big)
		}
	})
}

// When the peer is slow, messages are dropped: none that comes after may refer to them.
func TestMessagesReferToNoneThatWasDropped(t *testing.T) {
	eachContext(t, func(t *testing.T, w *world, s *websocket.Server, offer string, d *decoder) {
		const last = 1 << 30
		s.Backlog = websocket.Backlog{Bytes: 20_000, Policy: websocket.DropOldest}
		r := newRoom(t, w, s, 1, 1)
		m, c := r.open(0, offer)
		rnd := rand.New(rand.NewPCG(5, 6))
		sent, written := map[uint32]string{}, map[uint32]bool{}
		for n := range uint32(40) { // so that there is something to refer to
			p := similar(rnd, n)
			sent[n], written[n] = string(p), true
			if err := m.conn.WriteMessage(websocket.Binary, p); err != nil {
				t.Fatal(err)
			}
		}
		noise := pattern(1 << 20)
		n := 40 + r.stuff(m, func(n uint32) *websocket.Prepared {
			from := int(n*7919) % (1<<20 - 30_000)
			p := append(numbered(40+n, 8), noise[from:from+30_000]...)
			sent[40+n] = string(p)
			return websocket.Prepare(websocket.Binary, p)
		})
		refused := 0
		mixed := func(count int) {
			for range count {
				p := similar(rnd, n)
				sent[n] = string(p)
				if rnd.IntN(8) > 0 {
					if err := m.conn.WritePrepared(websocket.Prepare(websocket.Binary, p)); err != nil {
						t.Error(err)
					}
				} else if err := m.conn.WriteMessage(websocket.Binary, p); err == nil {
					written[n] = true
				} else if errors.Is(err, websocket.ErrBacklog) {
					refused++
				} else {
					t.Error(err)
				}
				n++
			}
		}
		mixed(600)
		done := make(chan struct{})
		go func() { // while it reads again
			defer close(done)
			for range 30 {
				mixed(20)
				time.Sleep(time.Millisecond)
			}
			for errors.Is(m.conn.WriteMessage(websocket.Binary, numbered(last, 100)), websocket.ErrBacklog) {
				time.Sleep(time.Millisecond)
			}
		}()
		got := map[uint32]string{}
		for before := uint32(0); ; {
			p, _ := c.message(d)
			at := number(p)
			if at == last {
				break
			}
			if at < before {
				t.Fatalf("message %d came behind %d", at, before)
			}
			before, got[at] = at, string(p)
		}
		<-done
		for n, p := range got {
			if sent[n] != p {
				t.Errorf("message %d is not what was sent", n)
			}
		}
		for n := range written {
			if _, ok := got[n]; !ok {
				t.Errorf("message %d, which was written, did not come", n)
			}
		}
		dropped := r.Stats().DroppedOldest
		if dropped == 0 || len(got)+refused+int(dropped) != len(sent) {
			t.Errorf("of %d messages %d came, %d were refused and %d dropped", len(sent), len(got), refused, dropped)
		}
		m.normal(t)
	})
}

func TestClientsSendPreparedMessagesLikeOthers(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		for _, compression := range []*websocket.Compression{nil, {Params: params(true, 0), Threshold: 10}} {
			rec := newRecorder(t)
			arrived := make(chan string, 100)
			rec.msg = func(_ *websocket.Conn, _ websocket.Opcode, p []byte) { arrived <- string(p) }
			st := w.serve(t, &websocket.Server{Handler: rec, Compression: compression})
			d := &websocket.Dialer{Engine: st.eng, Handler: websocket.Funcs{}, Compression: compression}
			var g websocket.Group
			for range 3 {
				c, err := d.Dial(t.Context(), st.url("/"), nil)
				if err != nil {
					t.Fatal(err)
				}
				g.Add(c)
				defer c.Abort()
			}
			p := websocket.Prepare(websocket.Binary, []byte(prose(5000)))
			for range 4 {
				g.Broadcast(p)
			}
			for range 3 * 4 { // the server refuses what is not masked
				if m := receive(t, "a message", arrived); m != prose(5000) {
					t.Errorf("a message is %d bytes, want 5000", len(m))
				}
			}
			if n := d.Stats().MessagesOut; n != 12 {
				t.Errorf("Dialer.Stats.MessagesOut is %d, want 12", n)
			}
		}
	})
}
