package load

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What opens a WebSocket connection, from RFC 6455. Key and mask are always
// the same: they protect from proxies, of which there are none here.
const (
	upgrade = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + upgradeKey + "\r\n\r\n"
	upgradeKey  = "dGhlIHNhbXBsZSBub25jZQ=="
	upgradeGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	maskKey     = 0xe15b279d
	maskSize    = 4 // bytes
	// maxUpgraded bounds the answer to upgrade, in bytes.
	maxUpgraded = 4 << 10
)

// frames is the dialogue with a WebSocket server: a masked binary frame for
// each message, and the same message in an unmasked frame back. The server is
// to send no other frame, a ping included, but for its greeting.
type frames struct {
	*messages   // as they are sent
	answers     *messages
	greeting    []byte // what follows the answer to upgrade
	upgraded    []byte // the last answer to upgrade that was right
	upgradeRead [maxUpgraded]byte
}

func newFrames(cfg Config) *frames {
	mask := binary.LittleEndian.AppendUint32(nil, maskKey)
	f := &frames{
		messages: newFramed(cfg, append(frameHeader(0x80, cfg.Size), mask...), maskKey),
		answers:  newFramed(cfg, frameHeader(0, cfg.Size), 0),
	}
	if cfg.Window > 0 {
		f.greeting = frameHeader(0, 0) // an empty message: the connection is in the room
	}
	return f
}

// frameHeader returns the beginning of a frame that is a whole binary message
// of size bytes, up to the mask. masked is the bit that says there is one.
func frameHeader(masked byte, size int) []byte {
	const finalBinary = 0x82
	switch {
	case size < 126:
		return []byte{finalBinary, masked | byte(size)}
	case size < 1<<16:
		return binary.BigEndian.AppendUint16([]byte{finalBinary, masked | 126}, uint16(size))
	default:
		return binary.BigEndian.AppendUint64([]byte{finalBinary, masked | 127}, uint64(size))
	}
}

func (f *frames) answerSize() int { return f.answers.size }

func (f *frames) owed(sent int) int { return max(0, sent-maskSize) }

func (f *frames) right(conn, seq uint32, received int, got []byte) bool {
	return f.answers.right(conn, seq, received, got)
}

// open makes the handshake on c, which is new.
func (f *frames) open(c io.ReadWriter) error {
	if _, err := io.WriteString(c, upgrade); err != nil {
		return err
	}
	got, head := f.upgradeRead[:0], 0
	for head == 0 || len(got) < head+len(f.greeting) {
		if len(got) == maxUpgraded {
			return errors.New("the answer to the handshake is too long")
		}
		n, err := c.Read(f.upgradeRead[len(got):])
		if err != nil {
			return fmt.Errorf("no answer to the handshake: %w", err)
		}
		got = got[:len(got)+n]
		if i := bytes.Index(got, endOfHead); i >= 0 {
			head = i + len(endOfHead)
		}
	}
	if !bytes.Equal(got[head:], f.greeting) {
		return errGreeting
	}
	if bytes.Equal(got[:head], f.upgraded) {
		return nil
	}
	if err := checkUpgraded(got[:head]); err != nil {
		return err
	}
	f.upgraded = bytes.Clone(got[:head])
	return nil
}

var (
	endOfHead   = []byte("\r\n\r\n")
	errGreeting = errors.New("what follows the handshake is not what is to follow it")
)

// checkUpgraded returns why got is not the right answer to upgrade.
func checkUpgraded(got []byte) error {
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got)), nil)
	if err != nil {
		return err
	}
	accept := sha1.Sum([]byte(upgradeKey + upgradeGUID))
	switch h := r.Header; {
	case r.StatusCode != http.StatusSwitchingProtocols:
		return fmt.Errorf("the server answered the handshake with %s %s", r.Proto, r.Status)
	case !strings.EqualFold(h.Get("Upgrade"), "websocket") || !strings.EqualFold(h.Get("Connection"), "upgrade"):
		return errors.New("the server upgrades to another protocol")
	case h.Get("Sec-WebSocket-Accept") != base64.StdEncoding.EncodeToString(accept[:]):
		return errors.New("the server accepts another handshake")
	case h.Get("Sec-WebSocket-Extensions") != "" || h.Get("Sec-WebSocket-Protocol") != "":
		return errors.New("the server chose what was not offered")
	}
	return nil
}
