package websocket_test

import (
	"errors"
	"testing"
	"time"

	"github.com/sluice-go/sluice/websocket"
)

// counters leaves out of Stats what tests of messages count.
func counters(s websocket.Stats) websocket.Stats {
	s.MessagesIn, s.MessagesOut = 0, 0
	return s
}

func TestStatsCountEachEndByItsReason(t *testing.T) {
	for _, tt := range []struct {
		name string
		set  func(s *websocket.Server)
		end  func(t *testing.T, m *member, c *client)
		want websocket.Stats
		err  error
	}{
		{name: "the peer closes", end: func(_ *testing.T, _ *member, c *client) { c.bye() }},
		{name: "the peer leaves", end: func(_ *testing.T, _ *member, c *client) { _ = c.Close() }, err: websocket.ErrNoClose},
		{name: "Close", end: func(_ *testing.T, m *member, c *client) {
			_ = m.conn.Close(websocket.NormalClosure, "")
			c.send(closeFrame(1000, ""))
		}},
		{name: "no answer to Close", set: func(s *websocket.Server) { s.CloseTimeout = time.Millisecond }, err: websocket.ErrCloseTimeout,
			end: func(_ *testing.T, m *member, c *client) { _ = m.conn.Close(websocket.NormalClosure, "") }},
		{name: "no answer to a ping", set: func(s *websocket.Server) { s.KeepAlive = 5 * time.Millisecond }, err: websocket.ErrSilent,
			want: websocket.Stats{ClosedSilent: 1}},
		{name: "a frame that is not masked", end: func(_ *testing.T, _ *member, c *client) { c.send(plain(text, "a")) },
			want: websocket.Stats{ClosedProtocol: 1}},
		{name: "a message that is too long", set: func(s *websocket.Server) { s.MaxMessage = 10 },
			end:  func(_ *testing.T, _ *member, c *client) { c.send(frame(text, "eleven long")) },
			want: websocket.Stats{ClosedProtocol: 1}},
		{name: "wrong twice", end: func(_ *testing.T, _ *member, c *client) { c.send(plain(text, "a"), plain(text, "b")) },
			want: websocket.Stats{ClosedProtocol: 1}},
		{name: "too slow", set: func(s *websocket.Server) { s.Backlog.Bytes = 10 }, err: websocket.ErrSlow,
			end: func(t *testing.T, m *member, _ *client) {
				err := error(nil)
				for err == nil {
					err = m.conn.WritePrepared(prepared(0, 60<<10))
				}
				if !errors.Is(err, websocket.ErrSlow) {
					t.Errorf("WritePrepared: %v, want ErrSlow", err)
				}
				if err := m.conn.WritePrepared(prepared(0, 10)); !errors.Is(err, websocket.ErrClosed) {
					t.Errorf("WritePrepared again: %v, want ErrClosed", err)
				}
			},
			want: websocket.Stats{ClosedSlow: 1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachWorld(t, func(t *testing.T, w *world) {
				s := &websocket.Server{}
				if tt.set != nil {
					tt.set(s)
				}
				w.cfg.LingerTimeout = 100 * time.Millisecond
				r := newRoom(t, w, s, 1, 1)
				m, c := r.open(0)
				if s.KeepAlive == 0 {
					if got := r.Stats(); got != (websocket.Stats{Conns: 1, Opened: 1}) {
						t.Errorf("in the beginning Stats are %+v", got)
					}
				}
				if tt.end != nil {
					tt.end(t, m, c)
				}
				if tt.want.ClosedProtocol > 0 {
					go func() { // it waits until the client has ended, too
						for _, _, err := c.next(); err == nil; {
							_, _, err = c.next()
						}
						_ = c.Close()
					}()
				}
				if err := receive(t, "OnClose", m.closed); tt.err != nil && !errors.Is(err, tt.err) {
					t.Errorf("OnClose was given %v, want %v", err, tt.err)
				}
				want := tt.want
				want.Opened = 1
				if got := counters(r.Stats()); got != want {
					t.Errorf("Stats are %+v, want %+v", got, want)
				}
			})
		})
	}
}

func TestStatsCountHandshakesAndMessages(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		r := newRoom(t, w, &websocket.Server{}, 3, 1)
		m, c := r.open(0)
		for range 2 {
			bad := r.dial()
			bad.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			if resp := bad.response(); resp.StatusCode < 400 {
				t.Errorf("what is no handshake is answered with %s", resp.Status)
			}
			_ = bad.Close()
		}
		c.send(frame(text, "a"), frame(ping, ""), frame(bin&^fin, "b"), frame(fin|cont, "c"))
		c.expect(pong, "")
		if err := errors.Join(m.conn.WriteMessage(websocket.Text, []byte("a")), m.conn.WritePrepared(prepared(1, 10)), m.conn.Ping(nil)); err != nil {
			t.Error(err)
		}
		wr, err := m.conn.Writer(websocket.Text)
		if err == nil {
			_, _ = wr.Write([]byte("long"))
			err = errors.Join(wr.Flush(), wr.Close())
		}
		if err != nil {
			t.Error(err)
		}
		r.join(r.members...)
		r.group.Broadcast(prepared(2, 10))
		r.Broadcast(prepared(3, 10))
		eventually(t, "all messages to be counted", func() bool {
			s := r.Stats()
			return s.MessagesIn >= 2 && s.MessagesOut >= 3+6
		})
		want := websocket.Stats{Conns: 3, Opened: 3, Refused: 2, MessagesIn: 2, MessagesOut: 3 + 6}
		if got := r.Stats(); got != want {
			t.Errorf("Stats are %+v, want %+v", got, want)
		}
	})
}
