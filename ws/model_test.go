package ws_test

import (
	"fmt"
	"math/big"
	"strings"

	"github.com/sluice-go/sluice/ws"
)

// model is what RFC 6455 and RFC 7692 say of a stream, all of whose bytes are
// there, frame by frame.
type model struct {
	source
	pos     int // of the next byte
	seen    []string
	op      byte // of the message under way, 0 if there is none
	comp    bool
	open    bool // some of it is there
	message string
	size    *big.Int // of the message, as announced
	part    bool     // the stream ends within a frame
	refused ws.Status
	at      int // bytes until it is refused
}

func newModel(s source) *model {
	m := &model{source: s}
	for m.pos < len(m.bytes) && m.refused == 0 && !m.part {
		m.frame()
	}
	return m
}

// outcome is what reading.outcome returns, without the reason of a refusal.
func (m *model) outcome() string {
	all := m.seen
	switch {
	case m.refused != 0:
		all = append(all, fmt.Sprintf("%d at %d", m.refused, m.at))
	case m.open:
		all = append(all, fmt.Sprintf("%s %q...", m.name(m.op), m.message))
	case m.part || m.op != 0:
		all = append(all, "...")
	}
	return strings.Join(all, "; ")
}

func (m *model) name(op byte) string {
	name := map[byte]string{1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}[op]
	if m.comp && op < 8 {
		name += "*"
	}
	return name
}

// refuse refuses the stream at its byte i.
func (m *model) refuse(s ws.Status, i int) { m.refused, m.at = s, i }

// firstByte reports whether a frame may begin with a byte.
func (m *model) firstByte(b byte) bool {
	op, isFin := b&15, b&fin != 0
	switch {
	case b&(rsv2|rsv3) != 0:
		return false
	case op == 0:
		return m.op != 0 && b&rsv1 == 0
	case op == 1 || op == 2:
		return m.op == 0 && (b&rsv1 == 0 || m.deflate)
	case op >= 8 && op <= 10:
		return isFin && b&rsv1 == 0
	}
	return false
}

// frame reads a frame, or what there is of it.
func (m *model) frame() {
	in := m.bytes[m.pos:]
	op, isFin := in[0]&15, in[0]&fin != 0
	if !m.firstByte(in[0]) {
		m.refuse(ws.ProtocolError, m.pos+1)
		return
	}
	if m.part = len(in) < 2; m.part {
		return
	}
	masked, short := in[1] >= 128, int(in[1]%128)
	if masked != (m.role == ws.FromClient) || op >= 8 && short > 125 {
		m.refuse(ws.ProtocolError, m.pos+2)
		return
	}
	more := map[int]int{126: 2, 127: 8}[short]
	head := 2 + more
	if masked {
		head += 4
	}
	if m.part = len(in) < head; m.part {
		return
	}
	length := big.NewInt(int64(short))
	if more > 0 {
		length.SetBytes([]byte(in[2 : 2+more]))
		if least := map[int]int64{2: 126, 8: 65536}[more]; length.Cmp(big.NewInt(least)) < 0 || length.BitLen() > 63 {
			m.refuse(ws.ProtocolError, m.pos+head)
			return
		}
	}
	if op == 1 || op == 2 {
		m.op, m.comp, m.open, m.message, m.size = op, in[0]&rsv1 != 0, false, "", new(big.Int)
	}
	if op < 8 && m.tooBig(length) {
		m.refuse(ws.MessageTooBig, m.pos+head)
		return
	}
	payload, whole := in[head:], false
	if length.Cmp(big.NewInt(int64(len(payload)))) <= 0 {
		payload, whole = payload[:length.Int64()], true
	}
	plain := []byte(payload)
	for i := range plain {
		if masked {
			plain[i] ^= in[head-4+i%4]
		}
	}
	m.pos += head
	m.part = !whole
	if op >= 8 {
		if whole {
			m.seen = append(m.seen, fmt.Sprintf("%s %q", m.name(op), plain))
		}
	} else {
		m.data(string(plain), whole, isFin)
	}
	m.pos += len(plain)
}

// tooBig adds a frame of the message under way and reports whether it breaks a
// limit.
func (m *model) tooBig(length *big.Int) bool {
	m.size.Add(m.size, length)
	limit := m.limits.Message
	if m.comp && limit > 0 && limit < 1<<62 {
		limit += limit/64 + 128
	}
	return m.limits.Frame > 0 && length.Cmp(big.NewInt(m.limits.Frame)) > 0 ||
		limit > 0 && m.size.Cmp(big.NewInt(limit)) > 0 || m.size.BitLen() > 63
}

// data takes payload that begins at m.pos.
func (m *model) data(plain string, whole, isFin bool) {
	before := len(m.message)
	m.message += plain
	m.open = m.open || whole || plain != ""
	last := whole && isFin
	if m.op == 1 && !m.comp {
		if n, cut := refusedAt(m.message); n >= 0 && (!cut || last) {
			m.refuse(ws.InvalidPayload, m.pos+n-before)
			return
		}
	}
	if last {
		m.seen = append(m.seen, fmt.Sprintf("%s %q", m.name(m.op), m.message))
		m.op, m.open = 0, false
	}
}
