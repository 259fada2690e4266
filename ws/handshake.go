package ws

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"strings"
)

// Version is the only value of Sec-WebSocket-Version (RFC 6455 4.1).
const Version = "13"

// magic is what Sec-WebSocket-Accept proves knowledge of (RFC 6455 1.3).
const magic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

const (
	keyBytes   = 16 // that Sec-WebSocket-Key encodes
	acceptSize = 28 // of Sec-WebSocket-Accept
)

// NewKey returns a value for Sec-WebSocket-Key: 16 random bytes in base64.
func NewKey() string {
	var nonce [keyBytes]byte
	_, _ = rand.Read(nonce[:]) // never fails
	return base64.StdEncoding.EncodeToString(nonce[:])
}

// ValidKey reports whether key may be a Sec-WebSocket-Key: 16 bytes in base64.
func ValidKey(key string) bool {
	var nonce [keyBytes + 2]byte
	if len(key) != base64.StdEncoding.EncodedLen(keyBytes) {
		return false
	}
	n, err := base64.StdEncoding.Decode(nonce[:], []byte(key))
	return err == nil && n == keyBytes
}

// AcceptKey returns the value of Sec-WebSocket-Accept that answers a
// Sec-WebSocket-Key (RFC 6455 4.2.2).
func AcceptKey(key string) string {
	var accept [acceptSize]byte
	sum := sha1.Sum([]byte(key + magic))
	base64.StdEncoding.Encode(accept[:], sum[:])
	return string(accept[:])
}

// HasToken reports whether a field's value, a list with commas, has a token, in
// whatever case.
func HasToken(list, token string) bool {
	for item := range strings.SplitSeq(list, ",") {
		if isToken(strings.Trim(item, " \t"), token) {
			return true
		}
	}
	return false
}

// isToken reports whether s is token, in whatever case. Only ASCII has cases here:
// what else folds into it is longer.
func isToken(s, token string) bool {
	return len(s) == len(token) && strings.EqualFold(s, token)
}
