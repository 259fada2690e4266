package websocket_test

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-go/sluice/websocket"
)

func TestASilentPeerIsPingedAndThenGivenUp(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		s := &websocket.Server{Handler: rec, KeepAlive: 25 * time.Millisecond}
		st := w.serve(t, s)
		c := st.open()
		c.expect(ping, "")
		if first, _, err := c.next(); err == nil {
			t.Errorf("the next frame is %#x, want the end", first)
		}
		if err := rec.end(); !errors.Is(err, websocket.ErrSilent) || !errors.Is(err, os.ErrDeadlineExceeded) || websocket.CloseStatus(err) != 1006 {
			t.Errorf("OnClose(%v)", err)
		}
		if n := s.Stats().ClosedSilent; n != 1 {
			t.Errorf("%d were counted", n)
		}
	})
}

func TestAPeerThatAnswersPingsIsKept(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		st := w.serve(t, &websocket.Server{Handler: echoing(t), KeepAlive: 100 * time.Millisecond})
		c := st.open()
		for _, answer := range []string{frame(pong, ""), frame(ping, "x"), frame(pong, "unasked"), frame(text, "abc")[:7]} {
			for {
				first, _, err := c.next()
				if err != nil {
					t.Fatal(err)
				}
				if first == ping {
					break
				}
			}
			c.send(answer) // anything will do
		}
		c.send(frame(text, "abc")[7:])
		for first := byte(0); first != text; {
			var err error
			if first, _, err = c.next(); err != nil {
				t.Fatal(err)
			}
		}
		_ = c.Close()
	})
}

func TestWithoutKeepAliveNobodyIsPinged(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.IdleTimeout = time.Hour
		st := w.serve(t, &websocket.Server{Handler: echoing(t), KeepAlive: -1})
		c := st.open()
		time.Sleep(20 * time.Millisecond)
		c.send(frame(text, "x"))
		c.expect(text, "x")
		c.bye()
	})
}

func TestWhoIsNotReadFromIsNotGivenUp(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		const keepAlive = 40 * time.Millisecond
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, KeepAlive: keepAlive})
		c := st.open()
		conn := rec.conn()
		c.expect(ping, "")
		_ = conn.PauseRead()
		c.send(frame(pong, "in time"))
		time.Sleep(4 * keepAlive) // a timer may come before what waits in the kernel
		if err := conn.ResumeRead(); err != nil {
			t.Fatal(err)
		}
		rec.expect("pong in time")
		c.expect(ping, "") // which comes again
		_ = c.Close()
	})
}

// narrow makes a connection whose receive buffer does not grow, so that less fits into
// the kernel's hands.
func (st *site) narrow() *client {
	st.t.Helper()
	c := st.open()
	_ = c.Conn.(*net.TCPConn).SetReadBuffer(128 << 10)
	return c
}

func TestAPeerThatTakesNothingIsGivenUp(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		rec.open = func(c *websocket.Conn) {
			_ = c.WriteMessage(websocket.Binary, make([]byte, 12<<20))
		}
		st := w.serve(t, &websocket.Server{Handler: rec, KeepAlive: 40 * time.Millisecond})
		c := st.narrow()
		if err := rec.end(); !errors.Is(err, websocket.ErrSilent) {
			t.Errorf("OnClose(%v)", err)
		}
		_ = c.Close()
	})
}

func TestAPeerThatTakesSomethingIsKept(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		if w.driver == "portable" {
			t.Skip("which tells what has left when all has")
		}
		const keepAlive = 150 * time.Millisecond
		rec := newRecorder(t)
		rec.muted = true
		st := w.serve(t, &websocket.Server{Handler: rec, KeepAlive: keepAlive})
		c := st.narrow()
		conn := rec.conn()
		// As much as it takes is written, so that what waits does not become less.
		var ended atomic.Bool
		written := make(chan struct{})
		go func() {
			defer close(written)
			p := make([]byte, 64<<10)
			for !ended.Load() {
				if conn.Transport().PendingWrite() > 8<<20 {
					time.Sleep(time.Millisecond)
				} else if err := conn.WriteMessage(websocket.Binary, p); err != nil {
					return
				}
			}
		}()
		p := make([]byte, 512<<10) // the kernel tells of it by the megabyte
		for range 3 * keepAlive / (10 * time.Millisecond) {
			time.Sleep(10 * time.Millisecond)
			if _, err := io.ReadFull(c.r, p); err != nil {
				t.Fatalf("%v; OnClose(%v)", err, rec.end())
			}
		}
		ended.Store(true)
		<-written
		select {
		case err := <-rec.closed:
			t.Errorf("OnClose(%v)", err)
		default:
		}
		_ = c.Close()
	})
}

func TestAPeerThatWasSlowIsPingedBeforeItIsGivenUp(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		if w.driver == "portable" {
			t.Skip("which tells what has left when all has")
		}
		const keepAlive, size = 500 * time.Millisecond, 9 << 20
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, KeepAlive: keepAlive})
		c := st.narrow()
		conn := rec.conn()
		if err := conn.WriteMessage(websocket.Binary, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(keepAlive * 5 / 4) // it is above its high-water mark when a ping is due
		if first, p, err := c.next(); err != nil || first != bin || len(p) != size {
			t.Fatalf("the next frame is %#x of %d bytes, %v; OnClose(%v)", first, len(p), err, rec.end())
		}
		c.expect(ping, "")
		c.send(frame(pong, ""))
		rec.expect("pong ")
		_ = c.Close()
	})
}
