package websocket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

// occupy keeps a connection's loop busy until free is called, once or more often.
func occupy(t *testing.T, c *websocket.Conn) (free func()) {
	t.Helper()
	busy, end := make(chan struct{}), make(chan struct{})
	if err := c.Transport().EventLoop().Execute(func() {
		close(busy)
		<-end
	}); err != nil {
		t.Fatal(err)
	}
	receive(t, "the loop to be busy", busy)
	free = sync.OnceFunc(func() { close(end) })
	t.Cleanup(free)
	return free
}

// panics reports whether fn does.
func panics(fn func()) (did bool) {
	defer func() { did = recover() != nil }()
	fn()
	return false
}

func TestWhatAHandlerAppendsDoesNotComeIntoTheNextMessage(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const more = " and more" // not more than what follows it
		st := w.serve(t, &websocket.Server{Handler: websocket.Funcs{
			Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
				_ = c.WriteMessage(op, append(data, more...))
			},
			Ping: func(c *websocket.Conn, payload []byte) {
				_ = c.WriteMessage(websocket.Binary, append(payload, more...))
			},
		}})
		c := st.open()
		c.send(frame(text, "one"), frame(ping, "two"), frame(text, "three"), frame(bin, ""), frame(text&^fin, "fo"), frame(cont|fin, "ur"), frame(text, "five"))
		c.expect(text, "one"+more)
		c.expect(pong, "two")
		c.expect(bin, "two"+more)
		c.expect(text, "three"+more)
		c.expect(bin, more)
		c.expect(text, "four"+more)
		c.expect(text, "five"+more)
		c.bye()
	})
}

func TestTwoSidesThatSendMuchAtOnceDoNotWaitForEachOther(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const messages, size = 12, 1 << 20
		var server, client member
		side := func(m *member) websocket.Funcs {
			m.closed = make(chan error, 1)
			return websocket.Funcs{
				Open: func(c *websocket.Conn) {
					for i := range uint32(messages) {
						if err := c.WriteMessage(websocket.Binary, numbered(i, size)); err != nil {
							t.Errorf("WriteMessage: %v", err)
						}
					}
				},
				Message: func(_ *websocket.Conn, _ websocket.Opcode, p []byte) {
					if n := number(p); !bytes.Equal(p, numbered(n, size)) {
						t.Errorf("message %d is not what was sent", n)
					}
					m.take(number(p))
				},
				Close: func(_ *websocket.Conn, err error) { m.closed <- err },
			}
		}
		st := w.serve(t, &websocket.Server{Handler: side(&server), KeepAlive: -1})
		d := &websocket.Dialer{Engine: st.eng, Handler: side(&client), KeepAlive: -1}
		conn, err := d.Dial(bounded(t), st.url("/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Abort() }) // or a failure leaves it
		server.expect(t, 0, numbers(0, messages))
		client.expect(t, 1, numbers(0, messages))
		if err := conn.Close(1000, ""); err != nil {
			t.Error(err)
		}
		if err := receive(t, "OnClose", client.closed); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
		receive(t, "the server's OnClose", server.closed)
	})
}

func TestBroadcastIsRefusedToAllWhileTooMuchWaitsForOneLoop(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.Accept = sluice.AcceptMain          // which gives the loops connections in turn
		for _, size := range []int{122, 65_468} { // and a header, and 64 for each
			r := newRoom(t, w, &websocket.Server{Backlog: websocket.Backlog{Bytes: 64 << 20}, KeepAlive: -1}, 4, 0)
			r.join(r.members...)
			first := r.members[0].conn.Transport().EventLoop()
			other := slices.IndexFunc(r.members, func(m *member) bool { return m.conn.Transport().EventLoop() != first })
			if other < 0 {
				t.Fatal("all members are on one loop")
			}
			free := occupy(t, r.members[0].conn)
			cost := len(frame(bin, prose(size))) - 4 + 64 // a server masks nothing
			most := uint32((4<<20 + cost - 1) / cost)
			for n := range most {
				if err := r.group.Broadcast(prepared(n, size)); err != nil {
					t.Fatalf("message %d of %d bytes: %v, want %d to be taken", n, size, err, most)
				}
			}
			for range 3 {
				if err := r.group.Broadcast(prepared(1e6, size)); !errors.Is(err, websocket.ErrBacklog) || !errors.Is(err, sluice.ErrWriteLimit) {
					t.Errorf("behind %d messages of %d bytes: %v, want ErrBacklog", most, size, err)
				}
			}
			r.members[other].expect(t, other, numbers(0, most)) // its loop is free
			if n := r.members[0].count.Load(); n != 0 {
				t.Errorf("a member of the busy loop has %d messages", n)
			}
			free()
			for i, m := range r.members {
				m.expect(t, i, numbers(0, most))
			}
			eventually(t, "Broadcast to work again", func() bool { // a round ends behind its last message
				return r.group.Broadcast(prepared(most, size)) == nil
			})
			for i, m := range r.members {
				m.expect(t, i, numbers(0, most+1))
			}
		}
	})
}

