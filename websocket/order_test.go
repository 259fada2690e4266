package websocket_test

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

func TestWhatOnOpenWritesFollowsTheHandshake(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := echoing(t)
		rec.open = func(c *websocket.Conn) {
			_ = c.WriteString("welcome")
			_ = c.Ping([]byte("p"))
			_ = c.WriteMessage(websocket.Binary, []byte(prose(200_000)))
		}
		st := w.serve(t, &websocket.Server{Handler: rec})
		for range 10 {
			c := st.dial()
			c.send(hello(), frame(text, "early"))
			c.switched()
			c.expect(text, "welcome")
			c.expect(ping, "p")
			c.expect(bin, prose(200_000))
			c.expect(text, "early")
			c.bye()
		}
	})
}

// packet is messages of every kind to be sent at once, and what is heard of them.
func packet() (sent string, heard []string) {
	d := ws.Deflater{Side: ws.Side{Takeover: true}}
	for i := range 40 {
		m := fmt.Sprintf("%d %s", i, prose(i*i*3))
		switch i % 4 {
		case 0:
			sent += frame(text, m)
		case 1:
			sent += frame(text&^fin, m[:i/2]) + frame(cont, "") + frame(cont|fin, m[i/2:])
		case 2:
			sent += deflated(&d, text, m, 1)
		case 3:
			sent += deflated(&d, text, m, 3)
			heard = append(heard, "ping ", "ping ")
		}
		heard = append(heard, said(websocket.Text, m))
	}
	return sent, heard
}

func TestAPauseInTheMidstOfAPacketLosesNothing(t *testing.T) {
	sent, heard := packet()
	ways := map[string]func(c *websocket.Conn){
		"by another goroutine": func(c *websocket.Conn) { go func() { _ = c.ResumeRead() }() },
		"by a job":             func(c *websocket.Conn) { _ = c.Offload(func(c *websocket.Conn) { _ = c.ResumeRead() }) },
		"by a timer":           func(c *websocket.Conn) { _, _ = c.AfterFunc(0, func(c *websocket.Conn) { _ = c.ResumeRead() }) },
		"at once":              func(c *websocket.Conn) { _ = c.ResumeRead() },
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for name, resume := range ways {
			rec := newRecorder(t)
			rec.msg = func(c *websocket.Conn, _ websocket.Opcode, _ []byte) {
				if err := c.PauseRead(); err != nil {
					t.Error(err)
				}
				resume(c)
			}
			rec.ping = func(c *websocket.Conn) {
				_ = c.PauseRead()
				resume(c)
			}
			st := w.serve(t, &websocket.Server{Handler: rec, Compression: &websocket.Compression{Params: params(true, 0)}})
			c := st.dial()
			c.send(hello("Sec-WebSocket-Extensions: "+params(true, 0).Offer()), sent, closeFrame(1000, name))
			c.switched()
			c.drain()
			rec.expect(append(slices.Clone(heard), "close")...)
			if err := rec.end(); websocket.CloseStatus(err) != 1000 {
				t.Errorf("OnClose(%v)", err)
			}
		}
	})
}

func TestWhoPausesAfterEveryMessageDoesNotLetMoreAndMoreWait(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const n = 700
		w.cfg.ReadLimit = 256 << 10
		rec := newRecorder(t)
		rec.muted = true
		var got atomic.Int64
		rec.msg = func(c *websocket.Conn, _ websocket.Opcode, _ []byte) {
			got.Add(1)
			_ = c.PauseRead()
			_ = c.Offload(func(c *websocket.Conn) { _ = c.ResumeRead() })
		}
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		go c.send(strings.Repeat(frame(bin, prose(1000)), n), closeFrame(1000, ""))
		c.drain()
		if err := rec.end(); websocket.CloseStatus(err) != 1000 || got.Load() != n {
			t.Errorf("OnClose(%v) after %d messages of %d", err, got.Load(), n)
		}
	})
}

