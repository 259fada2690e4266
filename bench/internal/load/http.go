package load

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net"
	"net/http"
	"slices"
	"time"
)

const (
	// askTimeout bounds the one exchange that Ask makes.
	askTimeout = 5 * time.Second
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 64 << 10
	// maxForms is how many forms of the right answer are remembered: a server
	// may put the fields in another order each time, and the date changes.
	maxForms = 8
	// dateSlack is how far the date of an answer may be off.
	dateSlack = time.Minute
)

// answers is the dialogue with an HTTP server: a constant request, repeated,
// and what it takes for an answer. An answer is right that is byte for byte
// one that was parsed and found right before; any other is parsed.
type answers struct {
	want     HTTP
	header   http.Header // of the right answer, without its date
	requests []byte
	size     int      // bytes of an answer
	forms    [][]byte // right answers, the last one found right in front
	parts    [][]byte // by connection: the beginning of an answer that came in pieces
}

// newAnswers asks the server once, to learn how long its answers are and what
// header they have.
func newAnswers(cfg Config) (*answers, error) {
	c, err := net.DialTimeout("tcp4", cfg.Addr, askTimeout)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if cfg.TLS {
		c = Secure(c)
	}
	form, header, err := cfg.HTTP.Ask(c)
	if err != nil {
		return nil, err
	}
	return &answers{
		want:     *cfg.HTTP,
		header:   header,
		requests: bytes.Repeat(cfg.HTTP.request(), cfg.HTTP.Pipeline),
		size:     len(form),
		forms:    [][]byte{form},
		parts:    make([][]byte, cfg.Conns),
	}, nil
}

// request returns the bytes of one request, with the fields that hardly any
// client leaves out.
func (h *HTTP) request() []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: text/plain\r\n\r\n", h.Target)
}

// Ask makes one exchange on c, which is new, and returns the bytes of the
// answer and its header without the date. It is an error if the answer is not
// the right one.
func (h *HTTP) Ask(c net.Conn) (form []byte, header http.Header, err error) {
	c.SetDeadline(time.Now().Add(askTimeout))
	if _, err := c.Write(h.request()); err != nil {
		return nil, nil, err
	}
	var raw bytes.Buffer
	in := bufio.NewReader(io.TeeReader(io.LimitReader(c, maxAnswer), &raw))
	header, err = h.parse(in)
	if err != nil {
		return nil, nil, err
	}
	if in.Buffered() > 0 {
		return nil, nil, errSurplus
	}
	return raw.Bytes(), header, nil
}

// parse reads an answer and returns its header without the date. It is an
// error if the answer is not the right one or ends the connection.
func (h *HTTP) parse(in *bufio.Reader) (http.Header, error) {
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return nil, err
	}
	if r.StatusCode != http.StatusOK || r.Proto != "HTTP/1.1" {
		return nil, fmt.Errorf("the server answered %s %s", r.Proto, r.Status)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	date, err := http.ParseTime(r.Header.Get("Date"))
	if err != nil {
		return nil, err
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return nil, err
	}
	switch {
	case r.Close:
		return nil, errors.New("the server ends the connection with its answer")
	case kind != "text/plain":
		return nil, fmt.Errorf("the server answered with a body of %s", kind)
	case string(body) != h.Body:
		return nil, fmt.Errorf("the server answered with the body %.20q, want %.20q", body, h.Body)
	case time.Since(date).Abs() > dateSlack:
		return nil, fmt.Errorf("the server says it is %v", date)
	}
	r.Header.Del("Date")
	return r.Header, nil
}

func (a *answers) lend(uint32, uint32) []byte { return a.requests }

func (a *answers) giveBack() {}

func (a *answers) answerSize() int { return a.size }

func (a *answers) owed(sent int) int { return sent / (len(a.requests) / a.want.Pipeline) * a.size }

func (a *answers) right(conn, _ uint32, _ int, got []byte) bool {
	part := a.parts[conn]
	if len(part) > 0 {
		n := min(a.size-len(part), len(got))
		part = append(part, got[:n]...)
		got = got[n:]
		if len(part) == a.size {
			if !a.known(part) {
				return false
			}
			part = part[:0]
		}
	}
	for ; len(got) >= a.size; got = got[a.size:] {
		if !a.known(got[:a.size]) {
			return false
		}
	}
	a.parts[conn] = append(part, got...)
	return true
}

// known tells whether answer is right.
func (a *answers) known(answer []byte) bool {
	for i, form := range a.forms {
		if bytes.Equal(answer, form) {
			a.forms[0], a.forms[i] = form, a.forms[0]
			return true
		}
	}
	in := bufio.NewReader(bytes.NewReader(answer))
	header, err := a.want.parse(in)
	if err != nil || !maps.EqualFunc(header, a.header, slices.Equal) {
		return false
	}
	if _, err := in.Peek(1); err != io.EOF {
		return false
	}
	if len(a.forms) == maxForms {
		a.forms = a.forms[:maxForms-1]
	}
	a.forms = slices.Insert(a.forms, 0, bytes.Clone(answer))
	return true
}
