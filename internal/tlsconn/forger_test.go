package tlsconn

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"net"
	"sync"
	"testing"
)

// Types of records, and of the messages in those of handshakeType.
const (
	alertType       = 21
	dataType        = 23
	newTicketType   = 4
	keyUpdateType   = 24
	warningLevel    = 1
	closeNotify     = 0
	userCanceled    = 90
	noSuchAlert     = 41
	finishedRecords = 1 // what TLS 1.2 has encrypted when the handshake is over
)

// forger makes the records of a peer for it, because crypto/tls sends no KeyUpdate,
// no empty record and no warning. The peer itself must not send any more.
type forger struct {
	t       testing.TB
	version uint16
	hash    func() hash.Hash
	keySize int
	secret  []byte // of TLS 1.3
	aead    cipher.AEAD
	iv      []byte
	seq     uint64
	out     []byte // the records so far
}

// tap keeps what went over a connection, and the secrets.
type tap struct {
	net.Conn
	mu           sync.Mutex
	read, logged []byte
	wrote        []byte
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	c.read = append(c.read, p[:n]...)
	c.mu.Unlock()
	return n, err
}

func (c *tap) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.wrote = append(c.wrote, p...)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// keyLog is a tls.Config's KeyLogWriter.
type keyLog struct{ *tap }

func (l keyLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.logged = append(l.logged, p...)
	l.mu.Unlock()
	return len(p), nil
}

// logged returns the last secret of that name, and the client's random number.
func (c *tap) secret(t testing.TB, name string) (secret, random []byte) {
	for line := range bytes.Lines(c.logged) {
		if words := bytes.Fields(line); len(words) == 3 && string(words[0]) == name {
			random, secret = must(hex.DecodeString(string(words[1]))), must(hex.DecodeString(string(words[2])))
		}
	}
	if secret == nil {
		t.Fatalf("no %s in %s", name, c.logged)
	}
	return secret, random
}

// forge opens a session whose peer's records can be made by hand. cache is the
// client's; the server sends no tickets of its own.
func forge(t testing.TB, version uint16, client bool, cache tls.ClientSessionCache) (*rig, *tls.Conn, *forger) {
	t.Helper()
	sh := shape{version, "ecdsa", client, "no tickets"}
	server, clientCfg := sh.configs(t)
	clientCfg.ClientSessionCache = cache
	server.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256} // of TLS 1.2
	r := newRig(t, "whole")
	wire := &tap{Conn: r.peer}
	name, far := "CLIENT_TRAFFIC_SECRET_0", (*tls.Conn)(nil)
	if client {
		name = "SERVER_TRAFFIC_SECRET_0"
		server.KeyLogWriter = keyLog{wire}
		r.layer.Begin(id, 0, clientCfg, true)
		far = tls.Server(wire, server)
	} else {
		clientCfg.KeyLogWriter = keyLog{wire}
		r.layer.Begin(id, 0, server, false)
		far = tls.Client(wire, clientCfg)
	}
	r.handshake(far)
	f := &forger{t: t, version: version, hash: sha256.New, keySize: 16}
	if version == tls.VersionTLS12 {
		hello := wire.read
		if client {
			hello = wire.wrote
		}
		f.keys12(wire, hello, client)
		return r, far, f
	}
	switch suite := far.ConnectionState().CipherSuite; suite {
	case tls.TLS_AES_128_GCM_SHA256:
	case tls.TLS_AES_256_GCM_SHA384:
		f.hash, f.keySize = sha512.New384, 32
	default:
		t.Skipf("records of %s cannot be made here", tls.CipherSuiteName(suite))
	}
	secret, _ := wire.secret(t, name)
	f.keys13(secret)
	return r, far, f
}

func newGCM(key []byte) cipher.AEAD { return must(cipher.NewGCM(must(aes.NewCipher(key)))) }

// keys13 uses a secret of TLS 1.3 from now on.
func (f *forger) keys13(secret []byte) {
	f.secret, f.seq = secret, 0
	f.aead, f.iv = newGCM(f.expand("key", f.keySize)), f.expand("iv", 12)
}

