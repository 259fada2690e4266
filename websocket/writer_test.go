package websocket_test

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-go/sluice/websocket"
)

// joined reads frames until a message is whole, and reports how many it had.
func (c *client) joined() (first byte, message string, frames int) {
	c.t.Helper()
	for {
		b, p, err := c.next()
		switch {
		case err != nil:
			c.t.Fatalf("after %d frames of %#x: %v", frames, first, err)
		case b&0x8 != 0: // of control
			continue
		case (frames == 0) == (b&0xf == cont):
			c.t.Fatalf("frame %d of a message is %#x", frames, b)
		case frames == 0:
			first = b | fin
		}
		frames++
		if message += p; b&fin != 0 {
			return first, message, frames
		}
	}
}

func TestAMessageIsWrittenInParts(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, Compression: &websocket.Compression{}})
		c := st.open("Sec-WebSocket-Extensions: permessage-deflate")
		conn := rec.conn()
		for _, n := range []int{0, 1, 1000, 32<<10 - 1, 32 << 10, 32<<10 + 1, 300_000} {
			m, err := conn.Writer(websocket.Binary)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Writer(websocket.Text); err == nil || errors.Is(err, websocket.ErrClosed) {
				t.Errorf("a second Writer: %v", err)
			}
			data := pattern(n)
			for rest := data; rest != ""; {
				k := min(len(rest), 1+n/7)
				if written, err := io.WriteString(m, rest[:k]); written != k || err != nil {
					t.Fatal(written, err)
				}
				rest = rest[k:]
			}
			if err := conn.WriteString("behind it"); err != nil {
				t.Error(err)
			}
			_ = conn.Ping([]byte("overtakes"))
			if err := m.Close(); err != nil {
				t.Error(err)
			}
			for _, err := range []error{m.Close(), m.Flush(), func() error { _, err := m.Write(nil); return err }()} {
				if !errors.Is(err, websocket.ErrClosed) {
					t.Errorf("after Close: %v", err)
				}
			}
			if first, got, _ := c.joined(); first != bin || got != data {
				t.Fatalf("%d bytes came as %#x, %d", n, first, len(got))
			}
			if _, got, _ := c.joined(); got != "behind it" {
				t.Errorf("the next message is %.30q", got)
			}
		}
		c.bye()
	})
}

func TestFlushSendsWhatWasWritten(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		m, err := rec.conn().Writer(websocket.Text)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Flush(); err != nil { // nothing
			t.Error(err)
		}
		_, _ = m.Write([]byte("one"))
		_ = m.Flush()
		c.expect(text&^fin, "one")
		_, _ = m.Write([]byte("two"))
		_ = m.Flush()
		c.expect(cont, "two")
		_ = m.Close()
		c.expect(cont|fin, "")
		c.bye()
	})
}

func TestMessagesOfOthersWaitBehindAWriter(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const others, each = 4, 40
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, Compression: &websocket.Compression{Threshold: 1, Params: params(true, 0)}})
		c := st.open()
		conn := rec.conn()
		var wg sync.WaitGroup
		for g := range others {
			wg.Go(func() {
				for i := range each {
					if err := conn.WriteString(fmt.Sprint("other ", g, " ", i)); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Go(func() {
			for i := range each {
				m, err := conn.Writer(websocket.Binary)
				if err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					_, _ = io.WriteString(m, fmt.Sprint("part of ", i, " "))
					_ = m.Flush()
				}
				if err := m.Close(); err != nil {
					t.Error(err)
				}
			}
		})
		next, parts := [others]int{}, 0
		for range others*each + each {
			first, got, _ := c.joined()
			if first == bin {
				if want := strings.Repeat(fmt.Sprint("part of ", parts, " "), 5); got != want {
					t.Fatalf("a message in parts is %q, want %q", got, want)
				}
				parts++
				continue
			}
			var g, i int
			if _, err := fmt.Sscanf(got, "other %d %d", &g, &i); err != nil || i != next[g] {
				t.Fatalf("the next message is %.60q, want %v", got, next)
			}
			next[g]++
		}
		wg.Wait()
		c.bye()
	})
}