func TestNothingIsHeardDuringAPause(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		rec.open = func(c *websocket.Conn) { _ = c.PauseRead() }
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.dial()
		c.send(hello(), frame(text, "one"))
		c.switched()
		conn := rec.conn()
		c.send(frame(ping, ""), frame(text, "two"))
		c.closeWrite()
		time.Sleep(20 * time.Millisecond)
		rec.expect()
		if err := conn.ResumeRead(); err != nil {
			t.Error(err)
		}
		rec.expect("text one", "ping ", "text two", "close")
		if err := rec.end(); !errors.Is(err, websocket.ErrNoClose) {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestPausesOfManyGoroutinesDoNotContradictEachOther(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const n, size = 1500, 4000
		w.cfg.ReadLimit = 256 << 10 // which tells when bytes come that nobody reads
		rec := newRecorder(t)
		rec.muted = true
		var got atomic.Int64
		rec.msg = func(_ *websocket.Conn, _ websocket.Opcode, data []byte) { got.Add(1) }
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		conn := rec.conn()
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 2 {
			for _, toggle := range []func() error{conn.PauseRead, conn.ResumeRead} {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							_ = toggle()
						}
					}
				})
			}
		}
		go func() {
			m := frame(bin, prose(size))
			for range n {
				_, _ = io.WriteString(c, m)
			}
		}()
		for range 20 {
			time.Sleep(2 * time.Millisecond)
		}
		close(stop)
		wg.Wait()
		_ = conn.ResumeRead()
		eventually(t, "all messages", func() bool {
			select {
			case err := <-rec.closed:
				t.Fatalf("OnClose(%v)", err)
			default:
			}
			return got.Load() == n
		})
		_ = c.Close()
	})
}

func TestAPanicCostsOneConnection(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		var at atomic.Value // of the callback that panics
		closed := make(chan error, 10)
		does := func(name string) {
			if at.Load() == name {
				panic("a panic in " + name)
			}
		}
		st := w.serve(t, &websocket.Server{Handler: websocket.Funcs{
			Open: func(*websocket.Conn) { does("Open") },
			Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
				does("Message")
				_ = c.WriteMessage(op, data)
			},
			Ping: func(*websocket.Conn, []byte) { does("Ping") },
			Pong: func(*websocket.Conn, []byte) { does("Pong") },
			Close: func(_ *websocket.Conn, err error) {
				closed <- err
				does("Close")
			},
		}})
		at.Store("")
		other := st.open()
		other.send(frame(text, "there"))
		other.expect(text, "there")
		for _, name := range []string{"Open", "Message", "Ping", "Pong", "Close"} {
			at.Store(name)
			c := st.dial()
			_, _ = io.WriteString(c, hello()+frame(ping, "")+frame(pong, "")+frame(text&^fin, "a")+frame(cont|fin, "b")+frame(text, "c"))
			if name == "Close" {
				c.switched()
				c.send(closeFrame(1000, ""))
			}
			_, _ = io.ReadAll(c.r)
			_ = c.Close()
			err := receive(t, "OnClose", closed)
			var p *sluice.PanicError
			if name != "Close" && (!errors.As(err, &p) || p.Value != "a panic in "+name) {
				t.Errorf("%s: OnClose(%v)", name, err)
			}
			eventually(t, "the panic to be logged", func() bool { return strings.Contains(st.log.String(), "a panic in "+name) })
		}
		at.Store("")
		other.send(frame(text, "still there"))
		other.expect(text, "still there")
		other.bye()
	})
}