// expand is HKDF-Expand-Label, of RFC 8446, section 7.1, without a context.
func (f *forger) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := string(binary.BigEndian.AppendUint16(nil, uint16(n))) + string(rune(len(label))) + label + "\x00"
	return must(hkdf.Expand(f.hash, f.secret, info, n))
}

// keys12 derives the keys of TLS 1.2: RFC 5246, section 6.3. serverFlight begins
// with the server's hello.
func (f *forger) keys12(wire *tap, serverFlight []byte, serverKeys bool) {
	secret, clientRandom := wire.secret(f.t, "CLIENT_RANDOM")
	const inHello = headerSize + 4 + 2 // the message's header, the version
	seed := append([]byte("key expansion"), serverFlight[inHello:inHello+32]...)
	seed = append(seed, clientRandom...)
	mac := func(p ...[]byte) []byte {
		h := hmac.New(f.hash, secret)
		h.Write(bytes.Join(p, nil))
		return h.Sum(nil)
	}
	var block []byte
	for a := mac(seed); len(block) < 2*16+2*4; a = mac(a) {
		block = append(block, mac(a, seed)...)
	}
	key, iv := block[:16], block[32:36]
	if serverKeys {
		key, iv = block[16:32], block[36:40]
	}
	f.aead, f.iv, f.seq = newGCM(key), iv, finishedRecords
}

// record adds one record.
func (f *forger) record(kind byte, content []byte) {
	if f.version == tls.VersionTLS12 {
		f.record12(kind, content)
		return
	}
	nonce := bytes.Clone(f.iv)
	for i := range 8 {
		nonce[len(nonce)-1-i] ^= byte(f.seq >> (8 * i))
	}
	f.seq++
	header := []byte{dataType, 3, 3, 0, 0}
	inner := append(bytes.Clone(content), kind)
	binary.BigEndian.PutUint16(header[3:], uint16(len(inner)+f.aead.Overhead()))
	f.out = append(f.out, f.aead.Seal(header, nonce, inner, header)...)
}

func (f *forger) record12(kind byte, content []byte) {
	seq := binary.BigEndian.AppendUint64(nil, f.seq)
	f.seq++
	size := binary.BigEndian.AppendUint16(nil, uint16(len(content)))
	sealed := f.aead.Seal(nil, append(bytes.Clone(f.iv), seq...), content, append(append(bytes.Clone(seq), kind, 3, 3), size...))
	f.out = append(f.out, kind, 3, 3)
	f.out = binary.BigEndian.AppendUint16(f.out, uint16(len(seq)+len(sealed)))
	f.out = append(append(f.out, seq...), sealed...)
}

// message adds a message of the handshake in records of up to n bytes.
func (f *forger) message(kind byte, body []byte, n int) {
	p := append([]byte{kind, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	for ; len(p) > n; p = p[n:] {
		f.record(handshakeType, p[:n])
	}
	f.record(handshakeType, p)
}

// keyUpdate adds the announcement of new keys, in records of up to n bytes, and
// uses these from then on.
func (f *forger) keyUpdate(request bool, n int) {
	body := []byte{0}
	if request {
		body[0] = 1
	}
	f.message(keyUpdateType, body, n)
	f.keys13(f.expand("traffic upd", f.hash().Size()))
}

// ticket adds a ticket, in records of up to n bytes.
func (f *forger) ticket(n int) {
	lifetime, ageAdd := []byte{0, 0, 1, 0}, []byte{1, 2, 3, 4}
	nonce, label, extensions := []byte{1, 7}, append([]byte{0, 20}, noise(20)...), []byte{0, 0}
	f.message(newTicketType, bytes.Join([][]byte{lifetime, ageAdd, nonce, label, extensions}, nil), n)
}

// take returns the records, which are not to be sent again.
func (f *forger) take() []byte {
	out := f.out
	f.out = nil
	return out
}