func TestAPreparedThatIsNoneCostsNobodyButTheCaller(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		r := newRoom(t, w, &websocket.Server{}, 3, 0)
		r.join(r.members...)
		for name, send := range map[string]func(p *websocket.Prepared){
			"Group.Broadcast":    func(p *websocket.Prepared) { _ = r.group.Broadcast(p) },
			"Server.Broadcast":   func(p *websocket.Prepared) { _ = r.Broadcast(p) },
			"Conn.WritePrepared": func(p *websocket.Prepared) { _ = r.members[0].conn.WritePrepared(p) },
			"a client's":         func(p *websocket.Prepared) { _ = r.members[0].client.WritePrepared(p) },
		} {
			for _, p := range []*websocket.Prepared{nil, new(websocket.Prepared)} {
				if !panics(func() { send(p) }) {
					t.Errorf("%s does not panic if it is given %+v", name, p)
				}
			}
		}
		if err := r.group.Broadcast(prepared(0, 100)); err != nil {
			t.Error(err)
		}
		if err := r.Broadcast(prepared(1, 100)); err != nil {
			t.Error(err)
		}
		for i, m := range r.members {
			eventually(t, fmt.Sprintf("member %d to get both", i), func() bool { return m.count.Load() == 2 })
		}
	})
}

func TestTheCloseFrameIsNotLostBehindMessagesThatWaitWhenThePeerClosesToo(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		rec.msg = func(c *websocket.Conn, _ websocket.Opcode, _ []byte) {
			for n := range uint32(6) {
				if err := c.WritePrepared(prepared(n, 40<<10)); err != nil {
					t.Errorf("WritePrepared: %v", err)
				}
			}
			if frames, _, _ := c.Waiting(); frames == 0 {
				t.Error("nothing waits")
			}
			if err := c.Close(4001, "mine"); err != nil {
				t.Errorf("Close: %v", err)
			}
		}
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		c.send(frame(text, "x"), closeFrame(1000, "yours"))
		for n := uint32(0); ; n++ {
			first, p, err := c.next()
			if err != nil {
				t.Fatalf("behind %d messages comes no Close frame: %v", n, err)
			}
			if first == closing {
				if p != closePayload(4001, "mine") {
					t.Errorf("the Close frame has %q", p)
				}
				break
			}
			if p != string(numbered(n, 40<<10)) {
				t.Fatalf("message %d is %#x of %d bytes", n, first, len(p))
			}
		}
		c.over()
		if err := rec.end(); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestASlowPeerThatGoesOnReadingGetsAllThatWasWrittenBeforeClose(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const messages, size = 200, 100 << 10
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{
			Handler: rec, KeepAlive: -1, CloseTimeout: 120 * time.Millisecond, Backlog: websocket.Backlog{Bytes: 64 << 20},
		})
		c := st.narrow()
		conn := rec.conn()
		for n := range uint32(messages) {
			if err := conn.WritePrepared(prepared(n, size)); err != nil {
				t.Fatal(err)
			}
		}
		if err := conn.Close(4001, "all"); err != nil {
			t.Fatal(err)
		}
		for n := range uint32(messages) {
			if frames, _, _ := conn.Waiting(); frames > 0 {
				time.Sleep(time.Millisecond) // so that the whole takes longer than CloseTimeout
			}
			first, p, err := c.next()
			if err != nil || first != bin || p != string(numbered(n, size)) {
				t.Fatalf("message %d is %#x of %d bytes (%v)", n, first, len(p), err)
			}
		}
		c.expect(closing, closePayload(4001, "all"))
		c.send(closeFrame(4001, ""))
		c.over()
		if err := rec.end(); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestASlowPeerIsGivenUpAfterCloseIfItDoesNotGoOn(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.LingerTimeout = 50 * time.Millisecond
		s := &websocket.Server{CloseTimeout: 30 * time.Millisecond, KeepAlive: -1}
		r := newRoom(t, w, s, 2, 2)
		end := func(m *member) {
			for n := range uint32(6) {
				if err := m.conn.WritePrepared(prepared(n, 40<<10)); err != nil {
					t.Error(err)
				}
			}
			if err := m.conn.Close(1000, ""); err != nil {
				t.Error(err)
			}
		}
		// One that takes nothing.
		m, c := r.open(0)
		_ = c.Conn.(*net.TCPConn).SetReadBuffer(128 << 10)
		r.stuff(m, func(n uint32) *websocket.Prepared { return prepared(n, 16<<10) })
		end(m)
		if err := receive(t, "OnClose", m.closed); !errors.Is(err, websocket.ErrCloseTimeout) {
			t.Errorf("it takes nothing: OnClose(%v), want ErrCloseTimeout", err)
		}
		_ = c.Close()
		// One that has read everything.
		m, c = r.open(1)
		end(m)
		first := byte(bin)
		for first == bin {
			var err error
			if first, _, err = c.next(); err != nil {
				t.Fatal(err)
			}
		}
		if first != closing {
			t.Errorf("the last frame is %#x", first)
		}
		if err := receive(t, "OnClose", m.closed); !errors.Is(err, websocket.ErrCloseTimeout) {
			t.Errorf("it does not answer: OnClose(%v), want ErrCloseTimeout", err)
		}
		_ = c.Close()
	})
}

