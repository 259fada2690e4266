package tlsconn

const (
	headerSize    = 5               // of a record: type, version, length (RFC 8446, section 5.1)
	plainMax      = 16 << 10        // the most that one record carries
	bodyMax       = plainMax + 2048 // the most that its length may say in TLS 1.2; less in 1.3
	handshakeType = 22
)

// recordLen returns the length of the record that p begins with, header included,
// or 0 if p is too short to tell.
func recordLen(p []byte) int {
	if len(p) < headerSize {
		return 0
	}
	return headerSize + (int(p[3])<<8 | int(p[4]))
}

// whole returns how many bytes at the front of p are complete records. One that is
// too long counts as far as it is there: crypto/tls refuses it by its header.
func whole(p []byte) (n int) {
	for {
		size := recordLen(p[n:])
		if size > headerSize+bodyMax {
			return len(p)
		}
		if size == 0 || size > len(p)-n {
			return n
		}
		n += size
	}
}

// begins reports whether p is enough for a server to begin a handshake: a whole
// record, or what cannot become one, of which crypto/tls says what is wrong.
func begins(p []byte) bool {
	if len(p) > 0 && p[0] != handshakeType || len(p) > 1 && p[1] != 3 {
		return len(p) >= headerSize // crypto/tls shows them to whoever asks what it was
	}
	size := recordLen(p)
	return size > headerSize+bodyMax || size > 0 && len(p) >= size
}

// framer cuts what is handed out at the end of each header and each record, so
// that whoever reads never takes bytes of a record that it does not need yet.
type framer struct {
	header [headerSize]byte
	have   int // of header
	left   int // of the record's body
}

// cut returns how many of p's bytes may be handed out together.
func (f *framer) cut(p []byte) int {
	if f.left > 0 {
		n := min(f.left, len(p))
		f.left -= n
		return n
	}
	n := copy(f.header[f.have:], p)
	if f.have += n; f.have == headerSize {
		f.have, f.left = 0, recordLen(f.header[:])-headerSize
	}
	return n
}