func TestNoMessageIsHeardAfterAbortOrClose(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for name, end := range map[string]func(c *websocket.Conn) error{
			"Abort": (*websocket.Conn).Abort,
			"Close": func(c *websocket.Conn) error { return c.Close(4000, "") },
		} {
			rec := newRecorder(t)
			rec.msg = func(c *websocket.Conn, _ websocket.Opcode, _ []byte) {
				if err := end(c); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			st := w.serve(t, &websocket.Server{Handler: rec})
			c := st.dial()
			c.send(hello(), frame(text, "one"), frame(text, "two"), frame(bin, "three"), closeFrame(4000, ""))
			if name == "Close" {
				c.switched()
				c.drain()
			}
			rec.expect("text one", "close")
			if err := rec.end(); name == "Abort" && !errors.Is(err, sluice.ErrAborted) || name == "Close" && err != nil {
				t.Errorf("%s: OnClose(%v)", name, err)
			}
			_ = c.Close()
		}
		rec := newRecorder(t)
		rec.open = func(c *websocket.Conn) { _ = c.Abort() }
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.dial()
		c.send(hello(), frame(text, "one"), frame(ping, ""))
		rec.expect("close")
		_ = c.Close()
	})
}

func TestAConnectionTellsOfItself(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, w.secure = range []bool{false, true} {
			rec := echoing(t)
			st := w.serve(t, &websocket.Server{Handler: rec, Compression: &websocket.Compression{}})
			c := st.open()
			conn := rec.conn()
			if conn.RemoteAddr().String() != c.LocalAddr().String() || conn.LocalAddr().String() != st.addr.String() {
				t.Errorf("the addresses are %v and %v", conn.RemoteAddr(), conn.LocalAddr())
			}
			if !conn.IsOpen() || conn.Compressed() || (conn.TLS() != nil) != w.secure || conn.Context() != nil {
				t.Errorf("open %v, compressed %v, TLS %v, context %v", conn.IsOpen(), conn.Compressed(), conn.TLS() != nil, conn.Context())
			}
			if got := conn.Transport().RemoteAddr().String(); got != c.LocalAddr().String() {
				t.Errorf("the transport is of %s", got)
			}
			conn.SetContext(7)
			c.bye()
			_ = rec.end()
			if conn.Context() != 7 || conn.IsOpen() {
				t.Errorf("afterwards the context is %v, open %v", conn.Context(), conn.IsOpen())
			}
			for name, err := range map[string]error{
				"WriteMessage": conn.WriteMessage(websocket.Text, nil), "WriteString": conn.WriteString(""), "Ping": conn.Ping(nil),
				"Close": conn.Close(1000, ""), "Abort": conn.Abort(), "PauseRead": conn.PauseRead(), "ResumeRead": conn.ResumeRead(),
				"Offload": conn.Offload(func(*websocket.Conn) { t.Error("a job runs") }),
			} {
				if !errors.Is(err, websocket.ErrClosed) {
					t.Errorf("%s returns %v afterwards", name, err)
				}
			}
		}
	})
}

func TestWrongArgumentsAreRefused(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		conn := rec.conn()
		for name, err := range map[string]error{
			"WriteMessage of a ping": conn.WriteMessage(ws.Ping, nil), "WriteMessage of 0": conn.WriteMessage(0, nil),
			"a long ping": conn.Ping(make([]byte, 126)), "Offload(nil)": conn.Offload(nil),
			"Close with 1006": conn.Close(1006, ""), "Close with 1015": conn.Close(1015, ""), "Close with 0": conn.Close(0, ""),
			"Close with 999": conn.Close(999, ""), "Close with 5000": conn.Close(5000, ""), "Close with 1004": conn.Close(1004, ""),
		} {
			if err == nil || errors.Is(err, websocket.ErrClosed) {
				t.Errorf("%s returns %v", name, err)
			}
		}
		if _, err := conn.Writer(ws.Close); err == nil {
			t.Error("a Writer of Close frames")
		}
		if _, err := conn.AfterFunc(0, nil); err == nil {
			t.Error("AfterFunc(nil)")
		}
		if err := conn.Ping(make([]byte, 125)); err != nil {
			t.Error(err)
		}
		c.expect(ping, string(make([]byte, 125))) // and nothing before it
		c.bye()
	})
}
