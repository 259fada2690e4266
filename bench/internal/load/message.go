package load

import (
	"bytes"
	"encoding/binary"
)

// headerSize is the beginning of a message, in bytes: connection and sequence
// number, four bytes each.
const headerSize = 8

// The body of a message is a window of one block; these are the places that it
// may begin at. They make bodies of different connections differ.
const (
	windows    = 512
	windowStep = 8 // bytes
)

// maxFrame bounds what a protocol puts before a message, in bytes.
const maxFrame = 14

// messages makes the messages that are sent and that replies are compared
// with, without a copy: frame and header are put over the block, just before
// and over the beginning of the window, while the message is on loan.
type messages struct {
	block  []byte // masked
	frame  []byte // what the protocol puts before every message
	mask   uint32 // what every four bytes of a message are combined with by xor
	size   int    // bytes of frame and message
	first  uint32 // number of connection 0 among those of all client processes
	lent   []byte
	hidden [maxFrame + headerSize]byte // what is put over in lent
}

func newMessages(cfg Config) *messages { return newFramed(cfg, nil, 0) }

// newFramed returns messages that have frame before them and are masked.
func newFramed(cfg Config, frame []byte, mask uint32) *messages {
	m := &messages{
		block: make([]byte, len(frame)+cfg.Size+windows*windowStep),
		frame: frame,
		mask:  mask,
		size:  len(frame) + cfg.Size,
		first: uint32(cfg.First),
	}
	state := uint64(0x9e3779b97f4a7c15)
	for i := range m.block[len(frame):] { // xorshift: bytes that no server would make up
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		m.block[len(frame)+i] = byte(state>>32) ^ byte(mask>>(i%4*8))
	}
	return m
}

// lend returns message number seq of connection conn until giveBack is called,
// which is to be done before the next message is lent.
func (m *messages) lend(conn, seq uint32) []byte {
	conn += m.first
	start := (conn*37 + seq*11) % windows * windowStep
	m.lent = m.block[start : int(start)+m.size]
	covered := len(m.frame) + headerSize
	copy(m.hidden[:covered], m.lent)
	header := m.lent[copy(m.lent, m.frame):]
	binary.LittleEndian.PutUint32(header, conn^m.mask)
	binary.LittleEndian.PutUint32(header[4:], seq^m.mask)
	return m.lent
}

func (m *messages) giveBack() {
	copy(m.lent, m.hidden[:len(m.frame)+headerSize])
	m.lent = nil
}

func (m *messages) answerSize() int { return m.size }

func (m *messages) owed(sent int) int { return sent }

func (m *messages) right(conn, seq uint32, received int, got []byte) bool {
	same := bytes.Equal(got, m.lend(conn, seq)[received:received+len(got)])
	m.giveBack()
	return same
}