func TestShortMessagesThatWaitAreCountedWithWhatTheyCost(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const limit, cost = 6400, 2 + 1 + 64
		r, slow, c, next := slowRoom(t, w, websocket.Backlog{Bytes: limit, Policy: websocket.DropOldest}, 1)
		for n := range 1000 {
			if err := slow.conn.WritePrepared(websocket.Prepare(websocket.Binary, []byte{byte(n)})); err != nil {
				t.Fatal(err)
			}
			if frames, bytes, _ := slow.conn.Waiting(); frames > limit/64 || bytes != frames*cost {
				t.Fatalf("%d messages of %d bytes wait; %d may", frames, bytes, limit/64)
			}
		}
		kept, _, _ := slow.conn.Waiting()
		if dropped := r.Stats().DroppedOldest; kept != limit/cost || kept+int(dropped) != 1000 {
			t.Errorf("%d messages wait and %d were dropped; want %d to wait", kept, dropped, limit/cost)
		}
		c.rest(func(n uint32) bool { return n == next-1 })
		for n := 1000 - kept; n < 1000; n++ {
			c.expect(bin, string([]byte{byte(n)}))
		}
		slow.normal(t)
	})
}

func TestCloseWakesThoseWhoWaitForRoom(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := &websocket.Server{KeepAlive: -1, CloseTimeout: 2 * bound} // which is not what wakes them
		r := newRoom(t, w, s, 2, 2)
		for i, held := range []uint32{0, 5} {
			m, c := r.open(i)
			_ = c.Conn.(*net.TCPConn).SetReadBuffer(128 << 10)
			b := m.conn.Blocking()
			next := r.stuff(m, func(n uint32) *websocket.Prepared { return prepared(n, 16<<10) })
			for n := range held {
				if err := m.conn.WritePrepared(prepared(next+n, 1000)); err != nil {
					t.Error(err)
				}
			}
			results := make(chan error, 4)
			waiters := 0
			wait := func(fn func() error) {
				waiters++
				go func() { results <- fn() }()
			}
			for range 2 {
				wait(func() error { return b.Write(context.Background(), websocket.Text, []byte("x")) })
			}
			if held > 0 {
				wait(func() error {
					_, err := b.Writer(websocket.Text)
					return err
				})
			} else {
				wait(func() error {
					wr, err := b.Writer(websocket.Binary)
					if err != nil {
						return err
					}
					_, err = wr.Write(make([]byte, 8<<20))
					return err
				})
			}
			time.Sleep(10 * time.Millisecond)
			if len(results) > 0 {
				t.Errorf("one did not wait: %v", <-results)
			}
			if err := m.conn.Close(1000, ""); err != nil {
				t.Error(err)
			}
			for range waiters {
				if err := receive(t, "one that waits for room", results); !errors.Is(err, websocket.ErrClosed) {
					t.Errorf("it returns %v, want ErrClosed", err)
				}
			}
			c.reset()
			receive(t, "OnClose", m.closed)
		}
	})
}

