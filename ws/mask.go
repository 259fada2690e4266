package ws

import (
	"encoding/binary"
	"math/bits"
)

// Mask masks or unmasks p in place (RFC 6455 5.3), whose first byte is that at
// offset pos of its payload.
func Mask(key uint32, pos int, p []byte) {
	key = bits.RotateLeft32(key, -8*(pos&3))
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 64 {
		q := p[:64:64]
		for i := 0; i < 64; i += 8 {
			binary.LittleEndian.PutUint64(q[i:], binary.LittleEndian.Uint64(q[i:])^wide)
		}
		p = p[64:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(key)
		key = bits.RotateLeft32(key, -8)
	}
}
