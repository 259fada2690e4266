package websocket_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
)

func TestTheServerCloses(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, w.secure = range []bool{false, true} {
			rec := newRecorder(t)
			st := w.serve(t, &websocket.Server{Handler: rec})
			for _, try := range []struct {
				status       websocket.Status
				reason, said string
			}{
				{1000, "", ""},
				{4999, "why \u20ac", "why \u20ac"},
				{1011, strings.Repeat("x", 200), strings.Repeat("x", 123)},
				{1011, strings.Repeat("\u20ac", 60), strings.Repeat("\u20ac", 41)},
				{3000, "a\xffb", "a\ufffdb"},
			} {
				c := st.open()
				conn := rec.conn()
				if err := conn.WriteString("last"); err != nil {
					t.Error(err)
				}
				if err := conn.Close(try.status, try.reason); err != nil {
					t.Error(err)
				}
				if conn.IsOpen() {
					t.Error("it is open after Close")
				}
				for name, err := range map[string]error{
					"WriteMessage": conn.WriteMessage(websocket.Binary, nil), "WriteString": conn.WriteString("x"),
					"Ping": conn.Ping(nil), "Close": conn.Close(1000, ""), "PauseRead": conn.PauseRead(),
				} {
					if !errors.Is(err, websocket.ErrClosed) || !errors.Is(err, net.ErrClosed) {
						t.Errorf("%s after Close returns %v", name, err)
					}
				}
				if _, err := conn.Writer(websocket.Text); !errors.Is(err, websocket.ErrClosed) {
					t.Errorf("Writer after Close returns %v", err)
				}
				c.expect(text, "last")
				c.expect(closing, closePayload(try.status, try.said))
				c.send(frame(text, "not heard"), frame(ping, ""), closeFrame(try.status, ""), frame(text, "neither"))
				c.over()
				if err := rec.end(); err != nil || websocket.CloseStatus(err) != 1000 {
					t.Errorf("OnClose(%v)", err)
				}
			}
			for _, s := range rec.log() {
				if strings.HasPrefix(s, "text") {
					t.Errorf("%q after Close", s)
				}
			}
		}
	})
}

func TestACloseFrameMayHaveNoStatus(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		if err := rec.conn().Close(websocket.NoStatus, "not sent"); err != nil {
			t.Error(err)
		}
		c.expect(closing, "")
		c.send(frame(closing, ""))
		c.over()
		if err := rec.end(); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestBothSidesMayCloseAtOnce(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		for i := range 20 {
			c := st.open()
			conn := rec.conn()
			go func() { _ = conn.Close(4001, "") }()
			c.send(closeFrame(4002, ""))
			last := c.drain()
			err := rec.end()
			var e *websocket.CloseError
			switch {
			case last == closePayload(4001, "") && err == nil: // the server was first
			case last == closePayload(4002, "") && errors.As(err, &e) && e.Status == 4002:
			default:
				t.Errorf("%d: the Close frame has %q, OnClose(%v)", i, last, err)
			}
		}
	})
}

func TestWhoDoesNotAnswerACloseFrameIsGivenUp(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, CloseTimeout: 30 * time.Millisecond})
		c := st.open()
		_ = rec.conn().Close(1000, "")
		c.expect(closing, closePayload(1000, ""))
		for {
			if _, err := io.WriteString(c, frame(text, "I do not listen")); err != nil {
				break
			}
			if _, err := c.r.Peek(1); err != nil {
				break // the server has ended it
			}
		}
		_ = c.Close()
		if err := rec.end(); !errors.Is(err, websocket.ErrCloseTimeout) || !errors.Is(err, os.ErrDeadlineExceeded) || websocket.CloseStatus(err) != 1006 {
			t.Errorf("OnClose(%v)", err)
		}
		rec.expect("close")
	})
}

func TestAnEndWithoutACloseFrameIsTold(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, w.secure = range []bool{false, true} {
			rec := newRecorder(t)
			st := w.serve(t, &websocket.Server{Handler: rec})
			for _, sent := range []string{"", frame(text, "x"), frame(text, "xyz")[:8], frame(text, "xyz")[:1], frame(bin&^fin, "x"), closeFrame(1000, "")[:7]} {
				c := st.open()
				c.send(sent)
				c.closeWrite()
				c.over()
				if err := rec.end(); !errors.Is(err, websocket.ErrNoClose) || !errors.Is(err, io.ErrUnexpectedEOF) || websocket.CloseStatus(err) != 1006 {
					t.Errorf("after %q: OnClose(%v)", sent, err)
				}
			}
			c := st.open()
			c.send(frame(text, "before"))
			_ = rec.conn()
			if tls, ok := c.Conn.(interface{ NetConn() net.Conn }); ok {
				c.Conn = tls.NetConn()
			}
			time.Sleep(5 * time.Millisecond)
			c.reset()
			if err := rec.end(); err == nil || websocket.CloseStatus(err) != 1006 {
				t.Errorf("after a reset: OnClose(%v)", err)
			}
		}
	})
}

