package websocket_test

import (
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

// crowd is how many connections a test opens to see what one costs.
const crowd = 1000

// gather opens a crowd of connections, which cost little at this end.
func gather(t *testing.T, st *site) []net.Conn {
	t.Helper()
	all := make([]net.Conn, crowd)
	for i := range all {
		c, err := net.Dial("tcp", st.addr.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(4 * bound))
		t.Cleanup(func() { _ = c.Close() })
		all[i] = c
	}
	return all
}

// toAll sends bytes on all connections.
func toAll(t *testing.T, all []net.Conn, s string) {
	t.Helper()
	p := []byte(s)
	for _, c := range all {
		if _, err := c.Write(p); err != nil {
			t.Fatal(err)
		}
	}
}

// fromAll reads on all connections until a string has come.
func fromAll(t *testing.T, all []net.Conn, end string) {
	t.Helper()
	p := make([]byte, 4096)
	for _, c := range all {
		got := ""
		for !strings.HasSuffix(got, end) {
			n, err := c.Read(p)
			if got += string(p[:n]); err != nil {
				t.Fatalf("%q, %v", got, err)
			}
		}
	}
}

// received is how many bytes an engine has received.
func received(eng *sluice.Engine) (n int64) {
	for _, l := range eng.Stats().Loops {
		n += l.BytesIn
	}
	return n
}

func TestWhatIsHalfSentHoldsItsOwnBytesAlone(t *testing.T) {
	var d ws.Deflater
	deflatedFrame := deflated(&d, bin, pattern(1800), 1)
	long := frame(bin, prose(1<<20))
	halves := []struct {
		name, sent string
		part       int // bytes that are sent first
		budget     int // bytes for each connection
		handshake  bool
	}{
		{"the first byte of a frame", frame(text, "hello"), 1, 1 << 10, false},
		{"a header", long, 5, 1 << 10, false},
		{"an announced MiB", long, 14 + 10, 2 << 10, false},
		{"a part of a message", frame(text&^fin, prose(700)) + frame(cont|fin, "end"), 8 + 700, 3 << 10, false},
		{"a part of a compressed message", deflatedFrame, 1000, 4 << 10, false},
		{"a part of a control frame", frame(ping, prose(120)), 60, 1 << 10, false},
		{"the first byte of a handshake", hello(), 1, 8 << 10, true},
		{"a part of a handshake", hello(), len(hello()) - 2, 8 << 10, true},
	}
	eachDriver(t, func(t *testing.T, w *world) {
		if w.driver == "portable" {
			t.Skip("which has goroutines for every connection")
		}
		st := w.serve(t, &websocket.Server{
			Handler: websocket.Funcs{}, KeepAlive: -1, HandshakeTimeout: time.Hour, Compression: &websocket.Compression{},
		})
		for _, h := range halves {
			all := gather(t, st)
			if !h.handshake {
				toAll(t, all, hello("Sec-WebSocket-Extensions: permessage-deflate"))
				fromAll(t, all, "\r\n\r\n")
			}
			eventually(t, "the connections", func() bool { return conns(st.eng) == crowd })
			goroutines, before, come := runtime.NumGoroutine(), heap(), received(st.eng)
			toAll(t, all, h.sent[:h.part])
			eventually(t, "all to be received", func() bool { return received(st.eng) == come+int64(crowd*h.part) })
			if each := (heap() - before) / crowd; each > int64(h.budget) {
				t.Errorf("%s, %d bytes, holds %d, want at most %d", h.name, h.part, each, h.budget)
			} else {
				t.Logf("%s, %d bytes, holds %d", h.name, h.part, each)
			}
			if n := runtime.NumGoroutine(); n > goroutines+2 { // the runtime has its own
				t.Errorf("%s: %d goroutines more", h.name, n-goroutines)
			}
			if h.part < 2000 && len(h.sent) < 10_000 { // it can go on
				toAll(t, all, h.sent[h.part:])
				if h.handshake {
					fromAll(t, all, "\r\n\r\n")
				}
				toAll(t, all, frame(ping, "done"))
				fromAll(t, all, plain(pong, "done"))
			}
			for _, c := range all {
				_ = c.Close()
			}
			eventually(t, "the connections to end", func() bool { return conns(st.eng) == 0 })
		}
	})
}

func TestAnIdleConnectionCostsLittle(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		if w.driver == "portable" {
			t.Skip("which has goroutines for every connection")
		}
		st := w.serve(t, &websocket.Server{Handler: websocket.Funcs{
			Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) { _ = c.WriteMessage(op, data) },
		}})
		all := gather(t, st)
		eventually(t, "the connections", func() bool { return conns(st.eng) == crowd })
		goroutines, before := runtime.NumGoroutine(), heap()
		toAll(t, all, hello())
		fromAll(t, all, "\r\n\r\n")
		toAll(t, all, frame(text, prose(1000)))
		fromAll(t, all, plain(text, prose(1000)))
		if w.way == overHTTP { // its jobs have goroutines, which end after a while
			goroutines += crowd
		}
		if each := (heap() - before) / crowd; each > 1<<10 {
			t.Errorf("an idle connection costs %d bytes", each)
		} else {
			t.Logf("an idle connection costs %d bytes", each)
		}
		if n := runtime.NumGoroutine(); n > goroutines+2 {
			t.Errorf("%d goroutines more", n-goroutines)
		}
		for _, c := range all {
			go io.Copy(io.Discard, c)
		}
		_ = st.eng
		for _, c := range all {
			_ = c.Close()
		}
	})
}