func TestAWriterWaitsForThePeer(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.HighWater, w.cfg.WriteLimit = 128<<10, 1<<20
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		data := pattern(7 << 20)
		write := func(conn *websocket.Conn) error {
			m, err := conn.Writer(websocket.Binary)
			if err != nil {
				return err
			}
			if _, err := io.WriteString(m, data); err != nil {
				return err
			}
			return m.Close()
		}
		for name, end := range map[string]func(c *client, conn *websocket.Conn){
			"it reads": func(c *client, _ *websocket.Conn) {
				if _, got, _ := c.joined(); got != data {
					t.Errorf("%d bytes came, want %d, or others", len(got), len(data))
				}
				c.bye()
			},
			"it goes":           func(c *client, _ *websocket.Conn) { c.reset() },
			"it closes":         func(c *client, _ *websocket.Conn) { c.send(closeFrame(1000, "")); go c.drop() },
			"this side aborts":  func(_ *client, conn *websocket.Conn) { _ = conn.Abort() },
			"this side closes":  func(c *client, conn *websocket.Conn) { _ = conn.Close(1000, ""); go c.drop() },
			"it ends its sides": func(c *client, _ *websocket.Conn) { c.closeWrite(); go c.drop() },
		} {
			for _, job := range []bool{false, true} { // OnClose waits for jobs
				c := st.narrow()
				conn := rec.conn()
				result := make(chan error, 1)
				begun := make(chan struct{}) // a job that has not is not done when the connection ends
				run := func(c *websocket.Conn) {
					close(begun)
					result <- write(c)
				}
				if job {
					_ = conn.Offload(run)
				} else {
					go run(conn)
				}
				<-begun
				time.Sleep(5 * time.Millisecond)
				end(c, conn)
				if err := receive(t, name+": the writer", result); (err == nil) != (name == "it reads") || err != nil && !errors.Is(err, websocket.ErrClosed) {
					t.Errorf("%s: %v", name, err)
				}
				if name == "this side closes" {
					c.reset()
				}
				_ = rec.end()
				_ = c.Close()
			}
		}
	})
}

func TestACloseInTheMidstOfAWriterComesBetweenItsFrames(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		conn := rec.conn()
		m, err := conn.Writer(websocket.Text)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = m.Write([]byte("begun"))
		_ = m.Flush()
		_ = conn.WriteString("waits for ever")
		if err := conn.Close(1000, ""); err != nil {
			t.Error(err)
		}
		_, err1 := m.Write(make([]byte, 100_000))
		if err2 := m.Close(); !errors.Is(err1, websocket.ErrClosed) || !errors.Is(err2, websocket.ErrClosed) {
			t.Errorf("the Writer returns %v and %v", err1, err2)
		}
		c.expect(text&^fin, "begun")
		c.expect(closing, closePayload(1000, ""))
		c.send(closeFrame(1000, ""))
		c.over()
		if err := rec.end(); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestFramesOfManyGoroutinesAreNotMixed(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const writers, each = 4, 200
		rec := echoing(t)
		st := w.serve(t, &websocket.Server{Handler: rec, Compression: &websocket.Compression{Threshold: 300, Params: params(true, 0)}})
		for range 2 {
			c := st.open()
			conn := rec.conn()
			var wg sync.WaitGroup
			for g := range writers {
				wg.Go(func() {
					for i := range each {
						m := fmt.Sprint(g, " ", i, " ", prose(i*5))
						if err := conn.WriteString(m); err != nil {
							t.Error(err)
						}
						if i%10 == 0 {
							_ = conn.Ping([]byte(fmt.Sprint(g)))
						}
					}
				})
			}
			wg.Go(func() {
				for i := range each {
					_, _ = io.WriteString(c, frame(text, fmt.Sprint(writers, " ", i, " ", prose(i*5))))
				}
			})
			next := [writers + 1]int{}
			pings := 0
			for got := 0; got < (writers+1)*each; {
				first, p, err := c.next()
				if err != nil {
					t.Fatal(err)
				}
				if first == ping {
					pings++
					continue
				}
				var g, i int
				if _, err := fmt.Sscanf(p, "%d %d", &g, &i); err != nil || first != text || i != next[g] || p != fmt.Sprint(g, " ", i, " ", prose(i*5)) {
					t.Fatalf("%#x %.60q where %v are next", first, p, next)
				}
				next[g]++
				got++
			}
			wg.Wait()
			c.bye()
			if pings > writers*each/10 {
				t.Errorf("%d pings", pings)
			}
		}
	})
}

func TestEchoesForASlowReaderAreNotLost(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		w.cfg.HighWater = 256 << 10
		const n = 300
		st := w.serve(t, &websocket.Server{Handler: echoing(t)})
		c := st.narrow()
		go func() {
			for i := range n {
				_, _ = io.WriteString(c, frame(bin, pattern(40_000+i)))
			}
			_, _ = io.WriteString(c, closeFrame(1000, ""))
		}()
		for i := range n {
			if i%60 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			c.expect(bin, pattern(40_000+i))
		}
		c.expectClose(1000)
	})
}

func TestJobsAnswerInOrder(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		rec.msg = func(c *websocket.Conn, op websocket.Opcode, data []byte) {
			own := append([]byte("done "), data...)
			if err := c.Offload(func(c *websocket.Conn) {
				if len(own)%7 == 0 {
					time.Sleep(time.Millisecond)
				}
				_ = c.WriteMessage(op, own)
			}); err != nil {
				t.Error(err)
			}
		}
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		for i := range 100 {
			c.send(frame(text, prose(i)))
		}
		for i := range 100 {
			c.expect(text, "done "+prose(i))
		}
		c.bye()
	})
}