func TestAnEndInPlaceOfTheAnswerToACloseFrameIsTold(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		_ = rec.conn().Close(1000, "")
		c.expect(closing, closePayload(1000, ""))
		c.closeWrite()
		c.over()
		if err := rec.end(); !errors.Is(err, websocket.ErrNoClose) {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestWhatFollowsACloseFrameIsIgnored(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		c.send(closeFrame(1001, "gone"), frame(text, "x"), frame(ping, ""), "\xff\xff\xff", frame(bin, prose(100_000)))
		c.expectClose(1001)
		rec.expect("close")
	})
}

func TestCloseDuringAPauseIsCarriedOut(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		rec.msg = func(c *websocket.Conn, _ websocket.Opcode, _ []byte) { _ = c.PauseRead() }
		st := w.serve(t, &websocket.Server{Handler: rec, CloseTimeout: bound})
		c := st.open()
		c.send(frame(text, "one"), frame(text, "two"))
		rec.expect("text one")
		if err := rec.conn().Close(1000, ""); err != nil {
			t.Error(err)
		}
		c.expect(closing, closePayload(1000, ""))
		c.send(closeFrame(1000, ""))
		c.over()
		rec.expect("text one", "close")
		if err := rec.end(); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestCloseDeliversWhatWasWrittenBefore(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		rec.msg = func(c *websocket.Conn, _ websocket.Opcode, _ []byte) {
			for range 8 {
				_ = c.WriteMessage(websocket.Binary, []byte(pattern(500_000)))
			}
			_ = c.Close(1000, "done")
		}
		st := w.serve(t, &websocket.Server{Handler: rec})
		c := st.open()
		c.send(frame(text, "go"))
		for range 8 {
			time.Sleep(time.Millisecond)
			c.expect(bin, pattern(500_000))
		}
		c.expect(closing, closePayload(1000, "done"))
		c.send(closeFrame(1000, ""))
		c.over()
		if err := rec.end(); err != nil {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestWhatWasLeftOfAMessageAtCloseDoesNotComeIntoAnother(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		for range 30 { // memory is pooled, perhaps
			c := st.open()
			conn := rec.conn()
			c.send(frame(text&^fin, "secret"), frame(ping, ""))
			c.expect(pong, "")
			_ = conn.Close(1000, "")
			c.expect(closing, closePayload(1000, ""))
			c.send(frame(cont|fin, "rest"))
			other := st.open()
			_ = rec.conn()
			rec.forget()
			other.send(frame(text&^fin, "a"), frame(cont|fin, "b"))
			other.send(frame(text&^fin, "c"), frame(cont|fin, "d"), frame(ping, "x"))
			other.expect(pong, "x")
			c.send(closeFrame(1000, ""))
			c.over()
			other.bye()
			for _, s := range rec.log() {
				if strings.HasPrefix(s, "text") && s != "text ab" && s != "text cd" {
					t.Fatalf("heard %q", s)
				}
			}
		}
	})
}

func TestAJobThatIsUnfinishedDoesNotHideWhyTheConnectionEnded(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		for _, try := range []struct {
			end  func(c *client, conn *websocket.Conn)
			want error
		}{
			{func(c *client, conn *websocket.Conn) { c.closeWrite() }, websocket.ErrNoClose},
			{func(c *client, conn *websocket.Conn) { _ = conn.Abort() }, sluice.ErrAborted},
			{func(c *client, conn *websocket.Conn) { c.send(closeFrame(4000, "")) }, &websocket.CloseError{}},
		} {
			c := st.open()
			conn := rec.conn()
			release := make(chan struct{})
			_ = conn.Offload(func(*websocket.Conn) { <-release })
			try.end(c, conn)
			time.Sleep(5 * time.Millisecond)
			close(release)
			_, _ = io.ReadAll(c.r)
			_ = c.Close()
			var e *websocket.CloseError
			if err := rec.end(); !errors.Is(err, try.want) && !(errors.As(err, &e) && errors.As(try.want, &e)) {
				t.Errorf("OnClose(%v), want %v", err, try.want)
			}
		}
	})
}
