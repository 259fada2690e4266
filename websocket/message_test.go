package websocket_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

// sizes are lengths of messages around every form of a frame's length.
var sizes = []int{0, 1, 2, 3, 4, 5, 63, 64, 65, 124, 125, 126, 127, 128, 4095, 8192, 16384, 65534, 65535, 65536, 65537, 1<<20 - 1, 1 << 20}

func TestMessagesOfEveryLengthComeBack(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, w.secure = range []bool{false, true} {
			st := w.serve(t, &websocket.Server{Handler: echoing(t)})
			c := st.open()
			for _, n := range sizes {
				if w.secure && n > 1<<17 {
					continue
				}
				c.send(frame(bin, pattern(n)))
				c.expect(bin, pattern(n))
				c.send(frame(text, prose(n)))
				c.expect(text, prose(n))
			}
			c.bye()
		}
	})
}

// dialogue is some messages in frames, and what a server hears.
var dialogue = frame(text, "h\u00e9 \u20ac \U0001f600") + frame(bin&^fin, "\x00\xff") + frame(ping, "p1") +
	frame(cont, "") + frame(cont|fin, "end") + frame(text&^fin, "\xe2\x82") + frame(pong, "") +
	frame(cont, "\xac and") + frame(ping, "") + frame(cont|fin, "") + frame(text, "") + frame(bin, prose(130))

var heard = []string{
	"text h\u00e9 \u20ac \U0001f600", "ping p1", "binary \x00\xffend", "pong ", "ping ", "text \u20ac and", "text ",
	said(websocket.Binary, prose(130)),
}

func TestFramesInTwoPiecesAreWhatTheyAreInOne(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		step := 3
		if w.driver == "portable" { // which takes its time to close
			step = 29
		}
		for i := 1 + len(w.driver)%step; i < len(dialogue); i += step {
			c := st.open()
			c.send(dialogue[:i])
			if i%4 == 0 { // the others may come together
				time.Sleep(time.Millisecond / 2)
			}
			c.send(dialogue[i:], closeFrame(1000, ""))
			c.expect(pong, "p1")
			c.expect(pong, "")
			c.expectClose(1000)
			rec.expect(append(slices.Clone(heard), "close")...)
			rec.forget()
		}
		c := st.open()
		c.sendSlowly(dialogue + closeFrame(1000, ""))
		c.drain()
		rec.expect(append(slices.Clone(heard), "close")...)
	})
}

// deflated returns a message compressed as d does, in that many frames, with pings
// between them.
func deflated(d *ws.Deflater, first byte, message string, frames int) (s string) {
	p := string(d.Append(nil, []byte(message)))
	first |= rsv1
	for i := range frames {
		n := len(p) * i / frames
		m := len(p) * (i + 1) / frames
		b := byte(cont)
		if i == 0 {
			b = first &^ fin
		}
		if i == frames-1 {
			b |= fin
		}
		s += frame(b, p[n:m])
		if i < frames-1 {
			s += frame(ping, "")
		}
	}
	return s
}

// inflated reads a message that the server sent, compressed or not.
func (c *client) inflated(i *ws.Inflater) (first byte, message string) {
	c.t.Helper()
	first, p, err := c.next()
	for err == nil && first == pong {
		first, p, err = c.next()
	}
	if err != nil {
		c.t.Fatal(err)
	}
	if first&rsv1 == 0 {
		return first, p
	}
	plain, err := i.Append(nil, []byte(p), 0)
	if err != nil {
		c.t.Fatal(err)
	}
	return first &^ rsv1, string(plain)
}

func TestCompressedMessagesComeBack(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		for _, takeover := range []bool{false, true} {
			for _, bits := range []int{0, 9, 15} {
				agreed := params(takeover, bits)
				st := w.serve(t, &websocket.Server{Handler: echoing(t), Compression: &websocket.Compression{Params: agreed, Threshold: 20}})
				c := st.dial()
				c.send(hello("Sec-WebSocket-Extensions: " + agreed.Offer()))
				got, ok, err := agreed.Accepted(c.switched().Header.Get("Sec-WebSocket-Extensions"))
				if err != nil || !ok {
					t.Fatal(err)
				}
				d, i := ws.Deflater{Side: got.Client}, ws.Inflater{Side: got.Server}
				for n, size := range []int{0, 1, 19, 20, 1000, 1000, 40_000, 40_000, 70_000} {
					message := prose(size)
					c.send(deflated(&d, text, message, 1+n%4))
					if first, back := c.inflated(&i); first != text || back != message {
						t.Fatalf("takeover %v, %d bits: %d bytes came back as %#x, %d", takeover, bits, size, first, len(back))
					}
					c.send(frame(bin, message)) // compression is for each message to choose
					if first, back := c.inflated(&i); first != bin || back != message {
						t.Fatalf("takeover %v: %d bytes came back as %#x, %d", takeover, size, first, len(back))
					}
				}
				c.bye()
			}
		}
	})
}

