package websocket_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

// bomb is messages of size bytes each, compressed to a thousandth, in one piece.
func bomb(messages, size int) string {
	var d ws.Deflater
	var s strings.Builder
	for n := range messages {
		s.WriteString(deflated(&d, bin, string(zeroed(uint32(n), size)), 1))
	}
	return s.String()
}

// zeroed is a numbered message that is zeros otherwise.
func zeroed(n uint32, size int) []byte {
	return binary.BigEndian.AppendUint32(make([]byte, 0, size), n)[:size]
}

// fuse checks the messages of a bomb as they come.
type fuse struct {
	t     *testing.T
	zeros []byte // of a message
	count atomic.Int64
}

func (f *fuse) take(data []byte) {
	n := f.count.Add(1) - 1
	if len(data) != 4+len(f.zeros) || int64(number(data)) != n || !bytes.Equal(data[4:], f.zeros) {
		f.t.Errorf("message %d is not what was sent", n)
	}
}

func TestCompressedMessagesOfOneDoNotKeepOthersWaiting(t *testing.T) {
	const messages, size = 64, 256 << 10
	sent := bomb(messages, size)
	eachWorld(t, func(t *testing.T, w *world) {
		w.cfg.Loops = 1
		f := &fuse{t: t, zeros: make([]byte, size-4)}
		meanwhile := make(chan int64, 1)
		rec := newRecorder(t)
		rec.muted = true
		rec.msg = func(c *websocket.Conn, op websocket.Opcode, data []byte) {
			if op == websocket.Binary {
				f.take(data)
				return
			}
			meanwhile <- f.count.Load()
			_ = c.WriteMessage(op, data)
		}
		st := w.serve(t, &websocket.Server{Handler: rec, Compression: &websocket.Compression{}})
		attacker := st.open("Sec-WebSocket-Extensions: permessage-deflate")
		conn := rec.conn()
		witness := st.open()
		_ = rec.conn()
		free := occupy(t, conn)
		attacker.send(sent)
		witness.send(frame(text, "here"))
		free()
		witness.expect(text, "here")
		if n := <-meanwhile; n >= messages {
			t.Errorf("the other was heard behind %d messages", n)
		}
		eventually(t, "all messages", func() bool { return f.count.Load() == messages })
		attacker.bye()
		witness.bye()
	})
}

func TestCompressedMessagesAreAllDeliveredBeforeTheEndBehindThem(t *testing.T) {
	const messages, size = 64, 32 << 10
	sent := bomb(messages, size)
	pauses := map[string]func(c *websocket.Conn){
		"without a pause": func(*websocket.Conn) {},
		"a pause that ends at once": func(c *websocket.Conn) {
			_ = c.PauseRead()
			_ = c.ResumeRead()
		},
		"a pause that a goroutine ends": func(c *websocket.Conn) {
			_ = c.PauseRead()
			go func() { _ = c.ResumeRead() }()
		},
		"a pause that a job ends": func(c *websocket.Conn) {
			_ = c.PauseRead()
			_ = c.Offload(func(c *websocket.Conn) { _ = c.ResumeRead() })
		},
		"pauses of others": func(c *websocket.Conn) {
			go func() {
				_ = c.PauseRead()
				_ = c.ResumeRead()
			}()
		},
	}
	eachWorld(t, func(t *testing.T, w *world) {
		for name, pause := range pauses {
			for _, end := range []string{"", closeFrame(4000, "")} {
				f := &fuse{t: t, zeros: make([]byte, size-4)}
				rec := newRecorder(t)
				rec.muted = true
				rec.msg = func(c *websocket.Conn, _ websocket.Opcode, data []byte) {
					f.take(data)
					pause(c)
				}
				st := w.serve(t, &websocket.Server{Handler: rec, Compression: &websocket.Compression{}})
				c := st.open("Sec-WebSocket-Extensions: permessage-deflate")
				c.send(sent, end)
				c.closeWrite()
				err := rec.end()
				if n := f.count.Load(); n != messages {
					t.Errorf("%s: OnClose behind %d messages of %d", name, n, messages)
				}
				if end == "" && !errors.Is(err, websocket.ErrNoClose) || end != "" && websocket.CloseStatus(err) != 4000 {
					t.Errorf("%s: OnClose(%v)", name, err)
				}
				_ = c.Close()
			}
		}
	})
}
