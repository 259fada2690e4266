package websocket_test

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/sluice-go/sluice"
	"github.com/sluice-go/sluice/websocket"
	"github.com/sluice-go/sluice/ws"
)

// The limits of the server that is given random frames.
const (
	fuzzFrame   = 1500
	fuzzMessage = 2000
)

// sentFrame is a frame as the model sees it.
type sentFrame struct {
	first    byte
	payload  string
	unmasked bool
	form     int    // of the length, in bytes: 0 is the shortest
	inflated string // with RSV1 in a message's first frame: what the whole message is
}

// bytes is what is sent of it.
func (f sentFrame) bytes() string {
	s := frame(f.first, f.payload)
	if f.unmasked {
		s = plain(f.first, f.payload)
	}
	if n := len(f.payload); f.form == 2 && n < 126 {
		s = s[:1] + string([]byte{s[1]&0x80 | 126, 0, byte(n)}) + s[2:]
	} else if f.form == 8 && n < 126 {
		s = s[:1] + string([]byte{s[1]&0x80 | 127, 0, 0, 0, 0, 0, 0, 0, byte(n)}) + s[2:]
	}
	return s
}

// model is a server that does the simplest thing that is right.
type model struct {
	answers  strings.Builder // all that it sends
	over     bool            // true exactly when it has sent a Close frame
	op       byte            // of the message under way, 0 between messages
	message  string
	inflated *string // of the message under way, if it is compressed
}

// fail closes with a code.
func (m *model) fail(status websocket.Status) {
	m.answers.WriteString("close " + fmt.Sprint(int(status)) + "\n")
	m.over = true
}

// take takes a frame (RFC 6455 5).
func (m *model) take(f sentFrame) {
	op, last, n := f.first&0xf, f.first&fin != 0, len(f.payload)
	control := op >= 8
	switch {
	case f.first&0x30 != 0, op > 2 && op < 8, op > 10, // what is reserved
		f.unmasked, f.form != 0 && n < 126,
		control && (!last || n > 125 || f.first&rsv1 != 0),
		op == cont && m.op == 0, !control && op != cont && m.op != 0,
		op == cont && f.first&rsv1 != 0:
		m.fail(1002)
	case op == closing&0xf:
		m.close(f.payload)
	case op == ping&0xf:
		fmt.Fprintf(&m.answers, "%#x %q\n", pong, f.payload)
	case op == pong&0xf:
	case n > fuzzFrame || len(m.message)+n > fuzzMessage:
		m.fail(1009)
	default:
		m.data(op, last, f)
	}
}

// data takes a frame of a message that is within the limits.
func (m *model) data(op byte, last bool, f sentFrame) {
	if op != cont {
		m.op = op
		if f.first&rsv1 != 0 {
			m.inflated = &f.inflated
		}
	}
	m.message += f.payload
	whole := m.message
	switch {
	case m.inflated != nil && !last:
		return
	case m.inflated != nil:
		if whole = *m.inflated; len(whole) > fuzzMessage {
			m.fail(1009)
			return
		}
	}
	if m.op == 1 && (last && !utf8.ValidString(whole) || !beginsUTF8(whole)) {
		m.fail(1007)
		return
	}
	if last {
		fmt.Fprintf(&m.answers, "%#x %q\n", m.op|fin, whole)
		m.op, m.message, m.inflated = 0, "", nil
	}
}

// beginsUTF8 reports whether s can be the beginning of UTF-8.
func beginsUTF8(s string) bool {
	for k := range min(len(s), 3) + 1 {
		if tail := s[len(s)-k:]; utf8.ValidString(s[:len(s)-k]) && (k == 0 || !utf8.FullRuneInString(tail)) {
			return true
		}
	}
	return false
}

// close takes a Close frame (RFC 6455 5.5.1).
func (m *model) close(p string) {
	if p == "" {
		m.fail(1005)
		return
	}
	status := 0
	if len(p) > 1 {
		status = int(p[0])<<8 | int(p[1])
	}
	switch {
	case len(p) == 1, status < 1000, status > 4999, status >= 1004 && status <= 1006, status >= 1015 && status < 3000:
		m.fail(1002)
	case !utf8.ValidString(p[2:]):
		m.fail(1007)
	default:
		m.fail(websocket.Status(status))
	}
}

// dice makes random frames of bytes; when they are used up, it throws zeros.
type dice struct {
	rest []byte
	d    ws.Deflater
}

func (d *dice) throw(sides int) int {
	if len(d.rest) == 0 {
		return 0
	}
	v := int(d.rest[0]) % sides
	d.rest = d.rest[1:]
	return v
}

// payload makes one that is mostly text.
func (d *dice) payload(most int) string {
	n := d.throw(256)
	if d.throw(4) == 0 {
		n *= 8
	}
	s := strings.Repeat("h\u00e9 \u20ac\U0001f600.", n/11+1)
	at := d.throw(11)
	s = (s + s)[at : at+n]
	switch d.throw(80) {
	case 0: // as it is cut, perhaps within a rune
	case 1:
		s += "\xff"
	default:
		for !utf8.ValidString(s) && s != "" {
			_, size := utf8.DecodeRuneInString(s)
			if r, _ := utf8.DecodeRuneInString(s); r == utf8.RuneError {
				s = s[size:]
			} else {
				_, size = utf8.DecodeLastRuneInString(s)
				s = s[:len(s)-size]
			}
		}
	}
	return s[:min(len(s), most)]
}