func TestTextThatIsNotUTF8IsRefusedAtItsFirstWrongByte(t *testing.T) {
	begun := func(first byte, announced int, payload string) string { // a frame that is not whole
		whole := frame(first, payload+strings.Repeat("x", announced-len(payload)))
		return whole[:len(whole)-(announced-len(payload))]
	}
	d := ws.Deflater{}
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, Compression: &websocket.Compression{}})
		for name, sent := range map[string]string{
			"a wrong byte":                       begun(text, 100, "abc\xff"),
			"a wrong byte in a long frame":       begun(text, 100_000, "\xc0"),
			"a surrogate":                        begun(text, 100, "\xed\xa0"),
			"a long form":                        begun(text, 100, "\xe0\x80"),
			"beyond the last rune":               begun(text, 100, "\xf4\x90"),
			"a rune cut by another":              begun(text, 100, "\xe2\x82x"),
			"a rune that goes on wrong":          frame(text&^fin, "ok \xe2\x82") + begun(cont|fin, 10, "x"),
			"a rune that goes on after a ping":   frame(text&^fin, "\xf0") + frame(ping, "") + begun(cont, 10, "\x80"),
			"a rune that does not end":           frame(text, "abc\xe2\x82"),
			"one that does not end in parts":     frame(text&^fin, "\xe2") + frame(cont|fin, "\x82"),
			"one that an empty frame cuts":       frame(text&^fin, "\xe2") + frame(cont|fin, ""),
			"compressed":                         deflated(&d, text, "abc\xff"+prose(600), 1),
			"compressed, in parts":               deflated(&d, text, prose(600)+"\xe2\x82", 3),
			"the reason of a Close frame":        closeFrame(1000, "abc\xff"),
			"compressed data that is no deflate": frame(text|rsv1, "\xff\xff\xff\xff\xff"),
		} {
			c := st.open("Sec-WebSocket-Extensions: permessage-deflate")
			c.send(sent)
			for {
				first, p, err := c.next()
				if first == pong && err == nil {
					continue
				}
				if err != nil || first != closing || p[:2] != closePayload(1007, "") {
					t.Errorf("%s: answered with %#x %q, %v; want a Close frame with 1007", name, first, p, err)
				}
				break
			}
			c.over()
			var e *ws.Error
			if err := rec.end(); !errors.As(err, &e) || e.Status != 1007 || websocket.CloseStatus(err) != 1007 {
				t.Errorf("%s: OnClose(%v)", name, err)
			}
		}
		for _, s := range rec.log() {
			if s != "open" && s != "close" && s != "ping " {
				t.Errorf("callback %q", s)
			}
		}
	})
}

func TestWhatIsNoWebSocketIsClosedWithItsCode(t *testing.T) {
	unmasked := plain(text, "x")
	broken := map[string]string{
		"no mask":                        unmasked,
		"RSV1 without compression":       frame(text|rsv1, "x"),
		"RSV2":                           frame(text|0x20, "x"),
		"RSV3":                           frame(bin|0x10, "x"),
		"RSV1 on a ping":                 frame(ping|rsv1, "x"),
		"a stray continuation":           frame(cont|fin, "x"),
		"a stray, empty one, unfinished": frame(cont, ""),
		"a continuation too many":        frame(text, "a") + frame(cont|fin, "x"),
		"a message within another":       frame(text&^fin, "a") + frame(text, "b"),
		"a ping in parts":                frame(ping&^fin, "x"),
		"a long ping":                    frame(ping, prose(126)),
		"a long Close frame":             closeFrame(1000, prose(124)),
		"a Close frame in parts":         frame(closing&^fin, "\x03\xe8"),
		"a Close frame of one byte":      frame(closing, "\x03"),
		"a length of 2 for 1":            "\x82\xfe\x00\x7d\x00\x00\x00\x00" + prose(125),
		"a length of 8 for 2":            "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00",
		"a length beyond 63 bits":        "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	}
	for _, op := range []byte{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		broken[fmt.Sprintf("opcode %d", op)] = frame(fin|op, "")
	}
	for _, status := range []websocket.Status{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535} {
		broken[fmt.Sprintf("a Close frame with %d", status)] = closeFrame(status, "")
	}
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		s := &websocket.Server{Handler: rec}
		st := w.serve(t, s)
		for name, sent := range broken {
			c := st.open()
			c.send(sent + frame(text, "after it") + closeFrame(1000, ""))
			first, p, err := c.next()
			if err != nil || first != closing || len(p) < 3 || p[:2] != closePayload(1002, "") {
				t.Errorf("%s: answered with %#x %q, %v; want a Close frame with 1002 and a reason", name, first, p, err)
			}
			c.over()
			var e *ws.Error
			if err := rec.end(); !errors.As(err, &e) || e.Status != 1002 {
				t.Errorf("%s: OnClose(%v)", name, err)
			}
		}
		if n := s.Stats().ClosedProtocol; n != int64(len(broken)) {
			t.Errorf("%d connections were closed for it, want %d", n, len(broken))
		}
		if slices.Contains(rec.log(), "text after it") {
			t.Error("a message after it was delivered")
		}
	})
}

