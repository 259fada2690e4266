package load

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const testBody = "some body"

// rightAnswer returns what the planted servers answer when they make no
// mistake.
func rightAnswer() string {
	date := time.Now().UTC().Format(http.TimeFormat)
	return "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 9\r\nDate: " + date + "\r\n\r\n" + testBody
}

// answering returns a server that passes answer number n of every connection,
// counted from 1, through change.
func answering(change func(n int, answer string) string) func(net.Conn) {
	return func(c net.Conn) {
		in := bufio.NewReader(c)
		for n := 1; ; n++ {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			answer := change(n, rightAnswer())
			if answer == "" {
				return
			}
			if _, err := c.Write([]byte(answer)); err != nil {
				return
			}
		}
	}
}

func shortHTTP(addr string, pipeline int) Config {
	cfg := short(addr)
	cfg.Size = 0
	cfg.HTTP = &HTTP{Target: "/path?query", Body: testBody, Pipeline: pipeline}
	return cfg
}

// replacing returns a change of answer 5 alone: by then the connections are
// busy.
func replacing(old, by string) func(int, string) string {
	return func(n int, answer string) string {
		if n != 5 {
			return answer
		}
		changed := strings.Replace(answer, old, by, 1)
		if changed == answer {
			panic(old + " is not in the answer")
		}
		return changed
	}
}

func TestRightAnswersAreTaken(t *testing.T) {
	swap := func(n int, answer string) string {
		if n%2 == 0 {
			answer = strings.Replace(answer, "Content-Type: text/plain\r\nContent-Length: 9", "Content-Length: 9\r\nContent-Type: text/plain", 1)
		}
		return answer
	}
	older := func(n int, answer string) string {
		now := time.Now().UTC()
		then := now.Add(-time.Duration(n%20) * time.Second)
		return strings.Replace(answer, now.Format(http.TimeFormat), then.Format(http.TimeFormat), 1)
	}
	tests := map[string]func(net.Conn){
		"always the same":          answering(func(_ int, answer string) string { return answer }),
		"fields in varying order":  answering(swap),
		"more dates than are kept": answering(older),
	}
	for name, serve := range tests {
		for _, pipeline := range []int{1, 16} {
			r, err := Loop(shortHTTP(startPlanted(t, serve), pipeline), atOnce)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if r.Requests == 0 || r.Errors != 0 || r.P50 <= 0 {
				t.Errorf("%s, %d at a time: %+v", name, pipeline, r)
			}
		}
	}
}

func TestWrongAnswersAreNoticed(t *testing.T) {
	const conns = 20
	tests := []struct {
		name   string
		change func(n int, answer string) string
		want   error
	}{
		{"status", replacing("200 OK", "500 OK"), errWrong},
		{"version", replacing("HTTP/1.1", "HTTP/1.0"), errWrong},
		{"last byte of the body", replacing("body", "bodz"), errWrong},
		{"content type", replacing("text/plain", "text/plane"), errWrong},
		{"a header that means the same", replacing("text/plain", "Text/Plain"), errWrong},
		{"another field", replacing("Content-Type", "Content-Tape"), errWrong},
		{"length", replacing("Content-Length: 9", "Content-Length: 8"), errWrong},
		{"no date", replacing("GMT", "GNT"), errWrong},
		{"an old date", func(n int, answer string) string {
			if n != 5 {
				return answer
			}
			now := time.Now().UTC()
			return strings.Replace(answer, now.Format(http.TimeFormat), now.Add(-time.Hour).Format(http.TimeFormat), 1)
		}, errWrong},
		{"too long", replacing("\r\n\r\n", "\r\nA: b\r\n\r\n"), nil},
		{"too short", replacing("some body", "some bod"), nil},
		{"twice", func(n int, answer string) string {
			if n == 5 {
				answer += answer
			}
			return answer
		}, errSurplus},
		{"closed instead", func(n int, answer string) string {
			if n == 5 {
				answer = ""
			}
			return answer
		}, errClosed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // some wait for what never comes
			for _, pipeline := range []int{1, 3} {
				r, err := Loop(shortHTTP(startPlanted(t, answering(tt.change)), pipeline), atOnce)
				if err != nil {
					t.Fatal(err)
				}
				if r.Errors != conns || tt.want != nil && pipeline == 1 && r.FirstError != tt.want.Error() {
					t.Errorf("%d at a time: %d errors (%s), want %d (%v)", pipeline, r.Errors, r.FirstError, conns, tt.want)
				}
			}
		})
	}
}

