package websocket_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/httpd"
	"github.com/sluice-go/sluice/websocket"
)

// Nobody waits for ever, for what came at a bad moment.

func TestOnDrainComesThoughAWriterWasOpenWhenAllLeft(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.cfg.HighWater, w.cfg.LowWater = 1<<20, 256<<10
		opened, drained := make(chan *websocket.Conn, 1), make(chan struct{}, 1<<10)
		st := w.serve(t, &websocket.Server{KeepAlive: -1, Handler: websocket.Funcs{
			Open:  func(c *websocket.Conn) { opened <- c },
			Drain: func(c *websocket.Conn) { drained <- struct{}{} },
		}})
		c := st.narrow()
		conn := receive(t, "OnOpen", opened)
		free := occupy(t, conn)
		for i := range uint32(64) {
			if err := conn.WriteMessage(websocket.Binary, numbered(i, 128<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if !conn.Transport().AboveHighWater() {
			t.Fatal("it is not above the high-water mark")
		}
		if err := conn.WritePrepared(prepared(64, 1000)); err != nil {
			t.Fatal(err)
		}
		long, err := conn.Writer(websocket.Binary)
		if err != nil {
			t.Fatal(err)
		}
		free()
		c.rest(func(n uint32) bool { return n == 64 })
		_, _ = long.Write(numbered(65, 1000))
		if err := long.Close(); err != nil {
			t.Fatal(err)
		}
		c.rest(func(n uint32) bool { return n == 65 })
		receive(t, "OnDrain", drained)
		c.bye()
	})
}

// What Upgrade returns is used before the loop has come to OnOpen.
func TestAPauseBeforeOnOpenEnds(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.way, w.cfg.Loops = overHTTP, 1
		rec := echoing(t)
		s := &websocket.Server{Handler: rec, KeepAlive: -1}
		ready, goOn, done := make(chan struct{}), make(chan struct{}), make(chan struct{})
		st := w.handle(t, s, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.RawQuery, "first") {
				_, _ = s.Upgrade(rw, r, nil)
				return
			}
			close(ready)
			<-goOn
			c, err := s.Upgrade(rw, r, nil)
			if err != nil {
				t.Error(err)
			} else {
				_ = c.PauseRead()
				_ = c.ResumeRead()
			}
			close(done)
		}))
		first := st.dial()
		first.send(strings.Replace(hello(), "a=1", "first", 1))
		first.switched()
		witness := rec.conn()
		c := st.dial()
		c.send(hello())
		receive(t, "the handler", ready)
		free := occupy(t, witness)
		close(goOn)
		receive(t, "Upgrade", done)
		free()
		c.switched()
		c.send(frame(text, "one"))
		c.expect(text, "one")
		_ = c.Close()
		_ = first.Close()
	})
}

func TestBroadcastGoesOnWhenAnEngineHasEndedWithMuchThatWaited(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		s := &websocket.Server{Handler: rec, KeepAlive: -1, Backlog: websocket.Backlog{Bytes: 64 << 20}}
		st := w.serve(t, s)
		other, err := sluice.New(sluice.Config{Driver: w.driver, Loops: 1})
		if err != nil {
			t.Fatal(err)
		}
		ln, err := other.Listen("tcp", "127.0.0.1:0", s.Protocol())
		if err != nil {
			t.Fatal(err)
		}
		stays := st.open()
		rec.conn()
		on := *st
		on.addr = ln.Addr()
		goes := on.open()
		free := occupy(t, rec.conn())
		for n := range uint32(62) { // each a round
			if err := s.Broadcast(prepared(n, 64<<10)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Broadcast(prepared(99, 5<<20)); err != nil { // with which the loop ends
			t.Fatal(err)
		}
		if err := s.Broadcast(prepared(1, 10)); !errors.Is(err, websocket.ErrBacklog) {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- other.Close() }()
		time.Sleep(50 * time.Millisecond) // so that it most likely ends before it delivers
		free()
		if err := receive(t, "the engine's end", ended); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a broadcast", func() bool { return s.Broadcast(prepared(1000, 10)) == nil })
		stays.rest(func(n uint32) bool { return n == 1000 })
		_ = goes.Close()
		_ = stays.Close()
	})
}

func TestAPanicOfUpgradeDoesNotKeepShutdownWaiting(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := &websocket.Server{Handler: newRecorder(t)}
		eng, _ := w.engine(t)
		late, idle := make(chan func(), 1), make(chan struct{}, 1)
		h := &httpd.Server{Engine: eng, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			late <- func() { _, _ = s.Upgrade(rw, r, nil) }
		})}
		h.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateIdle {
				idle <- struct{}{}
			}
		}
		ln, err := h.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c := (&site{t: t, addr: ln.Addr()}).dial()
		c.send(hello())
		receive(t, "the end of the request", idle)
		if !panics(receive(t, "the handler", late)) {
			t.Error("Upgrade after the handler has returned does not panic")
		}
		_ = c.Close()
		if err := s.Shutdown(bounded(t)); err != nil {
			t.Error(err)
		}
		_ = h.Close()
	})
}

func TestServeLoopTwiceDoesNotKeepShutdownWaiting(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		w.way = overHTTP
		s := &websocket.Server{Handler: newRecorder(t)}
		eng, _ := w.engine(t)
		h := &httpd.Server{Engine: eng, LoopHandler: func(x *httpd.RequestCtx) bool {
			s.ServeLoop(x)
			if !panics(func() { s.ServeLoop(x) }) {
				t.Error("it does not panic")
			}
			return true
		}}
		ln, err := h.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		st := &site{t: t, addr: ln.Addr()}
		c := st.open()
		c.send(closeFrame(1000, ""))
		c.drain()
		if err := s.Shutdown(bounded(t)); err != nil {
			t.Error(err)
		}
		_ = h.Close()
	})
}

