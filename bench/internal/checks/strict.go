package checks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// inner is the body of the doubtful requests: whoever sees the body end before
// it finds one more request there.
const inner = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"

// refused are requests that a server must not serve.
var refused = []struct {
	name, text string
	told       bool // true exactly when ending the connection without an answer is not enough
}{
	{"a sign in Content-Length", head("Content-Length: +%d", len(inner)) + inner, false},
	{"two different Content-Lengths", head("Content-Length: 0\r\nContent-Length: %d", len(inner)) + inner, false},
	{"a space before the colon of Content-Length", head("Content-Length : %d", len(inner)) + inner, false},
	{"no Host", "POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n", false},
	{"a malformed request line", "NONSENSE NONSENSE\r\nHost: h\r\n\r\n", true},
}

// head returns the head of a request.
func head(format string, args ...any) string {
	return "POST / HTTP/1.1\r\nHost: h\r\n" + fmt.Sprintf(format, args...) + "\r\n\r\n"
}

// strictness is P10. Each request has a connection of its own; one that is
// beyond doubt comes first.
func strictness(ctx context.Context, s *subject) error {
	c, err := s.connect(ctx)
	if err != nil {
		return err
	}
	c.Close()
	var faults []string
	for _, r := range refused {
		if err := s.refuses(ctx, r.text, r.told); err != nil {
			faults = append(faults, fmt.Sprintf("%s: %v", r.name, err))
		}
	}
	if err := s.continues(ctx); err != nil {
		faults = append(faults, fmt.Sprintf("Expect: 100-continue: %v", err))
	}
	if len(faults) > 0 {
		return fmt.Errorf("%d of %d: %s", len(faults), len(refused)+1, strings.Join(faults, "; "))
	}
	return nil
}

// refuses sends a request that must be refused with a status, or unless told
// also by the end of the connection.
func (s *subject) refuses(ctx context.Context, text string, told bool) error {
	c, err := s.say(ctx, text)
	if err != nil {
		return err
	}
	defer c.Close()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	switch {
	case err == nil && resp.StatusCode < http.StatusBadRequest:
		return fmt.Errorf("accepted with %d", resp.StatusCode)
	case err == nil:
		resp.Body.Close()
		return nil
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || isReset(err):
		if told {
			return errors.New("the connection ends without an answer")
		}
		return nil
	}
	return err
}

// say writes text on a connection of its own, which has exchangeTime from then on.
func (s *subject) say(ctx context.Context, text string) (net.Conn, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	err = c.SetDeadline(time.Now().Add(exchangeTime))
	if err == nil {
		_, err = io.WriteString(c, text)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// continues asks whether to send a body, and then sends it.
func (s *subject) continues(ctx context.Context) error {
	c, err := s.say(ctx, "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
	if err != nil {
		return err
	}
	defer c.Close()
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return fmt.Errorf("no interim answer: %w", err)
	}
	if resp.StatusCode != http.StatusContinue {
		return fmt.Errorf("answered with %d at once", resp.StatusCode)
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		return err
	}
	return answered(r, "hello")
}
