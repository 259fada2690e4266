package httpserver

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// newClient is net/http's client, whose connections end with the test.
func newClient(t *testing.T) *http.Client {
	transport := &http.Transport{MaxIdleConnsPerHost: 50, ExpectContinueTimeout: bound}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: bound}
}

// fetch does a request and reads the answer's body.
func fetch(t testing.TB, c *http.Client, req *http.Request) (*http.Response, string) {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// digest answers with the length and the sum of the body.
func digest(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	fmt.Fprintf(w, "%d %x %v %v", n, sum.Sum(nil), err, r.Trailer)
}

func TestClientKeepsItsConnection(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s, c := k.serve(t, plain(t)), newClient(t)
		for i, target := range []string{"/hello", "/long", "/empty", "/flush", "/status?code=204", "/big-head", "/early", "/trailer", "/hello"} {
			trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
				if info.Reused != (i > 0) {
					t.Errorf("%s: a new connection", target)
				}
			}}
			fetch(t, c, request(httptrace.WithClientTrace(t.Context(), trace), "GET", s.url+target, nil))
		}
	})
}

// request is http.NewRequestWithContext for what is known to be valid.
func request(ctx context.Context, method, url string, body io.Reader) *http.Request {
	r, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		panic(err)
	}
	return r
}

func TestClientUploads(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s, c := k.serve(t, http.HandlerFunc(digest)), newClient(t)
		large := bytes.Repeat([]byte(megabyte), 16)
		want := fmt.Sprintf("%d %x %v", len(large), sha256.Sum256(large), nil)
		t.Run("length", func(t *testing.T) {
			_, body := fetch(t, c, request(t.Context(), "POST", s.url, bytes.NewReader(large)))
			if body != want+" map[]" {
				t.Errorf("%s, want %s", body, want)
			}
		})
		t.Run("chunked with a trailer", func(t *testing.T) {
			req := request(t.Context(), "POST", s.url, io.MultiReader(bytes.NewReader(large)))
			req.Trailer = http.Header{"X-Sum": {"known"}}
			if _, body := fetch(t, c, req); body != want+" map[X-Sum:[known]]" {
				t.Errorf("%s, want %s", body, want)
			}
		})
		t.Run("expected", func(t *testing.T) {
			asked := false
			trace := &httptrace.ClientTrace{Got100Continue: func() { asked = true }}
			req := request(httptrace.WithClientTrace(t.Context(), trace), "POST", s.url, bytes.NewReader(large))
			req.Header.Set("Expect", "100-continue")
			if _, body := fetch(t, c, req); body != want+" map[]" || !asked {
				t.Errorf("%s, want %s; asked: %t", body, want, asked)
			}
		})
	})
}

func TestClientDownloads(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		const parts = 8
		s, c := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for range parts {
				if _, err := io.WriteString(w, megabyte); err != nil {
					t.Error(err)
				}
			}
		})), newClient(t)
		for range 2 {
			if _, body := fetch(t, c, request(t.Context(), "GET", s.url, nil)); body != strings.Repeat(megabyte, parts) {
				t.Errorf("%d bytes, or others than were sent", len(body))
			}
		}
	})
}

func TestClientSeesInterimAnswersAndTrailers(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s, c := k.serve(t, plain(t)), newClient(t)
		var interim []string
		trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
			interim = append(interim, fmt.Sprint(code, header))
			return nil
		}}
		fetch(t, c, request(httptrace.WithClientTrace(t.Context(), trace), "GET", s.url+"/early", nil))
		if want := []string{"103 map[Link:[</style.css>; rel=preload]]", "102 map[Link:[</other.css>]]"}; !slices.Equal(interim, want) {
			t.Errorf("%q, want %q", interim, want)
		}
		resp, _ := fetch(t, c, request(t.Context(), "GET", s.url+"/trailer", nil))
		if got := fmt.Sprint(resp.Trailer); got != "map[X-Missing:[] X-Other:[o] X-Prefixed:[p] X-Sum:[4]]" {
			t.Errorf("trailer %s", got)
		}
	})
}

func TestClientGoneEndsTheContext(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		began, gone := make(chan bool), make(chan error, 1)
		s, c := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			began <- true
			<-r.Context().Done()
			gone <- context.Cause(r.Context())
		})), newClient(t)
		for _, body := range []string{"", "a body that is read"} {
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-began; cancel() }()
			req := request(ctx, "POST", s.url, strings.NewReader(body))
			if _, err := c.Do(req); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			select {
			case err := <-gone:
				if !errors.Is(err, context.Canceled) {
					t.Errorf("cause: %v", err)
				}
			case <-time.After(bound):
				t.Fatal("the context is not cancelled")
			}
		}
	})
}

