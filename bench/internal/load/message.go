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

// messages makes the messages that are sent and that replies are compared
// with, without a copy: the header is put over the beginning of the window
// while the message is on loan.
type messages struct {
	block  []byte
	size   int
	first  uint32 // number of connection 0 among those of all client processes
	lent   []byte
	hidden [headerSize]byte // what the header of lent covers
}

func newMessages(size, first int) *messages {
	m := &messages{block: make([]byte, size+windows*windowStep), size: size, first: uint32(first)}
	state := uint64(0x9e3779b97f4a7c15)
	for i := range m.block { // xorshift: bytes that no server would make up
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		m.block[i] = byte(state >> 32)
	}
	return m
}

// lend returns message number seq of connection conn until giveBack is called,
// which is to be done before the next message is lent.
func (m *messages) lend(conn, seq uint32) []byte {
	conn += m.first
	start := (conn*37 + seq*11) % windows * windowStep
	m.lent = m.block[start : int(start)+m.size]
	copy(m.hidden[:], m.lent)
	binary.LittleEndian.PutUint32(m.lent, conn)
	binary.LittleEndian.PutUint32(m.lent[4:], seq)
	return m.lent
}

func (m *messages) giveBack() {
	copy(m.lent, m.hidden[:])
	m.lent = nil
}

func (m *messages) answerSize() int { return m.size }

func (m *messages) owed(sent int) int { return sent }

func (m *messages) right(conn, seq uint32, received int, got []byte) bool {
	same := bytes.Equal(got, m.lend(conn, seq)[received:received+len(got)])
	m.giveBack()
	return same
}