func TestOnDrainIsCalledWhenNothingWaitsAnyMore(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const messages, size = 100, 50 << 10
		opened, drained := make(chan *websocket.Conn, 1), make(chan int, 1<<10)
		st := w.serve(t, &websocket.Server{Backlog: websocket.Backlog{Bytes: 64 << 20}, Handler: websocket.Funcs{
			Open: func(c *websocket.Conn) { opened <- c },
			Drain: func(c *websocket.Conn) {
				frames, _, _ := c.Waiting()
				drained <- frames
			},
		}})
		c := st.narrow()
		conn := receive(t, "OnOpen", opened)
		if err := conn.Transport().Execute(func(sluice.Conn) { // so that nothing leaves meanwhile
			for n := range uint32(messages) {
				if err := conn.WritePrepared(prepared(n, size)); err != nil {
					t.Errorf("WritePrepared: %v", err)
				}
			}
			if frames, _, _ := conn.Waiting(); frames < messages/2 {
				t.Errorf("%d messages wait", frames)
			}
		}); err != nil {
			t.Fatal(err)
		}
		if got := c.rest(func(n uint32) bool { return n == messages-1 }); !slices.Equal(got, numbers(0, messages)) {
			t.Errorf("the client got %v", got)
		}
		if frames := receive(t, "OnDrain", drained); frames != 0 {
			t.Errorf("OnDrain while %d messages wait", frames)
		}
		c.bye()
		for len(drained) > 0 {
			if frames := <-drained; frames != 0 {
				t.Errorf("OnDrain while %d messages wait", frames)
			}
		}
	})
}

func TestAPeerWhosePongWaitsBehindJobsIsKept(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const jobs, keepAlive = 80, 60 * time.Millisecond // more than 64
		release := make(chan struct{})
		free := sync.OnceFunc(func() { close(release) })
		var begun atomic.Int64
		rec := newRecorder(t)
		rec.msg = func(c *websocket.Conn, op websocket.Opcode, data []byte) {
			if op == websocket.Text {
				_ = c.WriteMessage(op, data)
				return
			}
			begun.Add(1)
			_ = c.Offload(func(*websocket.Conn) { <-release })
		}
		st := w.serve(t, &websocket.Server{Handler: rec, KeepAlive: keepAlive})
		t.Cleanup(free)
		c := st.open()
		c.send(strings.Repeat(frame(bin, ""), jobs))
		_ = rec.conn()
		eventually(t, "the jobs", func() bool { return begun.Load() == jobs })
		over, echoed := make(chan struct{}), make(chan struct{})
		go func() { // what a live peer does
			defer close(over)
			for {
				first, p, err := c.next()
				switch {
				case err != nil:
					return
				case first == ping:
					_, _ = io.WriteString(c, frame(pong, p))
				case first == text:
					close(echoed)
				}
			}
		}()
		time.Sleep(4 * keepAlive)
		select {
		case err := <-rec.closed:
			t.Fatalf("OnClose(%v)", err)
		default:
		}
		free()
		c.send(frame(text, "still here"))
		receive(t, "the echo", echoed)
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		if err := rec.end(); !errors.Is(err, websocket.ErrNoClose) {
			t.Errorf("OnClose(%v)", err)
		}
		<-over
	})
}