func TestClientGoneWithinTheBody(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		failed := make(chan error, 1)
		s := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := io.Copy(io.Discard, r.Body)
			failed <- err
		}))
		for name, begin := range map[string]string{
			"length":  message("POST /", "Content-Length: 1000000") + megabyte[:70000],
			"chunked": message("POST /", "Transfer-Encoding: chunked") + "3e8\r\nx",
		} {
			c := s.connect(t)
			io.WriteString(c, begin)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			select {
			case err := <-failed:
				if !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%s: %v", name, err)
				}
			case <-time.After(bound):
				t.Fatalf("%s: the body does not end", name)
			}
		}
	})
}

// TestClientGoneWithinTheAnswer: a handler that writes without end is stopped by
// an error.
func TestClientGoneWithinTheAnswer(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		failed := make(chan error, 1)
		s := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := io.WriteString(w, megabyte); err != nil {
					failed <- err
					return
				}
			}
		}))
		c := s.connect(t)
		io.WriteString(c, message("GET /"))
		if _, err := io.CopyN(io.Discard, c, 1<<22); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-failed:
		case <-time.After(bound):
			t.Fatal("Write does not fail")
		}
	})
}

// TestHalfClosedClientIsAnswered: one that says it has nothing more to ask.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s := k.serve(t, plain(t))
		for _, request := range []string{message("GET /long"), upload("POST /seen", megabyte), message("GET /hello") + message("GET /long")} {
			c := s.connect(t)
			if _, err := io.WriteString(c, request); err != nil {
				t.Fatal(err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			all, err := io.ReadAll(c)
			if n := strings.Count(string(all), "HTTP/1.1 200 OK"); err != nil || n != strings.Count(request, "HTTP/1.1") ||
				!(strings.HasSuffix(string(all), "\r\n0\r\n\r\n") || strings.HasSuffix(string(all), "}\n")) {
				t.Errorf("%d answers, %d bytes, %v", n, len(all), err)
			}
		}
	})
}

func TestClientsBesideEachOther(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s, c := k.serve(t, http.HandlerFunc(digest)), newClient(t)
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				for j := range 10 {
					body := strings.Repeat(string(rune('a'+i%26)), i*j*100)
					_, got := fetch(t, c, request(t.Context(), "PUT", s.url, io.MultiReader(strings.NewReader(body))))
					if want := fmt.Sprintf("%d %x", len(body), sha256.Sum256([]byte(body))); !strings.HasPrefix(got, want) {
						t.Errorf("%s, want %s", got, want)
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestFullDuplex: a request and its answer go on beside each other.
func TestFullDuplex(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s, c := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			control := http.NewResponseController(w)
			if err := errors.Join(control.EnableFullDuplex(), control.Flush()); err != nil {
				t.Error(err)
			}
			lines := bufio.NewReader(r.Body)
			for {
				line, err := lines.ReadString('\n')
				if err != nil {
					return
				}
				io.WriteString(w, line)
				if err := control.Flush(); err != nil {
					t.Error(err)
				}
			}
		})), newClient(t)
		up, body := io.Pipe()
		resp, err := c.Do(request(t.Context(), "POST", s.url, up))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		answers := bufio.NewReader(resp.Body)
		for i := range 100 {
			line := strings.Repeat("x", i*i) + "\n"
			if _, err := io.WriteString(body, line); err != nil {
				t.Fatal(err)
			}
			if got, err := answers.ReadString('\n'); err != nil || got != line {
				t.Fatalf("line %d: %d bytes, %v", i, len(got), err)
			}
		}
		body.Close()
		if _, err := answers.ReadByte(); err != io.EOF {
			t.Error(err)
		}
	})
}

// TestEarlyAnswer: a client that is still sending gets an answer that comes
// before its end.
func TestEarlyAnswer(t *testing.T) {
	eachKind(t, func(t *testing.T, k kind) {
		s, c := k.serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "no", http.StatusForbidden)
		})), newClient(t)
		for _, body := range []io.Reader{
			strings.NewReader(strings.Repeat(megabyte, 20)),
			io.MultiReader(strings.NewReader(strings.Repeat(megabyte, 20))),
		} {
			if resp, text := fetch(t, c, request(t.Context(), "POST", s.url, body)); resp.StatusCode != http.StatusForbidden || text != "no\n" {
				t.Error(resp.Status, text)
			}
		}
	})
}