func TestServersThatAnswerWrongFromTheStartAreRefused(t *testing.T) {
	tests := map[string][2]string{
		"404":               {"200 OK", "404 Not Found"},
		"body":              {testBody, "some bode"},
		"HTML":              {"text/plain", "text/html"},
		"ends":              {"Date", "Connection: close\r\nDate"},
		"without a date":    {"Date", "Data"},
		"not HTTP":          {"HTTP", "ICAP"},
		"too long":          {"Content-Length", "X: " + strings.Repeat("x", maxAnswer) + "\r\nContent-Length"},
		"a surplus":         {testBody, testBody + "s"},
		"no type":           {"Content-Type", "X-Type"},
		"until it closes":   {"Content-Length: 9", "X: y"},
		"an earlier HTTP/1": {"HTTP/1.1", "HTTP/1.0"},
	}
	for name, change := range tests {
		addr := startPlanted(t, func(c net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				fmt.Fprint(c, strings.Replace(rightAnswer(), change[0], change[1], 1))
			}
		})
		if r, err := Loop(shortHTTP(addr, 1), atOnce); err == nil {
			t.Errorf("%s: no error, %+v", name, r)
		}
	}
}

func testAnswers(pipeline int) (a *answers, form []byte) {
	form = []byte(rightAnswer())
	want := HTTP{Target: "/", Body: testBody, Pipeline: pipeline}
	header := http.Header{"Content-Type": {"text/plain"}, "Content-Length": {"9"}}
	return &answers{
		want:     want,
		header:   header,
		requests: bytes.Repeat(want.request(), pipeline),
		size:     len(form),
		forms:    [][]byte{form},
		parts:    make([][]byte, 2),
	}, form
}

func TestAnswersInPiecesAreCheckedWhole(t *testing.T) {
	const pipeline = 3
	a, form := testAnswers(pipeline)
	all := bytes.Repeat(form, pipeline)
	for piece := 1; piece <= len(all); piece++ {
		for spoilt := -1; spoilt < len(all); spoilt += 40 {
			a.parts[1] = nil
			stream := bytes.Clone(all)
			if spoilt >= 0 {
				stream[spoilt] ^= 0x80
			}
			right := true
			for at := 0; at < len(stream) && right; at += piece {
				right = a.right(1, 0, at, stream[at:min(at+piece, len(stream))])
			}
			if right != (spoilt < 0) {
				t.Fatalf("pieces of %d bytes, byte %d spoilt: right is %v", piece, spoilt, right)
			}
		}
	}
}

func TestKnownAnswersAreCheckedWithoutAllocating(t *testing.T) {
	a, form := testAnswers(16)
	other := bytes.Replace(form, []byte("Content-Length: 9\r\n"), nil, 1)
	other = bytes.Replace(other, []byte("\r\n"), []byte("\r\nContent-Length: 9\r\n"), 1)
	all := bytes.Repeat(append(form[:len(form):len(form)], other...), 8)
	cut := len(form) + 10
	right := true
	if n := testing.AllocsPerRun(100, func() {
		right = right && a.right(0, 0, 0, all[:cut]) && a.right(0, 0, cut, all[cut:])
	}); n != 0 || !right {
		t.Errorf("%v allocations, right is %v", n, right)
	}
}

func TestAnAnswerFollowedByAByteIsNotOne(t *testing.T) {
	a, form := testAnswers(1)
	shorter := bytes.Replace(form, []byte(": text"), []byte(":text"), 1)
	if a.known(append(shorter, 'H')) {
		t.Error("the byte is overlooked")
	}
}

func TestNothingIsOwedBeforeARequestHasLeftWhole(t *testing.T) {
	a, form := testAnswers(2)
	request := len(a.requests) / 2
	for sent, want := range map[int]int{0: 0, request - 1: 0, request: len(form), 2*request - 1: len(form), 2 * request: 2 * len(form)} {
		if got := a.owed(sent); got != want {
			t.Errorf("%d bytes owed for %d sent, want %d", got, sent, want)
		}
	}
}