// frames makes a message in frames, with control frames between them, or something
// that is wrong.
func (d *dice) frames() (all []sentFrame) {
	op := byte(1 + d.throw(2))
	message := d.payload(4000)
	first, inflated := op, ""
	if d.throw(3) == 0 {
		first, inflated = op|rsv1, message
		message = string(d.d.Append(nil, []byte(message)))
	}
	for n := 1 + d.throw(4); n > 0; n-- {
		cut := len(message)
		if n > 1 {
			cut = min(cut, d.throw(256)*(1+cut/256))
		} else {
			first |= fin
		}
		all = append(all, sentFrame{first: first, payload: message[:cut], inflated: inflated})
		message, first = message[cut:], cont
		if d.throw(4) == 0 {
			all = append(all, sentFrame{first: []byte{ping, pong}[d.throw(2)], payload: d.payload(125)})
		}
	}
	switch d.throw(150) {
	case 1:
		status := []int{1000, 1001, 1005, 999, 3000, 4999, 5000, 1015}[d.throw(8)]
		all = append(all, sentFrame{first: closing, payload: closePayload(websocket.Status(status), d.payload(123))})
	case 2:
		all = append(all, sentFrame{first: closing, payload: d.payload(1)})
	case 3:
		f := &all[d.throw(len(all))]
		f.unmasked = true
	case 4:
		f := &all[d.throw(len(all))]
		f.form = 2 << (2 * d.throw(2))
	case 5:
		f := &all[d.throw(len(all))]
		if f.first ^= 1 << d.throw(8); f.first&0x4f == rsv1|0x1 || f.first&0x4f == rsv1|0x2 {
			f.first = 0x83 // the model inflates nothing by itself
		}
	}
	return all
}

// fuzzed is a server for random frames.
type fuzzed struct{ addr net.Addr }

// serveFuzzed starts it; w says on what.
func serveFuzzed(t testing.TB, driver string) *fuzzed {
	eng, err := sluice.New(sluice.Config{Driver: driver, Loops: 1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	s := &websocket.Server{
		MaxMessage: fuzzMessage, MaxFrame: fuzzFrame, Compression: &websocket.Compression{Threshold: 1 << 20, Params: params(true, 0)},
		Handler: websocket.Funcs{Message: func(c *websocket.Conn, op websocket.Opcode, data []byte) {
			_ = c.WriteMessage(op, data)
			switch len(data) % 5 {
			case 1:
				_ = c.PauseRead()
				go func() { _ = c.ResumeRead() }()
			case 2:
				_ = c.PauseRead()
				_, _ = c.AfterFunc(0, func(c *websocket.Conn) { _ = c.ResumeRead() })
			}
			clear(data)
		}},
	}
	ln, err := eng.Listen("unix", filepath.Join(t.TempDir(), "s"), s.Protocol())
	if err != nil {
		t.Fatal(err)
	}
	return &fuzzed{ln.Addr()}
}

// try sends frames that are made of input, in pieces, and compares the answers.
func (s *fuzzed) try(t *testing.T, input []byte) {
	t.Helper()
	d := &dice{rest: input, d: ws.Deflater{Side: ws.Side{Takeover: true}}}
	random := rand.New(rand.NewPCG(uint64(d.throw(256)), uint64(len(input))))
	var m model
	var sent strings.Builder
	for len(d.rest) > 0 && sent.Len() < 100_000 {
		for _, f := range d.frames() {
			if !m.over {
				m.take(f)
			}
			sent.WriteString(f.bytes())
		}
	}
	conn, err := net.Dial(s.addr.Network(), s.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(bound))
	c := &client{conn, t, reader(conn)}
	all := hello("Sec-WebSocket-Extensions: "+params(true, 0).Offer()) + sent.String()
	go func() {
		for rest := all; rest != ""; {
			n := min(len(rest), 1+random.IntN(1<<random.IntN(14)))
			if _, err := io.WriteString(conn, rest[:n]); err != nil {
				return // it was refused
			}
			rest = rest[n:]
		}
		_ = conn.(*net.UnixConn).CloseWrite()
	}()
	c.switched()
	var got strings.Builder
	for {
		first, p, err := c.next()
		switch {
		case err == io.EOF || err != nil && m.over: // a Unix socket tells at once of what was not read
		case err != nil:
			t.Fatalf("%v after\n%s", err, got.String())
		case first == closing && p == "":
			got.WriteString("close 1005\n")
			continue
		case first == closing:
			fmt.Fprintf(&got, "close %d\n", int(p[0])<<8|int(p[1]))
			continue
		default:
			fmt.Fprintf(&got, "%#x %q\n", first, p)
			continue
		}
		break
	}
	if got.String() != m.answers.String() {
		t.Fatalf("the answers are\n%s, want\n%s", got.String(), m.answers.String())
	}
}

func TestRandomFramesAreAnsweredAsByTheModel(t *testing.T) {
	eachDriver(t, func(t *testing.T, w *world) {
		s := serveFuzzed(t, w.driver)
		for seed := range uint64(80) {
			random := rand.New(rand.NewPCG(seed, 1))
			input := make([]byte, 10+random.IntN(1000))
			for i := range input {
				input[i] = byte(random.Uint32())
			}
			s.try(t, input)
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

func FuzzConn(f *testing.F) {
	for seed := range uint64(20) {
		random := rand.New(rand.NewPCG(seed, 2))
		input := make([]byte, 20+40*seed)
		for i := range input {
			input[i] = byte(random.Uint32())
		}
		f.Add(input)
	}
	s := serveFuzzed(f, "")
	f.Fuzz(func(t *testing.T, input []byte) { s.try(t, input) })
}