func TestAllCodesThatMayBeSentAreAnsweredWithThemselves(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		for _, status := range []websocket.Status{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999} {
			c := st.open()
			c.send(closeFrame(status, "why \u20ac"))
			if reason := c.expectClose(status); reason != "" {
				t.Errorf("the answer has the reason %q", reason)
			}
			var e *websocket.CloseError
			if err := rec.end(); !errors.As(err, &e) || e.Status != status || e.Reason != "why \u20ac" {
				t.Errorf("%d: OnClose(%v)", status, err)
			}
		}
		c := st.open()
		c.send(frame(closing, ""))
		c.expect(closing, "")
		c.over()
		if err := rec.end(); websocket.CloseStatus(err) != websocket.NoStatus {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestLimitsAreKept(t *testing.T) {
	zeros := strings.Repeat("\x00", 64<<20)
	var d ws.Deflater
	bomb := deflated(&d, bin, zeros, 1)
	bombInParts := deflated(&d, bin, zeros[:1<<20], 7)
	huge := "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"
	within := frame(bin&^fin, prose(60_000)) + frame(cont, prose(40_000)) + frame(cont|fin, "")
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{
			Handler: rec, MaxMessage: 100_000, MaxFrame: 60_000, Compression: &websocket.Compression{},
		})
		for name, sent := range map[string]string{
			"a long frame":                frame(bin, prose(60_001))[:8],
			"a huge frame":                huge,
			"two that would not overflow": frame(bin&^fin, "x") + "\x80" + huge[1:],
			"many frames":                 frame(bin&^fin, prose(60_000)) + frame(cont|fin, prose(40_001))[:10],
			"a bomb":                      bomb[:30_000], // what is announced is too much already
			"a bomb in parts":             bombInParts,
			"a small one above the limit": deflated(&d, text, prose(100_001), 1),
		} {
			c := st.open("Sec-WebSocket-Extensions: permessage-deflate")
			before := allocated()
			go func() { _, _ = io.WriteString(c, sent) }() // it may be cut short
			first, p, err := c.next()
			for first == pong && err == nil {
				first, p, err = c.next()
			}
			if err != nil || first != closing || p[:2] != closePayload(1009, "") {
				t.Errorf("%s: answered with %#x %q, %v; want a Close frame with 1009", name, first, p, err)
			}
			if n := allocated() - before; n > 8<<20 {
				t.Errorf("%s: %d bytes were allocated", name, n)
			}
			_ = c.Close()
			var e *ws.Error
			if err := rec.end(); !errors.As(err, &e) || e.Status != websocket.MessageTooBig {
				t.Errorf("%s: OnClose(%v)", name, err)
			}
		}
		rec.forget()
		c := st.open("Sec-WebSocket-Extensions: permessage-deflate")
		c.send(within, deflated(&d, text, prose(100_000), 3))
		rec.expect(said(websocket.Binary, prose(60_000)+prose(40_000)), "ping ", "ping ", said(websocket.Text, prose(100_000)))
		_ = c.Close()
	})
}

