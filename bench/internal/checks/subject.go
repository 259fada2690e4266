package checks

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-go/sluice/bench/internal/child"
)

const (
	checkTime    = 60 * time.Second // for one check of one server
	exchangeTime = 5 * time.Second  // for one answer, and for what should happen soon
	clientBuffer = 64 << 10         // a client's receive buffer, in bytes: what it has not read waits at the server
)

// Command is the first argument of a child process that is a server; the
// second is a Setup as JSON.
const Command = "check-server"

// subject is a server that is being checked.
type subject struct {
	library
	Setup
	dir  string // for the Unix socket
	proc *child.Process
	said string // what the child added when it began to listen
	n    int    // exchanges so far
}

// start starts a library's server and waits until it listens.
func start(ctx context.Context, l library, cores []int, setup func(*Setup)) (*subject, error) {
	dir, err := os.MkdirTemp("", "check")
	if err != nil {
		return nil, err
	}
	s := &subject{library: l, dir: dir, Setup: Setup{Server: l.name, Network: "tcp"}}
	if setup != nil {
		setup(&s.Setup)
	}
	if err := s.listen(ctx, cores); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *subject) listen(ctx context.Context, cores []int) error {
	s.Addr = filepath.Join(s.dir, "socket")
	if s.Network == "tcp" {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			return err
		}
		s.Addr = l.Addr().String()
		l.Close()
	}
	text, err := json.Marshal(s.Setup)
	if err != nil {
		return err
	}
	if s.proc, err = child.Start(ctx, cores, child.Self(Command, string(text))); err != nil {
		return err
	}
	s.said, err = s.proc.Await(ctx, saidListening)
	return err
}

func (s *subject) stop() {
	if s.proc != nil {
		s.proc.Kill()
	}
	os.RemoveAll(s.dir)
}

// undecided is the error of a check that could not be made.
type undecided string

func (u undecided) Error() string { return string(u) }

// judge makes a verdict of a check's error. A server that has ended has
// failed, whatever the check saw of it.
func (s *subject) judge(err error) (Verdict, string) {
	if err == nil {
		return Pass, ""
	}
	select {
	case <-s.proc.Ended():
		return Fail, "the server's process ended: " + s.cause()
	case <-time.After(100 * time.Millisecond): // a crash prints its stacks first
	}
	if u := undecided(""); errors.As(err, &u) {
		return Undecided, err.Error()
	}
	return Fail, err.Error()
}

// cause returns what a dead server's output says of its death: the beginning of
// a panic or the error of Serve, otherwise the last line.
func (s *subject) cause() string {
	text := s.proc.Err().Error()
	for _, begin := range []string{"panic: ", s.name + stoppedServing} {
		if i := strings.Index(text, begin); i >= 0 {
			line, _, _ := strings.Cut(text[i:], "\n")
			return line
		}
	}
	return text[strings.LastIndex(text, "\n")+1:]
}

// ask has the child do what its command word says, and returns the answer.
func (s *subject) ask(ctx context.Context, word string, args ...any) (string, error) {
	if err := s.proc.Tell(strings.TrimSpace(word + " " + fmt.Sprint(args...))); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, exchangeTime)
	defer cancel()
	return s.proc.Await(ctx, word)
}

// dial opens a connection of which a client reads little in advance.
func (s *subject) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: exchangeTime, Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, clientBuffer)
		}), err)
	}}
	c, err := d.DialContext(ctx, s.Network, s.Addr)
	if err != nil {
		return nil, err
	}
	return c, c.SetDeadline(time.Now().Add(checkTime))
}

// connect opens a connection and sees that it is served.
func (s *subject) connect(ctx context.Context) (net.Conn, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.exchange(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// exchange sends a message that no other equals and waits for its echo, or for
// the answer to a request.
func (s *subject) exchange(c net.Conn) error {
	if err := c.SetDeadline(time.Now().Add(exchangeTime)); err != nil {
		return err
	}
	defer c.SetDeadline(time.Now().Add(checkTime))
	s.n++
	if s.http {
		body := fmt.Sprint("message ", s.n)
		return s.post(c, bufio.NewReader(c), body)
	}
	message := fmt.Appendf(nil, "%c message %d", opEcho, s.n)
	if _, err := c.Write(message); err != nil {
		return err
	}
	got := make([]byte, len(message))
	if n, err := io.ReadFull(c, got); err != nil {
		return fmt.Errorf("after %d bytes of %d: %w", n, len(message), err)
	}
	if !bytes.Equal(got, message) {
		return fmt.Errorf("got %q for %q", got, message)
	}
	return nil
}

// post sends a request that is beyond doubt, with body, which must come back.
func (s *subject) post(c net.Conn, r *bufio.Reader, body string) error {
	if _, err := fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s", len(body), body); err != nil {
		return err
	}
	return answered(r, body)
}

// answered reads an answer, which must be 200 and body.
func answered(r *bufio.Reader, body string) error {
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || string(got) != body {
		return fmt.Errorf("got %d %q, want 200 %q", resp.StatusCode, got, body)
	}
	return nil
}

// order asks for what op stands for on a connection.
func (s *subject) order(c net.Conn, op byte) error {
	text := string(op)
	if s.http {
		text = "GET " + paths[op] + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	}
	_, err := io.WriteString(c, text)
	return err
}

// ordered opens a connection and asks on it for what op stands for.
func (s *subject) ordered(ctx context.Context, op byte) (net.Conn, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.order(c, op); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// soon tries until try succeeds or exchangeTime is over.
func soon(ctx context.Context, try func() error) error {
	end := time.Now().Add(exchangeTime)
	for {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// sleep waits for d, or for the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
