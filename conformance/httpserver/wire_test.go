package httpserver

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// answer is one answer as it came over the wire.
type answer struct {
	status  int
	line    string   // the status line
	fields  []string // the lines of the head, sorted; a valid Date's value is left out
	body    string
	trailer []string
	broken  string // "", or how the body ended before its end
}

// String is the answer as a report shows it.
func (a answer) String() string {
	body := a.body
	if len(body) > 400 {
		body = fmt.Sprintf("%s... (%d bytes)", body[:400], len(body))
	}
	return fmt.Sprintf("%s\n%s\n\n%q %q %s", a.line, strings.Join(a.fields, "\n"), body, a.trailer, a.broken)
}

// field returns the values of the fields of that name, as one string.
func (a answer) field(name string) string {
	var values []string
	for _, line := range a.fields {
		if n, value, _ := strings.Cut(line, ": "); strings.EqualFold(n, name) {
			values = append(values, value)
		}
	}
	return strings.Join(values, ", ")
}

// readAnswer reads the answer to a request of that method. It is strict: what
// it cannot read is an error. io.EOF: there is none.
func readAnswer(r *bufio.Reader, method string) (a answer, err error) {
	if a.line, err = readLine(r); err != nil {
		return a, err
	}
	code, ok := strings.CutPrefix(a.line, "HTTP/1.")
	if !ok || len(code) < 6 || code[1] != ' ' || code[5] != ' ' {
		return a, fmt.Errorf("status line %q", a.line)
	}
	if a.status, err = strconv.Atoi(code[2:5]); err != nil {
		return a, fmt.Errorf("status line %q", a.line)
	}
	if a.fields, err = readFields(r); err != nil {
		return a, err
	}
	switch coding, length := a.field("Transfer-Encoding"), a.field("Content-Length"); {
	case method == http.MethodHead, a.status < 200, a.status == 204, a.status == 304,
		method == http.MethodConnect && a.status < 300:
	case coding == "chunked" && length == "":
		a.readBody(httputil.NewChunkedReader(r))
		if a.broken == "" {
			if a.trailer, err = readFields(r); err != nil {
				a.broken = "trailer: " + err.Error()
			}
		}
	case coding != "":
		return a, fmt.Errorf("Transfer-Encoding %q, Content-Length %q", coding, length)
	case length != "":
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return a, err
		}
		a.readBody(io.LimitReader(r, n))
		if a.broken == "" && int64(len(a.body)) < n {
			a.broken = io.ErrUnexpectedEOF.Error()
		}
	default:
		a.readBody(r)
	}
	return a, nil
}

func (a *answer) readBody(r io.Reader) {
	body, err := io.ReadAll(r)
	a.body = string(body)
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		a.broken = io.ErrUnexpectedEOF.Error()
	case err != nil:
		a.broken = "broken" // reset or ended: which of them is chance
	}
}

// readFields reads the lines up to the empty one.
func readFields(r *bufio.Reader) ([]string, error) {
	var fields []string
	for {
		line, err := readLine(r)
		if err != nil {
			return nil, fmt.Errorf("head: %w", err)
		}
		if line == "" {
			slices.Sort(fields)
			return fields, nil
		}
		if date, ok := strings.CutPrefix(line, "Date: "); ok {
			if _, err := time.Parse(http.TimeFormat, date); err == nil {
				line = "Date: valid"
			}
		}
		fields = append(fields, line)
	}
}

// readLine reads a line that must end in CRLF.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		if line != "" {
			err = fmt.Errorf("line %q: %w", line, io.ErrUnexpectedEOF)
		}
		return "", err
	}
	text, ok := strings.CutSuffix(line, "\r\n")
	if !ok || strings.ContainsAny(text, "\r\x00") {
		return "", fmt.Errorf("line %q", line)
	}
	return text, nil
}

// connect opens a connection that ends with the test, and within bound.
func (s *site) connect(t testing.TB) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(bound)); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// sentinel is the request that finds out whether a connection is kept. Every
// server has an answer to it, if only 404.
const sentinel = "GET /sentinel HTTP/1.1\r\nHost: example.com\r\n\r\n"

// conversation is how converse sends.
type conversation struct {
	pipelined bool // true exactly when everything is sent at once
	bytewise  bool // true exactly when every byte is sent alone
}

// send writes text without waiting until it is written; whether it arrived,
// the answers tell.
func (v conversation) send(c net.Conn, text string) {
	go func() {
		step := len(text)
		if v.bytewise {
			step = 1
		}
		for part := range slices.Chunk([]byte(text), max(1, step)) {
			if _, err := c.Write(part); err != nil {
				return
			}
		}
	}()
}

// converse sends the parts, each after the answer to the one before it if they
// are not pipelined, and returns the answers and whether the connection served
// another request afterwards.
func (s *site) converse(t testing.TB, parts []string, v conversation) (answers []answer, kept bool) {
	t.Helper()
	c := s.connect(t)
	defer c.Close()
	r := bufio.NewReader(c)
	if v.pipelined {
		v.send(c, strings.Join(parts, ""))
	}
	for i, part := range parts {
		if !v.pipelined {
			v.send(c, part)
		}
		method, _, _ := strings.Cut(part, " ")
		for {
			a, err := readAnswer(r, method)
			if err != nil {
				if !ends(err) {
					t.Errorf("%s: %v after %v", s.kind, err, answers)
				}
				return answers, false
			}
			answers = append(answers, a)
			asked := a.status == http.StatusContinue && !v.pipelined && i+1 < len(parts)
			if a.status >= 200 || a.status == http.StatusSwitchingProtocols || asked {
				break
			}
		}
	}
	_, _ = io.WriteString(c, sentinel) // to one that is closed, perhaps
	_, err := readAnswer(r, "GET")
	if err != nil && !ends(err) {
		t.Errorf("%s: %v after %v", s.kind, err, answers)
	}
	return answers, err == nil
}

// ends is true exactly when err says that the peer ended the connection, before
// a byte of an answer.
func ends(err error) bool {
	var op *net.OpError
	return err == io.EOF || errors.As(err, &op) && !op.Timeout()
}

// summary is the statuses, and whether the connection was kept.
func summary(answers []answer, kept bool) string {
	var b strings.Builder
	for _, a := range answers {
		fmt.Fprintf(&b, "%d ", a.status)
		if a.broken != "" {
			b.WriteString("broken ")
		}
	}
	if kept {
		return b.String() + "kept"
	}
	return b.String() + "closed"
}

// message is a request of HTTP/1.1 without a body, whose first line begins with
// line.
func message(line string, fields ...string) string {
	return line + " HTTP/1.1\r\nHost: example.com\r\n" + lines(fields) + "\r\n"
}

// upload is a request of HTTP/1.1 with a body of known length.
func upload(line, body string, fields ...string) string {
	return message(line, append(fields, "Content-Length: "+strconv.Itoa(len(body)))...) + body
}

// chunked is a request of HTTP/1.1 with a body in chunks of up to 1000 bytes.
func chunked(line, body string, fields ...string) string {
	var b strings.Builder
	b.WriteString(message(line, append(fields, "Transfer-Encoding: chunked")...))
	for chunk := range slices.Chunk([]byte(body), 1000) {
		fmt.Fprintf(&b, "%x\r\n%s\r\n", len(chunk), chunk)
	}
	return b.String() + "0\r\n\r\n"
}

func lines(fields []string) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(f + "\r\n")
	}
	return b.String()
}

// pack compresses text with gzip.
func pack(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, text) // a bytes.Buffer takes everything
	_ = w.Close()
	return b.String()
}