// allocated is how many bytes the process has ever allocated.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestABombIsNotInflatedBeyondTheLimit(t *testing.T) {
	var d ws.Deflater
	bomb := deflated(&d, bin, strings.Repeat("\x00", 64<<20), 1)
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, MaxMessage: 128 << 10, Compression: &websocket.Compression{Params: params(true, 0)}})
		c := st.open("Sec-WebSocket-Extensions: permessage-deflate")
		before := allocated()
		c.send(bomb)
		c.expectClose(1009)
		if n := allocated() - before; n > 4<<20 {
			t.Errorf("%d bytes were allocated for %d that inflate to 64 MiB", n, len(bomb))
		}
		if err := rec.end(); websocket.CloseStatus(err) != 1009 {
			t.Errorf("OnClose(%v)", err)
		}
	})
}

func TestAMessageInPartsIsNotCopiedForEveryPart(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec, MaxMessage: 8 << 20})
		c := st.open()
		message := prose(4 << 20)
		sent := frame(bin&^fin, message[:1<<20]) + frame(cont, message[1<<20:2<<20]) + frame(cont|fin, message[2<<20:])
		before := allocated()
		c.send(sent)
		rec.expect(said(websocket.Binary, message))
		if n := allocated() - before; n > 10*uint64(len(message)) { // those it grew from, and the test's own
			t.Errorf("%d bytes were allocated for %d", n, len(message))
		}
		c.bye()
	})
}

func TestAPartHandlerHearsPartsAsTheyCome(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		parts := make(chan string, 1000)
		h := &partial{recorder: newRecorder(t), parts: parts}
		st := w.serve(t, &websocket.Server{Handler: h, MaxMessage: 1 << 40, MaxFrame: 1 << 40, Compression: &websocket.Compression{}})
		c := st.open("Sec-WebSocket-Extensions: permessage-deflate")
		next := func(want ...string) {
			t.Helper()
			for _, want := range want {
				if got := receive(t, "a part", parts); got != want {
					t.Fatalf("the part is %.100q, want %.100q", got, want)
				}
			}
		}
		whole := frame(text, prose(100))
		c.send(whole[:20])
		next("text false " + prose(14))
		c.send(whole[20:])
		next("text true " + prose(100)[14:])
		c.send(frame(bin, ""), frame(text, "one"), frame(bin&^fin, ""), frame(ping, "p"), frame(cont, "a"), frame(cont, ""), frame(cont|fin, ""))
		next("binary true ", "text true one", "binary false a", "binary true ")
		c.expect(pong, "p")
		var d ws.Deflater
		c.send(deflated(&d, text, prose(1000), 3))
		next("text true " + prose(1000))
		c.expect(pong, "")
		c.expect(pong, "")
		const long = 5 << 20
		go c.send(frame(bin, pattern(long)))
		for got := ""; ; {
			p := receive(t, "a part", parts)
			last, data := strings.HasPrefix(p, "binary true "), p[strings.Index(p, "e ")+2:]
			if got += data; last {
				if got != pattern(long) {
					t.Error("a long message came otherwise")
				}
				break
			}
		}
		c.send(frame(text&^fin, "\xe2\x82"), frame(cont, "x"))
		next("text false \xe2\x82")
		c.expectClose(1007)
		if n := len(parts); n > 0 {
			t.Errorf("%d more parts", n)
		}
		if in := st.Stats().MessagesIn; in != 6 {
			t.Errorf("%d messages were counted, want 6", in)
		}
	})
}

// partial is a recorder that is a PartHandler.
type partial struct {
	*recorder
	parts chan string
}

func (p *partial) OnPart(_ *websocket.Conn, op websocket.Opcode, data []byte, last bool) {
	p.parts <- fmt.Sprintf("%v %v %s", op, last, data)
	clear(data)
}

func TestManyMessagesInPiecesOfAnySizeComeInOrder(t *testing.T) {
	eachWorld(t, func(t *testing.T, w *world) {
		rec := newRecorder(t)
		st := w.serve(t, &websocket.Server{Handler: rec})
		random := rand.New(rand.NewPCG(1, 2))
		var all strings.Builder
		var want []string
		for i := range 3000 {
			m := fmt.Sprint(i, " ", prose(random.IntN(1<<random.IntN(13))))
			want = append(want, said(websocket.Text, m))
			cut := random.IntN(len(m))
			if random.IntN(3) > 0 {
				all.WriteString(frame(text, m))
			} else {
				all.WriteString(frame(text&^fin, m[:cut]) + frame(cont|fin, m[cut:]))
			}
		}
		c := st.open()
		for s := all.String(); s != ""; {
			n := min(len(s), 1+random.IntN(1<<(1+random.IntN(17))))
			c.send(s[:n])
			s = s[n:]
		}
		rec.expect(want...)
		_ = c.Close()
	})
}