// questions are as many short messages, numbered.
func questions(n uint32) (all string) {
	for i := range n {
		all += frame(bin, string(numbered(i, 8)))
	}
	return all
}

// The answers to some messages wait: those behind them are not delivered, so that the
// handler finds room for its answers.
func TestMessagesWaitWhileTheirAnswersDo(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const messages, size = 200, 64 << 10
		w.cfg.HighWater, w.cfg.LowWater = 256<<10, 64<<10
		rec := newRecorder(t)
		rec.muted = true
		most := 0
		rec.msg = func(c *websocket.Conn, _ websocket.Opcode, data []byte) {
			most = max(most, c.Transport().PendingWrite())
			if err := c.WriteMessage(websocket.Binary, numbered(number(data), size)); err != nil {
				t.Error(err)
			}
		}
		st := w.serve(t, &websocket.Server{Handler: rec, KeepAlive: -1, Backlog: websocket.Backlog{Bytes: 512 << 10}})
		c := st.narrow()
		c.send(questions(messages))
		if got := c.rest(func(n uint32) bool { return n == messages-1 }); len(got) != messages {
			t.Errorf("%d answers", len(got))
		}
		c.send(closeFrame(1000, ""))
		c.expect(closing, closePayload(1000, ""))
		c.over()
		if err := rec.end(); websocket.CloseStatus(err) != 1000 {
			t.Errorf("OnClose(%v)", err)
		}
		if most > 512<<10 {
			t.Errorf("%d bytes of answers waited", most)
		}
	})
}

// The peer sends all, and the end of the stream, before it reads an answer.
func TestMessagesThatWaitComeBeforeTheEnd(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		const messages, size = 100, 64 << 10
		w.cfg.HighWater, w.cfg.LowWater = 256<<10, 64<<10
		rec := newRecorder(t)
		rec.muted = true
		got := 0
		rec.msg = func(c *websocket.Conn, _ websocket.Opcode, data []byte) {
			got++
			_ = c.WriteMessage(websocket.Binary, numbered(number(data), size))
		}
		st := w.serve(t, &websocket.Server{Handler: rec, KeepAlive: -1})
		c := st.narrow()
		c.send(questions(messages))
		c.closeWrite()
		c.rest(func(n uint32) bool { return n == messages-1 })
		if err := rec.end(); !errors.Is(err, websocket.ErrNoClose) || got != messages {
			t.Errorf("OnClose(%v) after %d messages", err, got)
		}
		_ = c.Close()
	})
}

func TestBacklogBoundsWhatIsWrittenIfItIsSet(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		for _, bytes := range []int{0, 200 << 10} {
			rec := newRecorder(t)
			rec.muted = true
			st := w.serve(t, &websocket.Server{Handler: rec, KeepAlive: -1, Backlog: websocket.Backlog{Bytes: bytes}})
			c := st.narrow()
			conn := rec.conn()
			err := error(nil)
			for err == nil {
				err = conn.WriteMessage(websocket.Binary, make([]byte, 32<<10))
			}
			limit := 16 << 20 // sluice.Config.WriteLimit
			if bytes > 0 {
				limit = 64<<10 + bytes + 33<<10
			}
			if errors.Is(err, websocket.ErrBacklog) != (bytes > 0) || !errors.Is(err, sluice.ErrWriteLimit) || !conn.IsOpen() {
				t.Errorf("Bytes %d: %v", bytes, err)
			}
			if n := conn.Transport().PendingWrite(); n > limit {
				t.Errorf("Bytes %d: %d wait", bytes, n)
			}
			_ = c.Close()
		}
	})
}

// A message comes before the handler goes on.
func TestUpgradeBlockingMissesNothing(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := &websocket.Server{Handler: websocket.Funcs{}, KeepAlive: -1}
		ended := make(chan error, 1)
		eng, _ := w.engine(t)
		h := &httpd.Server{Engine: eng, Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			b, err := s.UpgradeBlocking(rw, r, "mine")
			if err != nil {
				t.Error(err)
				return
			}
			for {
				op, p, err := b.Read(context.Background())
				if err != nil {
					ended <- err
					return
				}
				if err := b.Write(context.Background(), op, append(p, b.Conn().Context().(string)...)); err != nil {
					t.Error(err)
				}
			}
		})}
		h.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateHijacked { // the handler's goroutine, within UpgradeBlocking
				eventually(t, "the message to come", func() bool { return s.Stats().MessagesIn == 1 })
			}
		}
		ln, err := h.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		c := (&site{t: t, addr: ln.Addr()}).dial()
		c.send(hello() + frame(text, "early "))
		c.switched()
		c.expect(text, "early mine")
		c.send(frame(text, "later "))
		c.expect(text, "later mine")
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(bounded(t)) }()
		c.expect(closing, closePayload(1001, ""))
		c.send(closeFrame(1001, ""))
		c.over()
		if err := receive(t, "the end", ended); err != websocket.ErrClosed || websocket.CloseStatus(err) != 1000 {
			t.Errorf("Read: %v, %d", err, websocket.CloseStatus(err))
		}
		if err := receive(t, "Shutdown", down); err != nil {
			t.Error(err)
		}
		_ = h.Close()
	})
}
